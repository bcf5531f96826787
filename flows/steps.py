"""The night's steps as Prefect tasks: thin shells around what does the work."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from contracts.table import ContractError
from contracts.tables import EXAMPLES, PUBLISHED, RECONCILIATION, USER_FEATURES, USER_SCORES
from flows.analysts import query
from flows.audit import Audited, audit_scores, raise_if_failed
from flows.code import code_fingerprint, git_commit
from flows.night import Night, StageReport, short_hash
from flows.plan import decide, hash_of, table_shape
from flows.processes import run_models
from flows.quarantine import check_limits
from flows.receipts import Fingerprint
from flows.registry import Registry
from flows.releases import Release, Releases, branch_of, heal, now
from flows.report import NightReport, as_markdown, write_report
from jobs.io import WrittenDay


def _transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Data and settings that are not right stay so; anything else may pass the second time."""
    try:
        state.result()
    except ContractError:
        return False
    except Exception:
        return True
    return False


def say(line: str) -> None:
    get_run_logger().info(line)


@task(
    name="land",
    cache_policy=NO_CACHE,
    task_run_name="land {source_name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=_transient,
)
def land(night: Night, source_name: str) -> StageReport:
    """Split whatever files arrived into days."""
    source = next(s for s in night.mapping.sources if s.name == source_name)
    return night.land(source, say)


@task(
    name="compute",
    cache_policy=NO_CACHE,
    task_run_name="{name}",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=_transient,
)
def compute(night: Night, name: str, days: Sequence[date]) -> StageReport:
    """Bring some days of a Spark job up to date."""
    return night.compute(name, days, say)


@task(name="limits", cache_policy=NO_CACHE)
def limits(night: Night) -> None:
    """Stop before anything is built on rows of which too many were dropped."""
    s = night.settings
    check_limits(night.lake, night.as_of, s.max_quarantined_share, s.max_quarantine_jump)


@task(name="train", cache_policy=NO_CACHE)
def train(night: Night) -> dict[str, Any]:
    """Train the challenger in a process of its own and register it; the report says how it did."""
    started = time.monotonic()
    days = night.example_days
    champion = Releases(night.engine).before(night.as_of)
    registry = Registry(night.settings)
    config = night.settings.train
    digests = night.planner.digests("examples", EXAMPLES.name)
    told = {
        "tasks": [t.name for t in night.tasks],
        "settle_days": night.settings.settle_days,
        "known_until": night.as_of,
        "config": asdict(config),
        "champion": champion.model_id if champion else None,
    }
    fingerprint = Fingerprint(
        code_fingerprint(("models.train",)) + table_shape((EXAMPLES,)),
        hash_of(told),
        hash_of(sorted((str(day), digests[day]) for day in days if day in digests)),
    )
    receipt = night.receipts.get("train", night.as_of)
    decision = decide("train", night.as_of, fingerprint, receipt)
    if decision.reuse and receipt is not None:
        night.reused("train", say)
        return dict(receipt.outputs)
    files = [
        file for day in days for file in night.lake.files(EXAMPLES, day, day + timedelta(days=1))
    ]
    folder = night.settings.folder / "runs" / night.run_id
    snapshot = str(night.lake.snapshot(EXAMPLES))
    report = run_models(
        "train",
        told
        | {
            "files": [file.path for file in files],
            "as_ofs": [day.isoformat() for day in days],
            "known_until": night.as_of.isoformat(),
            "folder": str(folder / "train"),
            "champion": str(registry.fetch(champion.model_id)) if champion else None,
            "run": {
                "tracking_uri": night.settings.mlflow_url,
                "experiment": f"nightjar-{night.mapping.name}",
                "artifact_location": (night.settings.folder / "mlartifacts").as_uri(),
                "name": f"{night.as_of}",
                "datasets": [
                    {
                        "name": EXAMPLES.name,
                        "snapshot": snapshot,
                        "location": str(night.lake.folder),
                    }
                ],
                "tags": {
                    "as_of": str(night.as_of),
                    "nightjar_run": night.run_id,
                    "git_commit": git_commit() or "none",
                    "examples_snapshot": snapshot,
                },
            },
        },
        folder,
        say,
    )
    registry.register(report["model_id"], report["run_id"])
    rows = sum(file.rows for file in files)
    night.note(
        "train",
        fingerprint,
        report,
        rows,
        sum(report["rows"].values()),
        started,
        sum(file.bytes for file in files),
        say,
    )
    return report


