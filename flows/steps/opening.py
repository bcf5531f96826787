"""How runs begin: parameters are validated before anything costly starts, then one run writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from contracts.history import by_user, waiting
from flows.engine.run import Run
from flows.planning.schedule import Schedule
from flows.settings import read_settings
from flows.state.writer_lock import writing
from flows.steps import publish
from flows.steps.parameters import as_day, as_flag, as_path
from flows.steps.prefect_tasks import patience, say


def open_night(
    as_of: date | str | None,
    source: Path | str | None,
    raw: Path | str | None,
    no_train: bool = False,
) -> Run:
    """A night whose parameters are right; `check_night` looks at its files.

    Raises:
        ContractError: a parameter, setting or mapping is not right.
    """
    day = as_day(as_of, "as_of") if as_of else default_as_of()
    leave_out = as_flag(no_train, "no_train") or None  # else the settings say
    settings = read_settings(source=as_path(source), raw=as_path(raw), no_train=leave_out)
    return Run(settings, day)


def of_raw_files(source: object, raw: object) -> dict[str, Path | None]:
    """Options that name the mapping and the folder of raw files, where the settings name others."""
    said = read_settings()
    given = {"source": as_path(source), "raw": as_path(raw)}
    return {name: None if path == getattr(said, name) else path for name, path in given.items()}


def check_night(run: Run) -> None:
    """Look at a night's files, and say what it is about.

    Raises:
        ContractError: raw files are missing, or there are too few days of them to train anything.
    """
    run.look_at_files()
    log = get_run_logger()
    log.info(f"night of {run.as_of}: {', '.join(t.name for t in run.context.tasks)}")
    for task, why in run.context.switched_off.items():
        log.info(f"task {task} is switched off: {why}")
    for surface, why in run.context.surfaces_off.items():
        log.info(f"surface {surface} is switched off: {why}")
    days = run.days
    days.check_history()
    trainable = days.trainable
    for line in waiting(trainable):
        log.info(f"too little history to train: {line}")
    for line in by_user(trainable):
        log.info(f"measured on other users of the same days, and on later days {line}")


@contextmanager
def only_writer(run: Run, what: str, turn: int, erasing: str = "") -> Iterator[None]:
    """Be the home's only writer while the block runs, after repairing what a crash left undone.

    Args:
        run: the run.
        what: what it is, for those who wait.
        turn: who comes first of those that wait, the least first.
        erasing: the key of a user whose erasure this run goes on with.

    Raises:
        BusyError: somebody else is writing, and goes on doing so for longer than this run waits.
    """
    with writing(run.engine, run.run_id, what, patience(), turn, say) as lease:
        run.reload(lease)
        publish.repair_after_crash(run.engine, run.lake, run.settings, erasing)
        yield


def default_as_of() -> date:
    """The midnight UTC that a run means which was told none; the same for a retry.

    Of a run by the schedule, the one of its night; of another, the latest before its start.
    """
    return night_schedule().as_of(scheduled_start())


def night_schedule() -> Schedule:
    """When nights start, as the settings say."""
    settings = read_settings()
    return Schedule(settings.nightly_cron, settings.nightly_timezone)


def scheduled_start() -> datetime:
    """When this run was to start; outside a run, now."""
    return flow_run.scheduled_start_time or datetime.now(UTC)


def result_of(run: Run) -> dict[str, Any]:
    """What a run returns when it has ended."""
    recomputed = sum(report.recomputed for report in run.reports)
    if not recomputed:
        get_run_logger().info("nothing had changed: everything was reused")
    return {"as_of": run.as_of, "run_id": run.run_id, "recomputed": recomputed}
