"""The parts of a night that other machines may do: data on Spark's pool, learning on the GPUs'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prefect.deployments import run_deployment
from prefect.runtime import flow_run

from contracts.errors import ContractError
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.planning import stage_list
from flows.planning.stage_list import Entry
from flows.state.nights import DATA, TRAINING, name_of
from flows.state.writer_lock import NIGHT_FIRST
from flows.steps.opening import check_night, only_writer, open_night, result_of
from flows.steps.prefect_tasks import flow, say
from flows.steps.runner import RUNNER, execute

ON_POOLS = ("prepare/prepare", "train/train")
"""Deployments that do a night's parts, in their order; `infra/prefect.yaml` says on which pool."""


@flow(name="prepare", task_runner=RUNNER, validate_parameters=False)
def prepare(
    as_of: str = "", source: str = "", raw: str = "", no_train: bool = False
) -> dict[str, Any]:
    """A night's data: clean what landed, compute features, labels and examples. Publishes nothing.

    Args:
        as_of: The midnight UTC, such as 2025-01-31. Empty: that of the scheduled night, or the
            latest.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
        no_train: Whether the night leaves training out, and needs no history to learn from.
    """
    return _part(DATA, stage_list.data_stages, as_of, source, raw, no_train)


@flow(name="train", task_runner=RUNNER, validate_parameters=False)
def train(
    as_of: str = "", source: str = "", raw: str = "", no_train: bool = False
) -> dict[str, Any]:
    """A night's learning: train, decide at the gate, score every user. Publishes nothing.

    Data that is not up to date is brought up to date first.

    Args:
        as_of: The midnight UTC, such as 2025-01-31. Empty: that of the scheduled night, or the
            latest.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
        no_train: Leave training out, and score with the model there is.
    """
    return _part(TRAINING, stage_list.nightly, as_of, source, raw, no_train)


def _part(
    what: str,
    stages: Callable[[RunContext], Iterable[Entry]],
    as_of: str,
    source: str,
    raw: str,
    no_train: bool,
) -> dict[str, Any]:
    """Bring a part of a night up to date, as the home's only writer."""
    run = open_night(as_of, source, raw, no_train)
    check_night(run)
    with only_writer(run, name_of(what, run.as_of), NIGHT_FIRST):
        execute(run, stages(run.context))
    return result_of(run)


def on_pools(run: Run, source: str, raw: str) -> None:
    """Have the parts done by the pools' workers; what they have done is then there to be reused.

    A run that is started again takes up the part that it had started, unless that one failed.

    Raises:
        ContractError: a part did not end well; its own run says why.
    """
    parameters = {
        "as_of": str(run.as_of),
        "source": str(source or ""),
        "raw": str(raw or ""),
        "no_train": run.settings.no_train,
    }
    for name in ON_POOLS:
        key = f"{flow_run.id or run.run_id}-{name}"
        say(f"{name}: handed to its pool")
        part: Any = run_deployment(name, parameters=parameters, idempotency_key=key)
        if part.state is not None and part.state.is_final() and not part.state.is_completed():
            again = f"{key}-{flow_run.run_count}"
            part = run_deployment(name, parameters=parameters, idempotency_key=again)
        if part.state is None or not part.state.is_completed():
            state = part.state.name if part.state else "nothing"
            raise ContractError(
                f"{name} (run {part.name}) ended as {state}: "
                f"{part.state.message if part.state else 'no worker took it'}"
            )
