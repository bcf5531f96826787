"""Score, audit, publish: on a branch that nobody reads until one row makes it current."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from contracts.table import ContractError
from contracts.tables import LANDED, PUBLISHED, USER_FEATURES, USER_SCORES
from flows.audit import Audited, audit_drift, audit_scores, raise_if_failed
from flows.learning import score_fingerprint
from flows.night import Night, short_hash
from flows.plan import decide, hash_of, landing_stage
from flows.processes import run_models
from flows.receipts import WITHDRAWN, Fingerprint
from flows.registry import Registry
from flows.releases import Release, Releases, branch_of, heal, now
from flows.tasks import say, transient
from jobs.io import WrittenDay
from jobs.stages import JOBS

_ONE = timedelta(days=1)


@task(name="score", cache_policy=NO_CACHE)
def score(night: Night, model_id: str, days: Sequence[date]) -> dict[str, Any]:
    """Score every known user as of each of `days` in a process of its own, on a branch.

    Raises:
        ContractError: a day has no features.
    """
    started = time.monotonic()
    digests = night.planner.digests("user_features", USER_FEATURES.name)
    missing = [str(day) for day in days if day not in digests]
    if missing:
        raise ContractError(f"there are no features to score as of {', '.join(missing)}")
    prints = {day: score_fingerprint(night, model_id, day) for day in days}
    todo, snapshot = _to_score(night, prints)
    if not todo:
        night.reused("score", say)
        receipt = night.receipts.get("score", days[-1])
        return dict(receipt.outputs) | {"snapshot": snapshot} if receipt else {}
    release_id = release_id_of(night, prints)
    staging = night.lake.staging(night.run_id, "score")
    folder = night.settings.folder / "runs" / night.run_id
    files = {day: night.lake.files(USER_FEATURES, day, day + _ONE) for day in todo}
    threads = night.settings.train.threads
    made = run_models(
        "score",
        {
            "threads": threads,
            "days": [
                {
                    "files": [file.path for file in files[day]],
                    "as_of": day.isoformat(),
                    "model": str(Registry(night.settings).fetch(model_id)),
                    "release_id": release_id,
                    "path": f"{staging}/{day}.parquet",
                    "scratch": str(folder / "score"),
                    "threads": threads,
                }
                for day in todo
            ],
        },
        folder,
        say,
    )["days"]
    branch = branch_of(release_id)
    night.lake.branch(USER_SCORES, branch)
    snapshot = night.lake.commit(
        USER_SCORES,
        {
            day: WrittenDay(day, one["rows"], "", (one["path"],))
            for day, one in zip(todo, made, strict=True)
        },
        branch=branch,
    )
    outputs = {
        day: {
            "release_id": release_id,
            "model_id": model_id,
            "snapshot": snapshot,
            "tasks": one["tasks"],
            "rows": one["rows"],
            "path": one["path"],
        }
        for day, one in zip(todo, made, strict=True)
    }
    night.note(
        "score",
        {day: prints[day] for day in todo},
        outputs,
        sum(f.rows for group in files.values() for f in group),
        sum(one["rows"] for one in made),
        started,
        sum(os.path.getsize(one["path"]) for one in made),
        say,
    )
    return outputs[todo[-1]]


def _to_score(night: Night, prints: Mapping[date, Fingerprint]) -> tuple[list[date], int | None]:
    """Days to be scored, and if there is none, the snapshot that has the scores of all of them.

    Scores hold if they are in what is published, or if all that are not wait for it together in
    one snapshot that grew out of it.
    """
    current = Releases(night.engine).current()
    published = None if current is None else current.snapshots[USER_SCORES.name]

    def has(snapshot: int, day: date, path: str) -> bool:
        files = night.lake.files(USER_SCORES, day, day + _ONE, snapshot=snapshot)
        return [file.path for file in files] == [path]

    waiting: dict[date, int] = {}
    todo = []
    for day, fingerprint in prints.items():
        receipt = night.receipts.get("score", day)
        if receipt is None or not decide("score", day, fingerprint, receipt).reuse:
            todo.append(day)
            continue
        path, snapshot = receipt.outputs["path"], int(receipt.outputs["snapshot"])
        if published is not None and has(published, day, path):
            continue
        known = night.lake.has_snapshot(USER_SCORES, snapshot)
        if known and (published is None or night.lake.descends(USER_SCORES, snapshot, published)):
            waiting[day] = snapshot
        else:
            todo.append(day)
    if not todo and len(set(waiting.values())) <= 1:
        return [], next(iter(waiting.values()), published)
    return sorted({*todo, *waiting}), None


def release_id_of(night: Night, scored: Mapping[date, Fingerprint]) -> str:
    """The id of a release with these scores and everything published as it is now.

    It is a function of content, so the same night again makes the same release.
    """
    stages = [(landing_stage(source), LANDED.name) for source in night.mapping.sources]
    stages += [(job.name, table.name) for job in JOBS for table in job.writes if table in PUBLISHED]
    content = [
        (stage, table, night.planner.outputs(stage, table).hash(None, date.max, None))
        for stage, table in stages
    ]
    scores = {
        day: receipt.fingerprint
        for day in night.receipts.days("score")
        if (receipt := night.receipts.get("score", day)) and receipt.fingerprint.inputs != WITHDRAWN
    } | dict(scored)
    content += [("score", str(day), hash_of(asdict(scores[day]))) for day in sorted(scores)]
    current = Releases(night.engine).current()
    newest = max([*scores, *([current.as_of] if current else [])])
    return f"{newest:%Y%m%d}-{short_hash(hash_of(content))}"


@task(name="audit", cache_policy=NO_CACHE)
def audit(night: Night, scored: Mapping[str, Any], days: Sequence[date]) -> tuple[Audited, ...]:
    """Check the branch before anybody sees it.

    Raises:
        ContractError: a check fails; it is named with its numbers, and nothing is published.
    """
    made: list[Audited] = []
    current = Releases(night.engine).current()
    for day in days:
        span = (day, day + _ONE)
        scores = night.lake.files(USER_SCORES, *span, snapshot=scored["snapshot"])
        features = night.lake.files(USER_FEATURES, *span)
        paths = [f.path for f in scores]
        made += audit_scores(paths, [f.path for f in features], day, scored["tasks"])
        if current is not None and day >= current.as_of:
            before = night.lake.files(
                USER_SCORES,
                current.as_of,
                current.as_of + _ONE,
                snapshot=current.snapshots[USER_SCORES.name],
            )
            s = night.settings
            made += audit_drift(
                paths,
                [f.path for f in before],
                scored["tasks"],
                s.max_users_lost,
                s.max_score_shift,
            )
    for a in made:
        if not a.passed:
            say(f"audit: {a.check}: FAILED: {a.found}")
    raise_if_failed(made)
    say(f"audit: {len(made)} checks passed")
    return tuple(made)


@task(
    name="publish",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=transient,
)
def publish(night: Night, scored: Mapping[str, Any], days: Sequence[date]) -> Release:
    """Make the release current by one row, then derive everything else from it.

    Without scores (`scored` is empty) those of the current release stay.
    """
    releases, registry = Releases(night.engine), Registry(night.settings)
    current = releases.current()
    release_id = release_id_of(night, {})
    if current is None or current.release_id != release_id:
        snapshots = {
            table.name: found
            for table in PUBLISHED
            if (found := night.lake.snapshot(table)) is not None
        }
        newest = max([*(days if scored else []), *([current.as_of] if current else [])])
        if scored:
            snapshots[USER_SCORES.name] = scored["snapshot"]
            is_newest = current is None or newest in days
            model_id = scored["model_id"] if is_newest or current is None else current.model_id
        elif current is not None:
            snapshots[USER_SCORES.name] = current.snapshots[USER_SCORES.name]
            model_id = current.model_id
        current = Release(
            release_id,
            newest,
            model_id,
            release_id,
            snapshots,
            night.run_id,
            now(),
            tuple(days),
            current.release_id if current else None,
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
