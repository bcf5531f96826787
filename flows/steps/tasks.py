"""The night's steps as Prefect tasks: thin shells around what does the work."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from contracts.hashes import hash_of, short_hash
from contracts.specs import TRACKING_VARIABLE
from contracts.tables import EXAMPLES, LABELS, NO_MODEL
from contracts.tasks import Task
from flows.engine import spark_stages
from flows.engine.accounting import StageReport, Work
from flows.engine.alerts import CALIBRATION_DRIFT, GATE_ASKS, NOT_TRACKED, TASK_WITHHELD, alert
from flows.engine.fingerprints import decide
from flows.engine.model_process import run_models
from flows.engine.run import Night
from flows.learning.fingerprints import tasks_and_features, train_fingerprint, train_inputs
from flows.learning.gate import choice_of
from flows.learning.training import train_spec
from flows.lifecycle.errors import sentence
from flows.monitor import scoreboard
from flows.monitor.null_like_ids import null_like_ids
from flows.monitor.quarantine import Limits, check_limits
from flows.monitor.row_counts import counted
from flows.release.audit import Audited
from flows.release.model_registry import Registry
from flows.release.releases import Release, Releases
from flows.report.findings import find
from flows.report.night_report import NightReport, as_markdown, write_report
from flows.report.sample import sample
from flows.steps.prefect_tasks import after_publication, say, task, transient, warn
from flows.steps.publish import database
from flows.storage.location import join
from jobs.stage import Engine


@task(name="mapping", task_run_name="mapping", cache_policy=NO_CACHE)
def check_mapping(night: Night) -> None:
    """Analyse every expression of the mapping before a raw file is read."""
    spark_stages.check_mapping(night, say)


@task(
    name="land",
    cache_policy=NO_CACHE,
    task_run_name="land {source_name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=transient,
)
def land(night: Night, source_name: str) -> StageReport:
    """Split whatever files arrived into days."""
    (source,) = (s for s in night.mapping.sources if s.name == source_name)
    return spark_stages.land(night, source, say)


@task(
    name="compute",
    cache_policy=NO_CACHE,
    task_run_name="{name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=transient,
)
def compute(
    night: Night,
    name: str,
    days: Sequence[date],
    engine: Engine | None = None,
    force: Collection[date] = (),
    sample: int = 0,
) -> StageReport:
    """Bring some days of a Spark job up to date."""
    return spark_stages.compute(night, name, days, say, engine, force, sample)


@task(name="limits", task_run_name="limits", cache_policy=NO_CACHE)
def limits(night: Night) -> None:
    """Stop before anything is built on rows of which too many were dropped."""
    s = night.settings
    check_limits(night.lake, night.as_of, Limits(s.max_quarantined_share, s.max_quarantine_jump))


@task(name="scoreboard", task_run_name="scoreboard", cache_policy=NO_CACHE)
def compare_scores(night: Night, days: Sequence[date]) -> None:
    """Published scores beside what then happened; those that are far off raise an alert."""
    rows = scoreboard.compare(night, days, say)
    for drift in scoreboard.drifted(rows, night.settings.max_calibration_drift):
        say(f"scoreboard: drift: {drift}")
        alert(CALIBRATION_DRIFT, str(drift), task=drift.task, as_of=str(drift.as_of))


@task(name="train", task_run_name="train", cache_policy=NO_CACHE)
def train(night: Night) -> dict[str, Any]:
    """Train the challenger in a process of its own and register it; the report says how it did."""
    started = time.monotonic()
    days = night.example_days
    registry = Registry(night.settings)
    inputs, fingerprint = train_inputs(night), train_fingerprint(night, days)
    receipt = night.receipts.get("train", night.as_of)
    decision = decide("train", night.as_of, fingerprint, receipt)
    if decision.reuse and receipt is not None:
        night.reused("train", say)
        return dict(receipt.outputs)
    files = [
        file for day in days for file in night.lake.files(EXAMPLES, day, day + timedelta(days=1))
    ]
    home = night.settings.home_folder
    # Where a training that is killed left off: the next night that trains the same goes on there.
    stopped = home.checkpoints(short_hash(hash_of(asdict(fingerprint))))
    champion = _champion(registry, inputs.champion)
    checkpoints = home.storage.local_path(stopped)
    spec = train_spec(night, inputs, [file.path for file in files], champion, checkpoints)
    secrets = {TRACKING_VARIABLE: night.settings.mlflow_url}
    report = run_models(spec, home.process_folder(night.run_id), say, secrets)
    report["learns"], report["champion"] = tasks_and_features(night), inputs.champion
    report["examples_snapshot"] = night.lake.snapshot(EXAMPLES)
    report["labels_snapshot"] = night.lake.snapshot(LABELS)
    if report["model_id"] != NO_MODEL:
        _register(registry, report)
    rows = sum(file.rows for file in files)
    work = Work(
        "train",
        {night.as_of: fingerprint},
        rows,
        sum(report["rows"].values()),
        time.monotonic() - started,
        sum(file.bytes for file in files),
    )
    night.note(work, {night.as_of: report}, say)
    home.storage.remove_folder(stopped)
    return report


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
def gate(night: Night, report: Mapping[str, Any]) -> str:
    """Say which model scores: the challenger if it passes, else the champion; and keep it at hand.

    Where the challenger needs approval, the night goes on with the champion and raises an alert.
    Where there is neither a challenger that passes nor a champion, it is `NO_MODEL`: features and
    labels are published all the same.
    """
    choice = choice_of(night, report)
    model_id = choice.model_id
    say(f"gate: {choice.why}")
    if model_id == report["model_id"] != NO_MODEL and "folder" in report:
        artifact = join(report["folder"], "model")
        if night.settings.home_folder.storage.is_folder(artifact):
            Registry(night.settings).keep(model_id, artifact)  # scoring needs no MLflow then
    if choice.needs_approval:
        answer = f"nightjar run --as-of {night.as_of} --accept {report['model_id']}"
        say(f"gate: to let it pass: {answer}")
        text = f"{choice.why}\nTo let it pass: {answer}"
        alert(GATE_ASKS, text, model_id=str(report["model_id"]))
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
    night: Night,
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
        page = _night_report(night, trained, scored, audited, release)
        path = write_report(page, night.settings.home_folder, trained["folder"])
        say(f"report: {path}")
        shown = {
            "report": path,
            "tonight": page.tonight,
            "task_rows": page.task_rows,
            "switched_off": dict(page.switched_off),
            "sample": page.sample,
        }
        with after_publication("its page in Prefect"):
            create_markdown_artifact(
                as_markdown(page), key="night-report", description=f"The night of {night.as_of}"
            )
        if trained["run_id"] and any(s.recomputed for s in night.reports):
            with after_publication("its page in MLflow"):
                Registry(night.settings).log_file(trained["run_id"], path)
    return shown


def _night_report(
    night: Night,
    trained: Mapping[str, Any],
    scored: Mapping[str, Any],
    audited: Sequence[Audited],
    release: Release,
) -> NightReport:
    return NightReport(
        as_of=night.as_of,
        run_id=night.run_id,
        mapping=night.mapping.name,
        release=release.release_id,
        model_id=scored["model_id"],
        stages=tuple(night.reports),
        tonight=counted(database(night), _last_scored(night), night.as_of),
        ever=counted(database(night), None, night.as_of),
        null_like=null_like_ids(database(night), _last_scored(night), night.as_of, night.mapping),
        trained=trained,
        audited=tuple(audited),
        switched_off=night.switched_off | unscored(trained, scored),
        n_scored=int(scored["rows"]),
        scored_tasks=tuple(t.name for t in scored_tasks(night, scored)),
        base_rates=tuple(scored.get("base_rates", ())),
        sample=sample(database(night), night.as_of, scored_tasks(night, scored)),
        findings=find(night, release, trained, scored["model_id"]),
    )


def scored_tasks(night: Night, scored: Mapping[str, Any]) -> list[Task]:
    """Tasks that the release has scores of, in their order."""
    return [task for task in night.tasks if task.name in scored["tasks"]]


def unscored(trained: Mapping[str, Any], scored: Mapping[str, Any]) -> dict[str, str]:
    """Tasks that have a source and no score of the model that scored, and why.

    A task that was not learnt tonight may still be scored by an earlier model.
    """
    by_rate = scored.get("base_rates", ())
    return {
        name: why for name, why in trained["skipped"].items() if name not in scored["tasks"]
    } | {
        name: f"its scores are not fit to be published: {why}"
        + ("; its base rate stands in" if name in by_rate else "")
        for name, why in scored.get("withheld", {}).items()
    }


def _last_scored(night: Night) -> date | None:
    """The day of the release before: what landed since then is new tonight."""
    before = Releases(night.engine).before(night.as_of)
    return None if before is None else before.as_of
