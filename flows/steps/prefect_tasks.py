"""What Prefect's flows and tasks share: how they fail, what is worth a second try, and where a
person reads along."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import prefect
from prefect import get_run_logger
from prefect.client.schemas.objects import State, TaskRun
from prefect.flows import Flow
from prefect.runtime import deployment
from prefect.tasks import Task

from flows.engine.alerts import NOT_REPORTED, alert
from flows.lifecycle.errors import as_nightjar_error, may_pass, reason, sentence, stack
from flows.lifecycle.log_filters import hide_stacks

P = ParamSpec("P")
R = TypeVar("R")
hide_stacks()  # at a terminal as in Prefect's pages, wherever a flow runs


def flow(**options: Any) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Prefect's decorator, for a flow that fails without values."""

    def made_of(function: Callable[P, R]) -> Flow[P, R]:
        declared: Flow[P, R] = prefect.flow(**options)(function)
        declared.fn = failing_without_values(function)
        return declared

    return made_of


def task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Prefect's decorator, for a task that fails without values."""

    def made_of(function: Callable[P, R]) -> Task[P, R]:
        declared: Task[P, R] = prefect.task(**options)(function)
        declared.fn = failing_without_values(function)
        return declared

    return made_of


def failing_without_values(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose errors are told by kind and place before Prefect sees them."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failed = as_nightjar_error(error)
        raise failed  # outside of the handler, where nothing leads to what it was made of

    return run


def transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a second try can end otherwise; the first says what it is made for."""
    try:
        state.result()
    except Exception as error:
        if may_pass(error):
            say(f"{run.name}: once more, for it stopped at this: {reason(error)}")
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
        print(f"{what}:\n{stack(error)}", file=sys.stderr)
        warn(f"the release stands, but {what} could not be made: {sentence(error)}", NOT_REPORTED)
