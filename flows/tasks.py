"""What Prefect's tasks share: what is worth a second try, and where a person reads along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from contracts.table import ContractError

Say = Callable[[str], None]


def transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Data and settings that are not right stay so; anything else may pass the second time."""
    try:
        state.result()
    except ContractError:
        return False
    except Exception:
        return True
    return False


def say(line: str) -> None:
    get_run_logger().info(line)