@task(name="gate", cache_policy=NO_CACHE)
def gate(night: Night, report: Mapping[str, Any]) -> str:
    """The model to score with: the challenger if it passes, else the champion.

    Raises:
        ContractError: the challenger fails and there is no champion.
    """
    verdict = report["gate"]
    reasons = "; ".join(verdict["reasons"])
    champion = Releases(night.engine).before(night.as_of)
    if verdict["decision"] == "promote" or (champion and champion.model_id == report["model_id"]):
        say(f"gate: model {report['model_id']} passes: {reasons}")
        return str(report["model_id"])
    if champion is None:
        raise ContractError(f"the model does not pass the gate, and there is no other: {reasons}")
    say(f"gate: champion {champion.model_id} stays: {reasons}")
    return champion.model_id


@task(name="score", cache_policy=NO_CACHE)
def score(night: Night, model_id: str) -> dict[str, Any]:
    """Score every known user in a process of its own, on a branch that nobody reads."""
    started = time.monotonic()
    features = night.planner.digests("user_features", USER_FEATURES.name)[night.as_of]
    fingerprint = Fingerprint(
        code_fingerprint(("models.score",)) + table_shape((USER_SCORES,)),
        hash_of(None),
        hash_of([model_id, features]),
    )
    receipt = night.receipts.get("score", night.as_of)
    if (
        receipt is not None
        and decide("score", night.as_of, fingerprint, receipt).reuse
        and _in_line(night, receipt.outputs["snapshot"])
    ):
        night.reused("score", say)
        return dict(receipt.outputs)
    release_id = f"{night.as_of:%Y%m%d}-{short_hash(*asdict(fingerprint).values())}"
    files = night.lake.files(USER_FEATURES, night.as_of, night.as_of + timedelta(days=1))
    folder = night.settings.folder / "runs" / night.run_id
    made = run_models(
        "score",
        {
            "files": [file.path for file in files],
            "as_of": night.as_of.isoformat(),
            "model": str(Registry(night.settings).fetch(model_id)),
            "release_id": release_id,
            "path": f"{night.lake.staging(night.run_id, 'score')}/{night.as_of}.parquet",
            "scratch": str(folder / "score"),
            "threads": night.settings.train.threads,
        },
        folder,
        say,
    )
    branch = branch_of(release_id)
    night.lake.branch(USER_SCORES, branch)
    snapshot = night.lake.commit(
        USER_SCORES,
        {night.as_of: WrittenDay(night.as_of, made["rows"], "", (made["path"],))},
        branch=branch,
    )
    outputs = {
        "release_id": release_id,
        "model_id": model_id,
        "snapshot": snapshot,
        "tasks": made["tasks"],
        "rows": made["rows"],
        "path": made["path"],
    }
    night.note(
        "score",
        fingerprint,
        outputs,
        sum(f.rows for f in files),
        made["rows"],
        started,
        os.path.getsize(made["path"]),
        say,
    )
    return outputs


def _in_line(night: Night, snapshot: int) -> bool:
    """Whether scores on a branch can still be published, or were: no other history lies between."""
    current = Releases(night.engine).current()
    if current is None:
        return True
    published = current.snapshots[USER_SCORES.name]
    return night.lake.descends(USER_SCORES, snapshot, published) or night.lake.descends(
        USER_SCORES, published, snapshot
    )


@task(name="audit", cache_policy=NO_CACHE)
def audit(night: Night, scored: Mapping[str, Any]) -> tuple[Audited, ...]:
    """Check the branch before anybody sees it."""
    day = (night.as_of, night.as_of + timedelta(days=1))
    scores = night.lake.files(USER_SCORES, *day, snapshot=scored["snapshot"])
    features = night.lake.files(USER_FEATURES, *day)
    audited = audit_scores(
        [f.path for f in scores], [f.path for f in features], night.as_of, scored["tasks"]
    )
    for a in audited:
        if not a.passed:
            say(f"audit: {a.check}: FAILED: {a.found}")
    raise_if_failed(audited)
    say(f"audit: {len(audited)} checks passed")
    return audited


