"""The parts of a night that other machines may do: data on Spark's pool, learning on the GPUs'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.deployments import run_deployment
from prefect.futures import PrefectFuture, as_completed, wait
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from contracts.clean_tables import CLEAN_TABLES
from contracts.errors import ContractError, NightjarError
from contracts.history import by_user, waiting
from flows.engine.run import Night
from flows.lifecycle.errors import may_pass
from flows.monitor import scoreboard
from flows.planning.schedule import Schedule
from flows.settings import read_settings
from flows.state.writer_lock import NIGHT_FIRST, writing
from flows.steps import publish, tasks
from flows.steps.parameters import as_day, as_flag, as_path
from flows.steps.prefect_tasks import flow, patience, say

CONCURRENT = 3
"""Stages that run at once where they do not wait for one another."""
RUNNER: Any = ThreadPoolTaskRunner(max_workers=CONCURRENT)
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
    with _part("data", as_of, source, raw, no_train) as night:
        prepare_data(night)
    return done(night)


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
    with _part("training", as_of, source, raw, no_train) as night:
        prepare_data(night)
        learn_and_score(night)
    return done(night)


@contextmanager
def _part(what: str, as_of: str, source: str, raw: str, no_train: bool) -> Iterator[Night]:
    """A night whose parameters are right, as the home's only writer."""
    night = open_night(as_of, source, raw, no_train)
    told = f"the {what} of {night.as_of}"
    with writing(night.engine, night.run_id, told, patience(), NIGHT_FIRST, say) as lease:
        night.reload(lease)
        publish.mend(night)
        yield night


def prepare_data(night: Night) -> None:
    """From raw files to features as of tonight, and examples of the past to learn from."""
    tasks.check_mapping(night)
    together(tasks.land.submit(night, source.name) for source in night.mapping.sources)
    landed = night.landed_days
    night.check_history()
    clean_all(night, landed)
    tasks.limits(night)
    past, day = night.example_days, night.as_of
    together(
        tasks.compute.submit(night, name, days)
        for name, days in (("user_state", [day]), ("item_features", [*past, day]))
    )
    tasks.compute(night, "user_features", [*past, day])
    known = scoreboard.due(night)
    tasks.compute(night, "labels", sorted({*past, *(d.day for d in known)}))
    tasks.compute(night, "examples", past)
    tasks.keep_score(night, known)


def learn_and_score(night: Night) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training's report and the scores, which wait on a branch."""
    trained = tasks.train(night)
    return trained, publish.score(night, tasks.gate(night, trained), [night.as_of])


def clean_all(night: Night, landed: Sequence[date]) -> None:
    """Clean tables and tiles of every landed day."""
    together(
        tasks.compute.submit(night, f"clean_{table.name}", landed)
        for table in CLEAN_TABLES
        if table.name in night.mapping.mapped_tables
    )
    tasks.compute(night, "user_days", landed)
    tasks.compute(night, "late_data", landed)


def on_pools(night: Night, source: str, raw: str) -> None:
    """Have the parts done by the pools' workers; what they have done is then there to be reused.

    A run that is started again takes up the part that it had started, unless that one failed.

    Raises:
        ContractError: a part did not end well; its own run says why.
    """
    told = {
        "as_of": str(night.as_of),
        "source": str(source or ""),
        "raw": str(raw or ""),
        "no_train": night.settings.no_train,
    }
    for name in ON_POOLS:
        key = f"{flow_run.id or night.run_id}-{name}"
        say(f"{name}: handed to its pool")
        made: Any = run_deployment(name, parameters=told, idempotency_key=key)
        if made.state is not None and made.state.is_final() and not made.state.is_completed():
            again = f"{key}-{flow_run.run_count}"
            made = run_deployment(name, parameters=told, idempotency_key=again)
        if made.state is None or not made.state.is_completed():
            state = made.state.name if made.state else "nothing"
            raise ContractError(
                f"{name} (run {made.name}) ended as {state}: "
                f"{made.state.message if made.state else 'no worker took it'}"
            )


def together(futures: Iterable[PrefectFuture[Any]]) -> None:
    """Wait for all of what is submitted as it is asked for, some at a time.

    Once something around us is away for too long, no more is asked for: it would fail as well.

    Raises:
        NightjarError: what is wrong with each of those that failed, once all have ended.
    """
    submitted: list[PrefectFuture[Any]] = []
    running: list[PrefectFuture[Any]] = []
    try:
        for future in futures:
            submitted.append(future)
            running.append(future)
            if len(running) == CONCURRENT:
                ended = next(iter(as_completed(running)))
                running.remove(ended)
                problem = _problem_of(ended)
                if problem is not None and may_pass(problem):
                    break
    finally:
        wait(submitted)
    problems = [problem for future in submitted if (problem := _problem_of(future)) is not None]
    by_text = {str(problem): problem for problem in problems}
    if len(by_text) == 1:
        raise problems[0]
    if problems:
        raise NightjarError("\n".join(by_text))


def _problem_of(ended: PrefectFuture[Any]) -> NightjarError | None:
    """What is wrong with something that failed."""
    try:
        ended.result()
    except NightjarError as error:
        return error
    return None


def open_night(
    as_of: date | str | None,
    source: Path | str | None,
    raw: Path | str | None,
    no_train: bool = False,
) -> Night:
    """Validate every parameter before anything costly starts.

    Raises:
        ContractError: a parameter, setting or mapping is not right, raw files are missing, or there
            are too few days of them to learn anything.
    """
    day = as_day(as_of, "as_of") if as_of else default_as_of()
    leave_out = as_flag(no_train, "no_train") or None  # else the settings say
    settings = read_settings(source=as_path(source), raw=as_path(raw), no_train=leave_out)
    night = Night(settings, day)
    night.look_at_files()
    log = get_run_logger()
    log.info(f"night of {day}: {', '.join(t.name for t in night.tasks)}")
    for task, why in night.switched_off.items():
        log.info(f"task {task} is switched off: {why}")
    night.check_history()
    found = night.learnable
    for line in waiting(found):
        log.info(f"too little history to learn: {line}")
    for line in by_user(found):
        log.info(f"measured on other users of the same days, and on later days {line}")
    return night


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


def done(night: Night) -> dict[str, Any]:
    """What a part says when it has ended."""
    recomputed = sum(stage.recomputed for stage in night.stages)
    if not recomputed:
        get_run_logger().info("nothing had changed: everything was reused")
    return {"as_of": night.as_of, "run_id": night.run_id, "recomputed": recomputed}
