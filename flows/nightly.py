"""The night, top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import midnight_before, parse_day
from flows import publish, steps
from flows.forecast import Plan, check_kept, finished, forecast_night
from flows.lease import writing
from flows.night import Night
from flows.settings import read_settings

CONCURRENT = 3
"""Stages that run at once where they do not wait for one another."""
RUNNER: Any = ThreadPoolTaskRunner(max_workers=CONCURRENT)


def run_name() -> str:
    """The night that a run is about, whether it was told or not."""
    return f"nightly-{flow_run.parameters.get('as_of') or default_as_of()}"


@flow(name="nightly", flow_run_name=run_name, task_runner=RUNNER)
def nightly(
    as_of: date | None = None,
    source: Path | None = None,
    raw: Path | None = None,
    plan: str | None = None,
) -> dict[str, Any]:
    """Clean what landed, compute features, train, score every user, publish a release.

    Args:
        as_of: The midnight UTC to score as of. Empty: the latest one before the scheduled start.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
        plan: The token of a plan: run exactly that, or refuse if anything has moved since.
    """
    night = open_night(as_of, source, raw)
    day = night.as_of

    with writing(night.engine, night.run_id, f"the night of {day}"):
        night.reload()
        publish.mend(night)
        if plan is not None:
            check_kept(night.engine, plan, planned(night))
        together(steps.land.submit(night, source.name) for source in night.mapping.sources)
        landed = night.landed_days
        clean_all(night, landed)
        steps.limits(night)

        past = night.example_days
        together(
            steps.compute.submit(night, name, days)
            for name, days in (("user_state", [day]), ("item_features", [*past, day]))
        )
        steps.compute(night, "user_features", [*past, day])
        steps.compute(night, "labels", past)
        steps.compute(night, "examples", past)

        trained = steps.train(night)
        model_id = steps.gate(night, trained)
        scored = publish.score(night, model_id, [day])
        audited = publish.audit(night, scored, [day])
        release = publish.publish(night, scored, [day])
        page, task_rows = steps.report(night, trained, scored, audited, release)

    recomputed = sum(stage.recomputed for stage in night.stages)
    if not recomputed:
        get_run_logger().info("nothing had changed: everything was reused")
    return {
        "as_of": night.as_of,
        "run_id": night.run_id,
        "release_id": release.release_id,
        "report": page,
        "task_rows": task_rows,
        "recomputed": recomputed,
    }


def clean_all(night: Night, landed: Sequence[date]) -> None:
    """Clean tables and tiles of every landed day."""
    together(
        steps.compute.submit(night, f"clean_{table.name}", landed)
        for table in CLEAN_TABLES
        if table.name in night.mapping.mapped_tables
    )
    steps.compute(night, "user_days", landed)
    steps.compute(night, "late_data", landed)


def planned(night: Night) -> Plan:
    """What the night would do now."""
    return finished(night, forecast_night(night), {"command": "run", "as_of": str(night.as_of)})


def together(futures: Iterable[PrefectFuture[Any]]) -> None:
    """Wait for all that was submitted; the first failure is raised once all have ended."""
    submitted = list(futures)
    wait(submitted)
    for future in submitted:
        future.result()


def open_night(as_of: date | str | None, source: Path | None, raw: Path | None) -> Night:
    """Validate every parameter before anything costly starts.

    Raises:
        ContractError: a parameter, setting or mapping is not right, or raw files are missing.
    """
    settings = read_settings(source=source, raw=raw)
    day = (
        as_of
        if isinstance(as_of, date)
        else (parse_day(as_of, "as_of") if as_of else default_as_of())
    )
    night = Night(settings, day)
    night.look_at_files()
    log = get_run_logger()
    log.info(f"night of {day}: {', '.join(t.name for t in night.tasks)}")
    for task, why in night.switched_off.items():
        log.info(f"task {task} is switched off: {why}")
    return night


def default_as_of() -> date:
    """The latest midnight UTC before the scheduled start, which is the same for a retry."""
    scheduled = flow_run.scheduled_start_time
    return midnight_before(scheduled or datetime.now(UTC))