@task(
    name="publish",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=_transient,
)
def publish(night: Night, scored: Mapping[str, Any]) -> Release:
    """Make the release current by one row, then derive everything else from it."""
    releases, registry = Releases(night.engine), Registry(night.settings)
    current = releases.current()
    if current is None or not night.lake.descends(
        USER_SCORES, current.snapshots[USER_SCORES.name], scored["snapshot"]
    ):
        snapshots = {
            table.name: found
            for table in PUBLISHED
            if (found := night.lake.snapshot(table)) is not None
        }
        snapshots[USER_SCORES.name] = scored["snapshot"]
        newest = max(night.as_of, current.as_of) if current else night.as_of
        current = Release(
            scored["release_id"],
            newest,
            scored["model_id"] if current is None or newest == night.as_of else current.model_id,
            scored["release_id"],
            snapshots,
            night.run_id,
            now(),
        )
        releases.publish(current)
        say(f"published release {current.release_id}")
    for mended in heal(releases, night.lake, registry, database(night)):
        say(f"publish: {mended}")
    return current


def mend(night: Night) -> None:
    """Finish what a crash after the last release may have left undone."""
    releases = Releases(night.engine)
    if releases.current() is not None:
        for mended in heal(releases, night.lake, Registry(night.settings), database(night)):
            say(f"mended after a crash: {mended}")


def database(night: Night) -> Path:
    """The file of views that analysts open."""
    return night.settings.folder / "nightjar.duckdb"


@task(name="report", cache_policy=NO_CACHE)
def report(
    night: Night,
    trained: Mapping[str, Any],
    scored: Mapping[str, Any],
    audited: Sequence[Audited],
    release: Release,
) -> tuple[Path, list[tuple[str, ...]]]:
    """One page about the night: in the home, in MLflow, and as a Prefect artifact."""
    made = NightReport(
        as_of=night.as_of,
        run_id=night.run_id,
        mapping=night.mapping.name,
        release=release.release_id,
        model_id=scored["model_id"],
        stages=tuple(night.stages),
        reconciliation=_counts(night),
        quarantine=_reasons(night),
        trained=trained,
        audited=tuple(audited),
        switched_off=night.switched_off | dict(trained["skipped"]),
        sample=_sample(night),
    )
    path = write_report(made, night.settings.folder / "reports", Path(trained["folder"]))
    create_markdown_artifact(
        as_markdown(made), key="night-report", description=f"The night of {night.as_of}"
    )
    if trained["run_id"] and any(s.recomputed for s in night.stages):
        Registry(night.settings).log_file(trained["run_id"], path)
    say(f"report: {path}")
    return path, made.task_rows


def _counts(night: Night) -> list[tuple[Any, ...]]:
    return query(
        database(night),
        f"""
        SELECT source, table_name, sum(n_in)::BIGINT, sum(n_clean)::BIGINT,
               sum(n_duplicate)::BIGINT, sum(n_quarantined)::BIGINT
        FROM {RECONCILIATION.name} GROUP BY ALL ORDER BY ALL""",
    )[1]


def _reasons(night: Night) -> list[tuple[Any, ...]]:
    return query(
        database(night),
        """
        SELECT source, table_name, reason, count(*)::BIGINT AS n FROM quarantine
        GROUP BY ALL ORDER BY source, table_name, n DESC, reason""",
    )[1]


def _sample(night: Night) -> tuple[list[str], list[tuple[Any, ...]]]:
    """A few rows of the day's scores, of users chosen by their key."""
    columns = [c.name for t in night.tasks[:6] for c in t.score_columns()[:1]]
    listed = ", ".join(f"round({c}::DOUBLE, 3) AS {c}" for c in columns)
    return query(
        database(night),
        f"""
        SELECT left(user_key, 8) AS user_key, {listed} FROM {USER_SCORES.name}
        WHERE as_of = DATE '{night.as_of}' ORDER BY user_scores.user_key LIMIT 5""",
    )
