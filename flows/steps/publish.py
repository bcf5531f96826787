"""Score, audit, publish: on a branch that nobody reads until one row makes it current."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from prefect.cache_policies import NO_CACHE

from contracts.counts import n_of
from contracts.errors import ContractError
from contracts.specs import ScoreDaysSpec, ScoreSpec
from contracts.tables import (
    LANDED,
    NO_MODEL,
    RELEASED_TABLES,
    SCOREBOARD,
    USER_FEATURES,
    USER_SCORES,
)
from flows.engine.accounting import Work
from flows.engine.alerts import NOT_DERIVED, NOT_ERASED, announce
from flows.engine.fingerprints import decide, hash_of, landing_stage, short_hash
from flows.engine.model_process import run_models
from flows.engine.run import Night
from flows.lake.lake import Lake
from flows.learning.fingerprints import score_fingerprint, withheld_tonight
from flows.lifecycle.errors import reason
from flows.release.audit import Audited, audit_drift, audit_scores, raise_if_failed
from flows.release.model_registry import Registry
from flows.release.releases import Release, Releases, branch_of, heal, now
from flows.settings import NightjarSettings
from flows.state.receipts import WITHDRAWN, Fingerprint
from flows.state.schema import unfinished_erasures
from flows.steps.prefect_tasks import say, task, transient, warn
from flows.storage.location import join
from jobs.spark.files import WrittenDay
from jobs.stages import SPARK_JOBS

_ONE = timedelta(days=1)


@task(name="score", task_run_name="score", cache_policy=NO_CACHE)
def score(
    night: Night, model_id: str, days: Sequence[date], force: Collection[date] = ()
) -> dict[str, Any]:
    """Score every known user as of each of `days` in a process of its own, on a branch.

    With `NO_MODEL` every known user has a row, and every score is null.

    Raises:
        ContractError: a day has no features.
    """
    started = time.monotonic()
    digests = night.planner.digests("user_features", USER_FEATURES.name)
    missing = [str(day) for day in days if day not in digests]
    if missing:
        raise ContractError(f"there are no features to score as of {', '.join(missing)}")
    prints = {day: score_fingerprint(night, model_id, day) for day in days}
    todo, snapshot = _to_score(night, prints, force)
    if not todo:
        night.reused("score", say)
        receipt = night.receipts.get("score", days[-1])
        return dict(receipt.outputs) | {"snapshot": snapshot} if receipt else {}
    release_id = release_id_of(night, _published_scores(night), prints)
    staging = night.lake.staging(night.run_id, "score")
    home = night.settings.home_folder
    folder = home.storage.local_path(home.run(night.run_id))
    files = {day: night.lake.files(USER_FEATURES, day, day + _ONE) for day in todo}
    rows = sum(file.rows for group in files.values() for file in group)
    withheld = withheld_tonight(night, model_id)
    model = None if model_id == NO_MODEL else str(Registry(night.settings).fetch(model_id))
    spec = ScoreDaysSpec(
        tuple(
            ScoreSpec(
                files=tuple(file.path for file in files[day]),
                as_of=day,
                model=model,
                release_id=release_id,
                path=f"{staging}/{day}.parquet",
                scratch=str(scratch_of(night.settings, prints[day])),
                threads=night.settings.train.threads,
                accelerator=night.settings.train.accelerator,
                failed_tasks=night.settings.failed_tasks,
                withheld=withheld,
            )
            for day in todo
        ),
        processes=score_processes(night.settings, rows),
    )
    made = run_models(spec, folder, say)["days"]
    branch = branch_of(release_id)
    night.lake.branch(USER_SCORES, branch)
    snapshot = night.lake.commit(
        USER_SCORES,
        {
            day: WrittenDay(day, one["rows"], "", tuple(one["paths"]))
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
            "base_rates": one["base_rates"],
            "withheld": one["withheld"],
            "rows": one["rows"],
            "path": one["path"],
        }
        for day, one in zip(todo, made, strict=True)
    }
    work = Work(
        "score",
        {day: prints[day] for day in todo},
        rows,
        sum(one["rows"] for one in made),
        time.monotonic() - started,
        sum(home.storage.size(path) for one in made for path in one["paths"]),
    )
    night.note(work, outputs, say)
    home.storage.remove_folder(home.scoring)
    return outputs[todo[-1]]


def scratch_of(settings: NightjarSettings, fingerprint: Fingerprint) -> Path:
    """Where a scoring that is killed leaves off, and one of the same code, model and features goes
    on: after any of them has changed nothing of before is mixed in."""
    home = settings.home_folder
    made_by = short_hash(hash_of([asdict(fingerprint), settings.train.accelerator]))
    return home.storage.local_path(join(home.scoring, made_by))


def score_processes(settings: NightjarSettings, rows: int) -> int:
    """How many processes score so many rows: as set, else one for each half million, up to one a
    core. How many there are does not change a score."""
    if settings.score_processes is not None:
        return settings.score_processes
    return max(1, min(os.cpu_count() or 1, rows // 500_000))


def _to_score(
    night: Night, prints: Mapping[date, Fingerprint], force: Collection[date]
) -> tuple[list[date], int | None]:
    """Days to be scored, and if there is none, the snapshot that has the scores of all of them.

    Scores hold if they are in what is published, or if all that are not wait for it together in
    one snapshot that grew out of it.
    """
    published = _published_scores(night)
    there = _files_of(night, published)
    waiting: dict[date, int] = {}
    todo = []
    for day, fingerprint in prints.items():
        receipt = night.receipts.get("score", day)
        decision = decide("score", day, fingerprint, receipt, day in force)
        if receipt is None or not decision.reuse:
            todo.append(day)
        elif receipt.outputs["path"] not in there:
            waiting[day] = int(receipt.outputs["snapshot"])
    together = set(waiting.values())
    if not todo and not together:
        return [], published
    if not todo and len(together) == 1:
        (snapshot,) = together
        if night.lake.has_snapshot(USER_SCORES, snapshot) and (
            published is None or night.lake.descends(USER_SCORES, snapshot, published)
        ):
            return [], snapshot
    return sorted({*todo, *waiting}), None


def _published_scores(night: Night) -> int | None:
    current = Releases(night.engine).current()
    return None if current is None else current.snapshots[USER_SCORES.name]


def _files_of(night: Night, snapshot: int | None) -> set[str]:
    if snapshot is None:
        return set()
    return {file.path for file in night.lake.files(USER_SCORES, snapshot=snapshot)}


def release_id_of(
    night: Night, snapshot: int | None, scored: Mapping[date, Fingerprint] | None = None
) -> str:
    """The id of a release with the scores of a snapshot, and those that are to be added to it.

    It is a function of content, so the same night again makes the same release.
    """
    stages = [(landing_stage(source), LANDED.name) for source in night.mapping.sources]
    stages += [
        (job.name, table.name)
        for job in SPARK_JOBS
        for table in job.writes
        if table in RELEASED_TABLES
    ]
    if night.receipts.days(SCOREBOARD.name):
        stages.append((SCOREBOARD.name, SCOREBOARD.name))
    content = [
        (stage, table, night.planner.outputs(stage, table).hash(None, date.max, None))
        for stage, table in stages
    ]
    there = _files_of(night, snapshot)
    scores = {
        day: receipt.fingerprint
        for day in night.receipts.days("score")
        if (receipt := night.receipts.get("score", day))
        and receipt.outputs["path"] in there
        and receipt.fingerprint.inputs != WITHDRAWN
    } | dict(scored or {})
    content += [("score", str(day), hash_of(asdict(scores[day]))) for day in sorted(scores)]
    current = Releases(night.engine).current()
    newest = max([*scores, *([current.as_of] if current else [])])
    return f"{newest:%Y%m%d}-{short_hash(hash_of(content))}"


@task(name="audit", task_run_name="audit", cache_policy=NO_CACHE)
def audit(night: Night, scored: Mapping[str, Any], days: Sequence[date]) -> tuple[Audited, ...]:
    """Check the branch before anybody sees it.

    Raises:
        ContractError: a check fails; it is named with its numbers, and nothing is published.
    """
    made: list[Audited] = []
    earlier = _with_other_scores(night, int(scored["snapshot"]))
    for day in days:
        span = (day, day + _ONE)
        scores = night.lake.files(USER_SCORES, *span, snapshot=scored["snapshot"])
        features = night.lake.files(USER_FEATURES, *span)
        paths = [f.path for f in scores]
        made += audit_scores(
            paths,
            [f.path for f in features],
            day,
            scored["tasks"],
            scored.get("base_rates", ()),
        )
        if earlier is not None and day >= earlier.as_of:
            before = night.lake.files(
                USER_SCORES,
                earlier.as_of,
                earlier.as_of + _ONE,
                snapshot=earlier.snapshots[USER_SCORES.name],
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
    say(f"audit: {n_of(len(made), 'check')} passed")
    return tuple(made)


def _with_other_scores(night: Night, snapshot: int) -> Release | None:
    """The release that scores of a snapshot are compared with: the current one, unless it has these
    very scores; then the one it replaced, so that a night done again is audited as it was before.

    None where there is none, or where its scores are no longer kept.
    """
    releases = Releases(night.engine)
    found, seen = releases.current(), set()
    while found is not None and found.snapshots[USER_SCORES.name] == snapshot:
        if found.release_id in seen:
            return None
        seen.add(found.release_id)
        found = releases.of(found.replaces)
    if found is None or not night.lake.has_snapshot(USER_SCORES, found.snapshots[USER_SCORES.name]):
        return None
    return found


@task(
    name="publish",
    task_run_name="publish",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=transient,
)
def publish(night: Night, scored: Mapping[str, Any], days: Sequence[date]) -> Release:
    """Make the release current by one row, derive everything else from it, and announce it.

    Without scores (`scored` is empty) those of the current release stay.
    """
    releases = Releases(night.engine)
    current = releases.current()
    release = _release(night, current, scored, days)
    if release != current:
        releases.publish(release)
        say(f"published release {release.release_id}")
    derive(releases, night.lake, night.settings, "publish")
    return release


def derive(releases: Releases, lake: Lake, settings: NightjarSettings, what: str) -> None:
    """Have what only shows the current release show it, and then announce it, unless that was done;
    what cannot be made raises an alert."""
    healed = heal(releases, lake, Registry(settings), settings.home_folder.analysts_file)
    for mended in healed.mended:
        say(f"{what}: {mended}")
    for problem in healed.problems:
        warn(problem, NOT_DERIVED)
    release = releases.unannounced()
    if release is not None:
        away = announce(release.release_id, str(release.as_of))
        if away is None:
            releases.mark_announced(release.release_id)
        else:
            say(
                f"warning: release {release.release_id} is not announced: {reason(away)}. The next "
                "run announces it"
            )


def _release(
    night: Night, current: Release | None, scored: Mapping[str, Any], days: Sequence[date]
) -> Release:
    """What is to be published; the current release if that is it already."""
    if scored:
        snapshot, model_id = int(scored["snapshot"]), str(scored["model_id"])
    elif current is not None:
        snapshot, model_id = current.snapshots[USER_SCORES.name], current.model_id
    else:
        raise ContractError("there is nothing to publish: nobody was ever scored")
    release_id, newest, replaces = release_id_of(night, snapshot), max(days), None
    made = set(days)
    if current is not None:
        again = current.release_id == release_id
        if again and snapshot == current.snapshots[USER_SCORES.name]:
            return current
        replaces = current.replaces if again else current.release_id
        made |= set(current.days) if again else set()
        if not scored or current.as_of > newest:
            newest, model_id = current.as_of, current.model_id
    snapshots = {
        table.name: found
        for table in RELEASED_TABLES
        if (found := night.lake.snapshot(table)) is not None
    }
    return Release(
        release_id,
        newest,
        model_id,
        release_id,
        snapshots | {USER_SCORES.name: snapshot},
        night.run_id,
        now(),
        tuple(sorted(made)),
        replaces,
        reason=night.reason,
    )


def mend(night: Night, erasing: str = "") -> None:
    """Finish what a crash after the last release may have left undone, and tell of erasures that
    were cut off, but of the one of `erasing`, a user's key."""
    derive(Releases(night.engine), night.lake, night.settings, "mended after a crash")
    for key in unfinished_erasures(night.engine):
        if key != erasing:
            warn(
                f"the erasure of {key} was cut off, so that tables may still tell of them: start "
                "the deployment `erase` with this user_key again, and it goes on",
                NOT_ERASED,
            )


def database(night: Night) -> Path:
    """The file of views that analysts open."""
    return night.settings.home_folder.analysts_file
