"""Backfill: any range of days, computed in one pass and published as one release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run
from sqlalchemy import Engine

from contracts.counts import n_of
from contracts.days import Days, parse_day
from contracts.errors import UsageError
from contracts.tables import NO_MODEL
from flows.engine.run import Night, StageReport
from flows.learning.fingerprints import score_fingerprint
from flows.planning.plan import Forecast, Plan, Wanted, check_kept, finished, keep
from flows.planning.plan_page import plan_as_markdown
from flows.pools import RUNNER, clean_all, together
from flows.release.releases import Release, Releases
from flows.settings import NightjarSettings, read_settings
from flows.state.writer_lock import AFTER_THE_NIGHT, writing
from flows.steps import publish, tasks
from flows.steps.parameters import as_choice, as_choices, as_day, as_flag, as_path, as_text
from flows.steps.prefect_tasks import after_publication, flow, patience, say
from jobs.stages import job_named

SAMPLE_EVERY = 30
"""Of so many days in one pass, one is computed alone as well and compared."""


class Mode(StrEnum):
    """Look first, then do it."""

    plan = "plan"
    run = "run"


class Stage(StrEnum):
    """What a backfill can be asked for; each brings what it reads up to date as well."""

    user_features = "user_features"
    labels = "labels"
    examples = "examples"
    score = "score"


class EngineName(StrEnum):
    """In one pass over what all days read, or each day on its own: the same rows to the bit."""

    one_pass = "one-pass"
    per_day = "per-day"


def run_name() -> str:
    return f"backfill-{flow_run.parameters.get('start')}-{flow_run.parameters.get('end')}"


@flow(name="backfill", flow_run_name=run_name, task_runner=RUNNER, validate_parameters=False)
def backfill(
    start: date,
    end: date,
    mode: Mode = Mode.plan,
    plan: str = "",
    reason: str = "",
    stages: list[Stage] = [Stage.user_features],  # noqa: B006
    engine: EngineName = EngineName.one_pass,
    force: bool = False,
    source: str = "",
    raw: str = "",
) -> dict[str, Any]:
    """Bring a range of as-of days up to date and publish them as one release.

    First run it with mode "plan": the run's artifact shows what would be done, why, and what it
    costs, and gives a token. Then run it with mode "run" and that token.

    Args:
        start: The first midnight UTC, such as 2025-01-01.
        end: The last one, included, such as 2025-01-31.
        mode: plan computes nothing and shows what would be done. run does it.
        plan: For mode run: the token that the plan gave.
        reason: For mode run: why, in a few words. It is kept with the release.
        stages: What to compute: features, labels, examples, scores with the current model.
        engine: All days in one pass, or one day after the other: the same rows.
        force: Recompute the asked stages of these days even where nothing has changed.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
    """
    asked = Asked.of(start, end, mode, plan, reason, stages, engine, force)
    night = open_backfill(asked.start, asked.end, asked.stages, as_path(source), as_path(raw))
    night.reason = asked.reason
    days = days_of(asked.start, asked.end)
    if asked.mode is Mode.plan:
        return show_plan(night, planned(night, days, asked.stages, asked.engine, asked.force))
    log = get_run_logger()
    what = f"the backfill of {asked.start} to {asked.end}"
    with writing(night.engine, night.run_id, what, patience(), AFTER_THE_NIGHT, say) as lease:
        night.reload(lease)
        publish.mend(night)
        released(night.engine, asked.stages)  # a rollback may have been first
        if asked.plan is not None:
            now = planned(night, days, asked.stages, asked.engine, asked.force)
            check_kept(night.engine, asked.plan, now)
            log.info(f"plan {asked.plan}: nothing has moved since")
        tasks.check_mapping(night)
        together(tasks.land.submit(night, s.name) for s in night.mapping.sources)
        landed = night.landed_days
        clean_all(night, landed)
        tasks.limits(night)
        forced = frozenset(days) if asked.force else frozenset()
        tasks.compute(night, "item_features", days, force=forced)
        features(night, days, asked.engine, forced)
        for name in ("labels", "examples"):
            if Stage(name) in closure(asked.stages):
                tasks.compute(night, name, days, force=forced)
        done = finish(night, days, asked.stages, forced)
    return {
        "as_of": asked.end,
        "run_id": night.run_id,
        "release_id": done,
        "recomputed": sum(stage.recomputed for stage in night.stages),
    }


@dataclass(frozen=True)
class Asked:
    """What a form says, once it is looked at."""

    start: date
    end: date
    mode: Mode
    plan: str | None
    reason: str | None
    stages: list[Stage]
    engine: EngineName
    force: bool

    @staticmethod
    def of(
        start: object,
        end: object,
        mode: object,
        plan: object,
        reason: object,
        stages: object,
        engine: object,
        force: object,
    ) -> Asked:
        """Every field looked at again, before anything costly starts.

        Raises:
            UsageError: one of them cannot be right; the message says what to enter.
        """
        asked = Asked(
            as_day(start, "start"),
            as_day(end, "end"),
            as_choice(mode, Mode, "mode"),
            as_text(plan, "plan"),
            as_text(reason, "reason"),
            as_choices(stages, Stage, "stages"),
            as_choice(engine, EngineName, "engine"),
            as_flag(force, "force"),
        )
        if asked.mode is Mode.run and deployment.id is not None:
            if asked.plan is None:
                raise UsageError(
                    "plan: mode run needs the token of a plan. Run this with mode plan first; the "
                    "token stands at the end of its artifact"
                )
            if asked.reason is None:
                raise UsageError("reason: say in a few words why this is run; it is kept")
        return asked


def show_plan(night: Night, plan: Plan) -> dict[str, Any]:
    """Keep the plan, and show it in the run's artifact."""
    keep(night.engine, plan)
    create_markdown_artifact(
        plan_as_markdown(plan), key="backfill-plan", description=f"plan {plan.token}"
    )
    get_run_logger().info(
        f"plan {plan.token}: {n_of(len(plan.todo), 'day of a stage', 'days of stages')} to "
        "recompute; nothing was computed"
    )
    return {
        "as_of": night.as_of,
        "run_id": night.run_id,
        "release_id": None,
        "recomputed": 0,
        "plan": plan.token,
    }


