"""Backfill: any range of days, computed in one pass and published as one release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment, flow_run
from sqlalchemy import Engine

from contracts.counts import n_of
from contracts.days import Days, parse_day
from contracts.errors import UsageError
from contracts.tables import NO_MODEL
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.planning import stage_list
from flows.planning.plan import Plan, check_kept, keep
from flows.planning.plan_page import plan_as_markdown
from flows.planning.planner import planned
from flows.planning.stage_list import Entry
from flows.release.changes import changes
from flows.release.releases import Release, Releases
from flows.report.cost import cost_of
from flows.report.outcome import of_backfill
from flows.report.run_page import run_page
from flows.report.summary import Part, for_analysts, time
from flows.settings import NightjarSettings, read_settings
from flows.state.writer_lock import AFTER_THE_NIGHT
from flows.steps import publish
from flows.steps.candidate import Candidate
from flows.steps.opening import of_raw_files, only_writer, result_of
from flows.steps.parameters import (
    as_choice,
    as_choices,
    as_day,
    as_flag,
    as_path,
    as_text,
    command_of,
)
from flows.steps.prefect_tasks import after_publication, flow, say
from flows.steps.process_stages import PROCESS_STAGES
from flows.steps.run_pages import page_of_failure, show
from flows.steps.runner import RUNNER, execute


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
    recommendations = "recommendations"


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
        stages: What to compute: features, labels, examples; scores, and lists of what to show each
            user, with the current model.
        engine: All days in one pass, or one day after the other: the same rows.
        force: Recompute the asked stages of these days even where nothing has changed.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
    """
    form = as_form(start, end, mode, plan, reason, stages, engine, force)
    asked = form.asked
    settings = read_settings(source=as_path(source), raw=as_path(raw))
    run = open_backfill(asked.start, asked.end, asked.stages, settings, form.reason)
    if form.mode is Mode.plan:
        return show_plan(run, plan_of_backfill(run, asked))
    options = asked.options | of_raw_files(source, raw) | {"reason": form.reason}
    command = command_of("backfill", options)
    page = run.settings.home_folder.report_of_failed_backfill(asked.start, asked.end)
    with page_of_failure(run, asked.name, command, page, "backfill-report"):
        release = execute_and_publish(run, asked, form.plan)
    shown = report(run, asked, release)
    return result_of(run) | {"as_of": asked.end, "release_id": release.release_id} | shown


def execute_and_publish(run: Run, asked: Backfill, token: str | None) -> Release:
    """Do what is asked for, or refuse if a plan of it, by its token, is not what would be done."""
    with only_writer(run, asked.name, AFTER_THE_NIGHT):
        current = released(run.engine, asked.stages)  # a rollback may have been first
        if token is not None:
            check_kept(run.engine, token, plan_of_backfill(run, asked))
            say(f"plan {token}: nothing has moved since")
        if current is None:
            say("the release has no scores: they come with the first night")
        candidate = Candidate.of(execute(run, asked.entries(run.context, current)))
        if candidate.tables:
            publish.audit(run, candidate, asked.days if current else asked.days[-1:])
        release = publish.publish(run, candidate, asked.days)
    return release


def report(run: Run, asked: Backfill, release: Release) -> dict[str, Any]:
    """A page about it, in the home and as an artifact.

    Returns:
        What a terminal shows of it; nothing if it could not be made.
    """
    with after_publication("the backfill's page"):
        before = Releases(run.engine).of(release.replaces)
        stages = [stage.value for stage in asked.stages]
        page = run_page(
            asked.name,
            run.run_id,
            of_backfill(asked.days, stages, run.run_id, release),
            parts_of_backfill(run, before, release),
            run.reports,
            release=release,
        )
        home = run.settings.home_folder
        home.storage.remove(home.report_of_failed_backfill(asked.start, asked.end))
        location = home.report_of_backfill(asked.start, asked.end)
        path = show(page, home, location, "backfill-report")
        return {"report": path, "summary": page.summary}
    return {}


def parts_of_backfill(run: Run, before: Release | None, release: Release) -> tuple[Part, ...]:
    """What changed for analysts, if it published, and what it took."""
    seconds = (datetime.now(UTC) - run.context.started_at).total_seconds()
    cost = time(cost_of(run.as_of, run.reports, seconds), (), 0)
    if before is None or release.run_id != run.run_id:
        return (cost,)
    return for_analysts(changes(run.lake, before, release)), cost


