"""What Prefect's tasks share: what is worth a second try, and where a person reads along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import deployment
from prefect.tasks import Task

from flows.alerts import NOT_REPORTED, alert
from flows.endings import may_pass, sentence
from flows.quiet import hide_stacks

Say = Callable[[str], None]
hide_stacks()  # at a terminal as in Prefect's pages, wherever a flow runs


def transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a second try can end otherwise; the first says what it is made for."""
    try:
        state.result()
    except Exception as error:
        if may_pass(error):
            say(f"{run.name}: once more, for it stopped at this: {sentence(error)}")
            return True
    return False


WAITS = timedelta(hours=12)


def patience() -> timedelta:
    """How long a run waits for the one that is writing: nobody sits before a deployment's run, and
    it takes its turn; a person at a terminal is told at once."""
    return WAITS if deployment.id is not None else timedelta(0)


def say(line: str) -> None:
    get_run_logger().info(line)


def warn(problem: str, event: str) -> None:
    """Say what is not as it should be and stops nothing: a warning in the run, and an alert."""
    get_run_logger().warning(f"warning: {problem}")
    alert(event, problem)


@contextmanager
def after_publication(what: str) -> Iterator[None]:
    """What only tells of a release that stands: where it fails, the run does not."""
    try:
        yield
    except Exception as error:
        get_run_logger().debug(f"{what}:", exc_info=True)
        warn(f"the release stands, but {what} could not be made: {sentence(error)}", NOT_REPORTED)
