"""The night's steps as Prefect tasks: thin shells around what does the work."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from contracts.hashes import hash_of, short_hash
from contracts.specs import TRACKING_VARIABLE
from contracts.tables import EXAMPLES, LABELS, NO_MODEL
from contracts.tasks import Task
from flows.engine import spark_stages
from flows.engine.accounting import StageReport, Work
from flows.engine.alerts import (
    CALIBRATION_DRIFT,
    NEEDS_APPROVAL,
    NOT_TRACKED,
    RECOMMENDATIONS_FELL,
    TASK_WITHHELD,
    alert,
    raised,
)
from flows.engine.fingerprints import decide
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.engine.run_days import RunDays
from flows.lake.lake import Lake
from flows.learning.fingerprints import tasks_and_features, train_fingerprint, train_inputs
from flows.learning.gate import choice_of
from flows.learning.training import train_spec
from flows.lifecycle.errors import sentence
from flows.monitor import recommendation_falls, recommendation_outcomes, scoreboard
from flows.monitor.drop_reasons import drop_reasons
from flows.monitor.null_like_ids import null_like_ids
from flows.monitor.quarantine import Limits, check_limits
from flows.monitor.row_counts import counted
from flows.release.audit import Audited
from flows.release.model_registry import Registry
from flows.release.releases import Release, Releases
from flows.report.cost import cost_of, cost_tonight, costs_before
from flows.report.night_report import NightReport, as_markdown, write_report
from flows.report.sample import sample
from flows.report.sections import report_sections
from flows.state.nights import nights
from flows.steps.prefect_tasks import after_publication, say, task, transient, warn
from flows.storage.location import join
from jobs.stage import Engine as EngineName


@task(name="mapping", task_run_name="mapping", cache_policy=NO_CACHE)
def check_mapping(run: Run) -> None:
    """Analyse every expression of the mapping before a raw file is read."""
    spark_stages.check_mapping(run, say)


@task(
    name="land",
    cache_policy=NO_CACHE,
    task_run_name="land {source_name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=transient,
)
def land(run: Run, source_name: str) -> StageReport:
    """Split whatever files arrived into days."""
    (source,) = (s for s in run.mapping.sources if s.name == source_name)
    return spark_stages.land(run, source, say)


@task(
    name="compute",
    cache_policy=NO_CACHE,
    task_run_name="{name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=transient,
)
def compute(
    run: Run,
    name: str,
    days: Sequence[date],
    engine: EngineName | None = None,
    force: Collection[date] = (),
    sample: int = 0,
) -> StageReport:
    """Bring some days of a Spark job up to date."""
    return spark_stages.compute(run, name, days, say, engine, force, sample)


@task(name="limits", task_run_name="limits", cache_policy=NO_CACHE)
def limits(lake: Lake, as_of: date, allowed: Limits) -> None:
    """Stop before anything is built on rows of which too many were dropped."""
    check_limits(lake, as_of, allowed)


@task(name="scoreboard", task_run_name="scoreboard", cache_policy=NO_CACHE)
def compare_scores(run: Run, days: Sequence[date]) -> None:
    """Published scores beside what then happened; those that are far off raise an alert."""
    rows = scoreboard.compare(run, days, say)
    for drift in scoreboard.drifted(rows, run.settings.max_calibration_drift):
        say(f"scoreboard: drift: {drift}")
        alert(CALIBRATION_DRIFT, str(drift), task=drift.task, as_of=str(drift.as_of))


@task(name="rec_outcomes", task_run_name="rec_outcomes", cache_policy=NO_CACHE)
def compare_lists(run: Run, days: Sequence[date]) -> None:
    """Released recommendations beside what then happened; lists that fell raise an alert."""
    recommendation_outcomes.compare(run, days, say)
    for fall in recommendation_falls.fallen_since(run.lake, days):
        say(f"rec_outcomes: {fall}")
        alert(RECOMMENDATIONS_FELL, str(fall), surface=fall.surface, as_of=str(fall.as_of))


@task(name="train", task_run_name="train", cache_policy=NO_CACHE)
def train(run: Run) -> dict[str, Any]:
    """Train the challenger in a process of its own and register it; the report says how it did."""
    started = time.monotonic()
    fingerprint = train_fingerprint(run.days)
    receipt = run.receipts.get("train", run.as_of)
    decision = decide("train", run.as_of, fingerprint, receipt)
    if decision.reuse and receipt is not None:
        run.reports.reused("train", say)
        return dict(receipt.outputs)
    files = {
        day: run.lake.files(EXAMPLES, day, day + timedelta(days=1)) for day in run.days.example_days
    }
    home = run.settings.home_folder
    # Where a training that is killed left off: the next night that trains the same goes on there.
    checkpoints = home.checkpoints(short_hash(hash_of(asdict(fingerprint))))
    paths = {day: [file.path for file in of_day] for day, of_day in files.items()}
    report = _trained(run.days, paths, home.storage.local_path(checkpoints))
    work = Work(
        "train",
        {run.as_of: fingerprint},
        sum(file.rows for of_day in files.values() for file in of_day),
        sum(report["rows"].values()),
        time.monotonic() - started,
        sum(file.bytes for of_day in files.values() for file in of_day),
    )
    run.note(work, {run.as_of: report}, say)
    home.storage.discard_folder(checkpoints)
    return report


def _trained(
    days: RunDays, files: Mapping[date, Sequence[str]], checkpoints: Path
) -> dict[str, Any]:
    """The report of a training on these files, whose model MLflow then knows."""
    context, lake = days.context, days.state.lake
    registry, inputs = Registry(context.settings), train_inputs(days)
    champion = _champion(registry, inputs.champion)
    spec = train_spec(context, lake, inputs, files, champion, checkpoints)
    secrets = {TRACKING_VARIABLE: context.settings.mlflow_url}
    key = context.settings.key_of_weights()
    report = run_models(spec, context.process_folder, say, key, secrets)
    report["learns"], report["champion"] = tasks_and_features(context.tasks), inputs.champion
    report["examples_snapshot"] = lake.snapshot(EXAMPLES)
    report["labels_snapshot"] = lake.snapshot(LABELS)
    if report["model_id"] != NO_MODEL:
        _register(registry, report)
    warn_if_judged_alone(report)
    return report


def warn_if_judged_alone(report: Mapping[str, Any]) -> None:
    """Alert of a champion that training could not compare its model with."""
    if "champion_error" in report:
        warn(f"tonight's model was judged alone: {report['champion_error']}", NOT_TRACKED)


def _champion(registry: Registry, model_id: str | None) -> str | None:
    """The folder of the model to compare with. One that is gone cannot be compared with, and is
    said to be: else no night could ever replace it."""
    try:
        return None if model_id is None else str(registry.fetch(model_id))
    except Exception as error:
        warn(f"tonight's model is compared with no champion: {sentence(error)}", NOT_TRACKED)
        return None


def _register(registry: Registry, report: Mapping[str, Any]) -> None:
    """Give the model its version in MLflow; publishing makes up for one that is missing."""
    problem = report.get("tracking_error")
    if problem is None:
        try:
            registry.register(report["model_id"], report["run_id"])
        except Exception as error:
            problem = sentence(error)
    if problem is not None:
        warn(f"MLflow does not have model {report['model_id']}: {problem}", NOT_TRACKED)


@task(name="gate", task_run_name="gate", cache_policy=NO_CACHE)
def gate(run: Run, report: Mapping[str, Any]) -> str:
    """Say which model scores: the challenger if it passes, else the champion; and keep it at hand.

    Where the challenger needs approval, the night goes on with the champion and raises an alert.
    Where there is neither a challenger that passes nor a champion, it is `NO_MODEL`: features and
    labels are published all the same.
    """
    choice = choice_of(run.context, run.engine, report)
    model_id = choice.model_id
    say(f"gate: {choice.why}")
    if model_id == report["model_id"] != NO_MODEL and "folder" in report:
        artifact = join(report["folder"], "model")
        if run.settings.home_folder.storage.is_folder(artifact):
            Registry(run.settings).keep(model_id, artifact)  # scoring needs no MLflow then
    if choice.needs_approval:
        answer = f"nightjar run --as-of {run.as_of} --accept {report['model_id']}"
        say(f"gate: to approve it: {answer}")
        text = f"{choice.why}\nTo approve it: {answer}"
        alert(NEEDS_APPROVAL, text, model_id=str(report["model_id"]))
    withheld = report["gate"].get("champion_withheld", {})
    if withheld and model_id == report.get("champion"):
        problems = "; ".join(f"{name}: {problem}" for name, problem in withheld.items())
        warn(
            f"champion {model_id} is not fit for all that it published, and these scores are not "
            f"published any more: {problems}",
            TASK_WITHHELD,
        )
    return model_id


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(
    run: Run,
    trained: Mapping[str, Any],
    scored: Mapping[str, Any],
    audited: Sequence[Audited],
    release: Release,
) -> dict[str, Any]:
    """One page about the night: in the home, in MLflow, and as a Prefect artifact.

    The release stands already, so what cannot be shown is a warning and an alert, no failure.

    Returns:
        Where it lies, and the parts of it that a terminal shows; nothing if it could not be made.
    """
    shown: dict[str, Any] = {}
    with after_publication("the night's page"):
        page = _night_report(run, trained, scored, audited, release)
        path = write_report(page, run.settings.home_folder, trained["folder"])
        say(f"report: {path}")
        shown = {
            "report": path,
            "summary": page.summary,
            "tonight": page.tonight,
            "task_names": page.task_names,
            "task_rows": page.task_rows,
            "switched_off": dict(page.switched_off),
            "list_names": page.list_names,
            "list_rows": page.list_rows,
            "sample": page.sample,
        }
        with after_publication("its page in Prefect"):
            create_markdown_artifact(
                as_markdown(page), key="night-report", description=f"The night of {run.as_of}"
            )
        if trained["run_id"] and any(s.recomputed for s in run.reports):
            with after_publication("its page in MLflow"):
                Registry(run.settings).log_file(trained["run_id"], path)
    return shown


def _night_report(
    run: Run,
    trained: Mapping[str, Any],
    scored: Mapping[str, Any],
    audited: Sequence[Audited],
    release: Release,
) -> NightReport:
    database = run.settings.home_folder.analysts_file
    as_of, since = run.as_of, _last_scored(run.engine, run.as_of)
    tasks, known = scored_tasks(run.context.tasks, scored), nights(run.engine)
    seconds = (datetime.now(UTC) - run.context.started_at).total_seconds()
    alone = cost_of(as_of, run.reports, seconds)
    is_new = release.run_id == run.run_id  # else an earlier run's publication was the night's
    return NightReport(
        as_of=as_of,
        run_id=run.run_id,
        mapping=run.mapping.name,
        release=release,
        before=Releases(run.engine).of(release.replaces),
        model_id=scored["model_id"],
        stages=tuple(run.reports),
        tonight=counted(database, since, as_of),
        ever=counted(database, None, as_of),
        reasons=drop_reasons(database, since, as_of),
        null_like=null_like_ids(database, since, as_of, run.mapping),
        trained=trained,
        audited=tuple(audited),
        switched_off=run.context.switched_off | unscored(trained, scored),
        n_scored=int(scored["rows"]),
        scored_tasks=tuple(task.name for task in tasks),
        base_rates=tuple(scored.get("base_rates", ())),
        sample=sample(database, as_of, tasks),
        sections=report_sections(run.context, run.state, release, trained, scored["model_id"]),
        alerts=raised(),
        cost=cost_tonight(run.receipts, known, alone) if is_new else alone,
        costs_before=costs_before(run.receipts, known, as_of),
    )


def scored_tasks(tasks: Sequence[Task], scored: Mapping[str, Any]) -> list[Task]:
    """Those of the tasks that the release has scores of, in their order."""
    return [task for task in tasks if task.name in scored["tasks"]]


def unscored(trained: Mapping[str, Any], scored: Mapping[str, Any]) -> dict[str, str]:
    """Tasks that have a source and no score of the model that scored, and why.

    A task that was not trained tonight may still be scored by an earlier model.
    """
    by_rate, model_id = scored.get("base_rates", ()), scored["model_id"]
    if model_id == NO_MODEL:
        reasons = dict(trained["gate"].get("withheld", {}))
    else:
        not_learned = f"model {model_id}, which scores, was not trained for it"
        reasons = dict.fromkeys(trained["tasks"], not_learned)
    return {
        name: why
        for name, why in (reasons | trained["skipped"]).items()
        if name not in scored["tasks"]
    } | {
        name: f"its scores are not fit to be published: {why}"
        + ("; its base rate stands in" if name in by_rate else "")
        for name, why in scored.get("withheld", {}).items()
    }


def _last_scored(engine: Engine, as_of: date) -> date | None:
    """The day of the release before: what landed since then is new tonight."""
    before = Releases(engine).before(as_of)
    return None if before is None else before.as_of