def features(
    night: Night, days: Sequence[date], engine: EngineName, force: frozenset[date]
) -> None:
    """Features, chunk by chunk; each starts from the state of users as of its first day."""
    job = job_named("user_features")
    decisions = night.planner.decisions(job, days, force)
    todo = sorted(d.day for d in decisions if not d.reuse)
    if not todo:
        tasks.compute(night, job.name, days)
    for chunk in chunks(todo, engine, night.settings.chunk_days):
        tasks.compute(night, "user_state", chunk[:1])
        sample = -(-len(chunk) // SAMPLE_EVERY) if len(chunk) > 1 else 0
        tasks.compute(night, job.name, chunk, engine.value, force, sample)


def chunks(days: Sequence[date], engine: EngineName, chunk_days: int) -> Iterator[tuple[date, ...]]:
    """Days that go in one pass: as many as may, next to one another in order."""
    size = 1 if engine is EngineName.per_day else chunk_days
    for first in range(0, len(days), size):
        yield tuple(days[first : first + size])


def finish(
    night: Night, days: Sequence[date], stages: Sequence[Stage], force: frozenset[date]
) -> str | None:
    """Score if asked, and publish one release. Before the first night it says of each user, as of
    the newest day, that nobody scored them yet, so that analysts see features and labels."""
    log = get_run_logger()
    current = released(night.engine, stages)
    scored: dict[str, Any] = {}
    if current is None:
        log.info("the release has no scores: they come with the first night")
        scored = publish.score(night, NO_MODEL, days[-1:], force)
        publish.audit(night, scored, days[-1:])
    elif Stage.score in stages:
        scored = publish.score(night, current.model_id, days, force)
        publish.audit(night, scored, days)
    release = publish.publish(night, scored, days)
    with after_publication("the backfill's report"):
        create_markdown_artifact(
            _as_markdown(night.stages),
            key="backfill-report",
            description=f"{days[0]} to {days[-1]}",
        )
    return release.release_id


def released(engine: Engine, stages: Sequence[Stage]) -> Release | None:
    """The current release, if there is one; where scores are asked for, its model makes them.

    Raises:
        UsageError: scores are asked for, and it has no model.
    """
    current = Releases(engine).current()
    if Stage.score in stages and (current is None or current.model_id == NO_MODEL):
        raise UsageError(
            "stages: there is no model to score with yet. Run a night first, or leave out score: "
            "features, labels and examples need no model"
        )
    return current


def _as_markdown(stages: Sequence[StageReport]) -> str:
    rows = [
        f"| {s.stage} | {s.days} | {s.recomputed} | {s.rows_in:,} | {s.rows_out:,} "
        f"| {s.seconds:.1f} |"
        for s in stages
    ]
    head = "| stage | days | recomputed | rows in | rows out | seconds |\n|---|---|---|---|---|---|"
    return "\n".join([head, *rows])


def open_backfill(
    start: date | str,
    end: date | str,
    stages: Sequence[Stage],
    source: Path | None,
    raw: Path | None,
    settings: NightjarSettings | None = None,
) -> Night:
    """Validate every parameter before anything costly starts.

    Labels know what had landed before `end` or the newest released day, whichever is later.

    Raises:
        ContractError: a parameter, setting or mapping is not right, raw files are missing, or there
            is no model for the scores that are asked for.
    """
    first, last = (
        day if isinstance(day, date) else parse_day(day, name)
        for name, day in (("start", start), ("end", end))
    )
    if last < first:
        raise UsageError(f"a backfill must not end ({last}) before it starts ({first})")
    settings = settings or read_settings(source=source, raw=raw)
    night = Night(settings, last)
    current = released(night.engine, stages)
    if current is not None and current.as_of > last:
        night = Night(settings, current.as_of)
    night.look_at_files()
    return night


def days_of(start: date, end: date) -> tuple[date, ...]:
    return tuple(Days(start, end + timedelta(days=1)))


def closure(stages: Sequence[Stage]) -> set[Stage]:
    """The stages asked for and those they read."""
    order = (Stage.user_features, Stage.labels, Stage.examples)
    asked = set(stages) | {Stage.user_features}
    for i, stage in enumerate(order):
        if stage in asked:
            asked |= set(order[:i])
    return asked


def call_of(
    start: date, end: date, stages: Sequence[Stage], engine: EngineName, force: bool
) -> dict[str, Any]:
    """What a plan is of, for its token."""
    return {
        "command": "backfill",
        "start": str(start),
        "end": str(end),
        "stages": sorted(Stage(stage).value for stage in stages),
        "engine": EngineName(engine).value,
        "force": force,
    }


def planned(
    night: Night, days: Sequence[date], stages: Sequence[Stage], engine: EngineName, force: bool
) -> Plan:
    """What a backfill would do now."""
    made = Forecast(night)
    made.land()
    made.clean()
    forced = frozenset(days) if force else frozenset()
    made.want(Wanted("item_features", tuple(days), forced))
    at = len(made.days)
    made.want(Wanted("user_features", tuple(days), forced))
    todo = [p.day for p in made.days[at:] if not p.reuse and p.day is not None]
    wanted = closure(stages)
    made.want(
        Wanted(
            "user_state",
            tuple(c[0] for c in chunks(todo, EngineName(engine), night.settings.chunk_days)),
        )
    )
    for name in ("labels", "examples"):
        if Stage(name) in wanted:
            made.want(Wanted(name, tuple(days), forced))
    if Stage.score in wanted:
        current = Releases(night.engine).current()
        model_id = current.model_id if current else None
        made.roots["model"] = model_id or "none"
        for day in days:
            found = score_fingerprint(night, model_id, day)
            made.then("score", day, {"user_features": (day,)}, found, forced)
    return finished(night, made, call_of(days[0], days[-1], stages, engine, force))