@dataclass(frozen=True)
class Backfill:
    """What a backfill is asked for."""

    start: date
    end: date
    """The last as-of day, included."""
    stages: Sequence[Stage]
    engine: EngineName
    force: bool

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(Days(self.start, self.end + timedelta(days=1)))

    @property
    def name(self) -> str:
        """What a run of it is called."""
        return f"the backfill of {self.start} to {self.end}"

    @property
    def options(self) -> dict[str, object]:
        """Of the command that asks for it; an engine that it would have anyway is left out."""
        return {
            "start": self.start,
            "end": self.end,
            "stages": ",".join(self.stages),
            "engine": None if self.engine is EngineName.one_pass else self.engine,
            "force": self.force,
        }

    @property
    def call(self) -> dict[str, Any]:
        """What a plan is of, for its token."""
        return {
            "command": "backfill",
            "start": str(self.start),
            "end": str(self.end),
            "stages": sorted(stage.value for stage in self.stages),
            "engine": self.engine.value,
            "force": self.force,
        }

    def entries(self, context: RunContext, current: Release | None) -> tuple[Entry, ...]:
        """Its list of stages, which a plan prints and a run executes."""
        stages = [stage.value for stage in self.stages]
        return stage_list.backfill(
            context, self.days, stages, self.engine.value, self.force, current
        )


def plan_of_backfill(run: Run, asked: Backfill) -> Plan:
    """What it would do now."""
    current = Releases(run.engine).current()
    roots = {}
    if {Stage.score, Stage.recommendations} & set(asked.stages):
        roots["model"] = "none" if current is None else current.model_id
    entries = asked.entries(run.context, current)
    return planned(run.days, entries, PROCESS_STAGES, asked.call, roots)


@dataclass(frozen=True)
class Form:
    """A form as it was filled in, once every field was looked at."""

    asked: Backfill
    mode: Mode
    plan: str | None
    reason: str | None


def as_form(
    start: object,
    end: object,
    mode: object,
    plan: object,
    reason: object,
    stages: object,
    engine: object,
    force: object,
) -> Form:
    """Every field looked at again, before anything costly starts.

    Raises:
        UsageError: one of them cannot be right; the message says what to enter.
    """
    form = Form(
        Backfill(
            as_day(start, "start"),
            as_day(end, "end"),
            as_choices(stages, Stage, "stages"),
            as_choice(engine, EngineName, "engine"),
            as_flag(force, "force"),
        ),
        as_choice(mode, Mode, "mode"),
        as_text(plan, "plan"),
        as_text(reason, "reason"),
    )
    if form.mode is Mode.run and deployment.id is not None:
        if form.plan is None:
            raise UsageError(
                "plan: mode run needs the token of a plan. Run this with mode plan first; the "
                "token stands at the end of its artifact"
            )
        if form.reason is None:
            raise UsageError("reason: say in a few words why this is run; it is kept")
    return form


def show_plan(run: Run, plan: Plan) -> dict[str, Any]:
    """Keep the plan, and show it in the run's artifact."""
    keep(run.engine, plan)
    create_markdown_artifact(
        plan_as_markdown(plan), key="backfill-plan", description=f"plan {plan.token}"
    )
    say(
        f"plan {plan.token}: {n_of(len(plan.todo), 'stage-day')} to recompute; nothing was computed"
    )
    return {
        "as_of": run.as_of,
        "run_id": run.run_id,
        "release_id": None,
        "recomputed": 0,
        "plan": plan.token,
    }


def released(engine: Engine, stages: Sequence[Stage]) -> Release | None:
    """The current release, if there is one; where scores are asked for, its model makes them.

    Raises:
        UsageError: scores are asked for, and it has no model; or recommendations, and there is
            none.
    """
    current = Releases(engine).current()
    if Stage.score in stages and (current is None or current.model_id == NO_MODEL):
        raise UsageError(
            "stages: there is no model to score with yet. Run a night first, or leave out score: "
            "features, labels and examples need no model"
        )
    if Stage.recommendations in stages and current is None:
        raise UsageError(
            "stages: there is no release yet that recommendations could be added to. Run a night "
            "first"
        )
    return current


def open_backfill(
    start: date | str,
    end: date | str,
    stages: Sequence[Stage],
    settings: NightjarSettings,
    reason: str | None = None,
) -> Run:
    """Validate every parameter before anything costly starts.

    Labels know what had landed before `end` or the newest released day, whichever is later.

    Raises:
        ContractError: a parameter, setting or mapping is not right, raw files are missing, there is
            no model for the scores that are asked for, or no surface for the recommendations.
    """
    first, last = (
        day if isinstance(day, date) else parse_day(day, name)
        for name, day in (("start", start), ("end", end))
    )
    if last < first:
        raise UsageError(f"a backfill must not end ({last}) before it starts ({first})")
    run = Run(settings, last, reason=reason)
    if Stage.recommendations in stages and not run.context.surfaces:
        off = "; ".join(f"{name}: {why}" for name, why in run.context.surfaces_off.items())
        raise UsageError(f"stages: recommendations need a surface, and all are off ({off})")
    current = released(run.engine, stages)
    if current is not None and current.as_of > last:
        run = Run(settings, current.as_of, reason=reason)
    run.look_at_files()
    return run
