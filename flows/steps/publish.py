"""Audit and publish: branches that nobody reads become the release by one row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from contracts.counts import n_of
from contracts.days import ONE_DAY
from contracts.errors import ContractError
from contracts.tables import ON_BRANCH, RELEASED
from flows.engine.alerts import NOT_ERASED, NOT_REPAIRED, announce
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.lake.lake import Lake
from flows.learning.ranking import kept_since
from flows.lifecycle.errors import reason
from flows.release import audits
from flows.release.audit import Audited, DayToAudit, raise_if_failed
from flows.release.model_registry import Registry
from flows.release.releases import Release, Releases, now, repair, scored_tasks
from flows.settings import NightjarSettings
from flows.state.schema import unfinished_erasures
from flows.steps.candidate import (
    Candidate,
    Written,
    days_kept_before,
    published_snapshots,
    release_id_of,
)
from flows.steps.prefect_tasks import say, task, transient, warn


@task(name="audit", task_run_name="audit", cache_policy=NO_CACHE)
def audit(run: Run, candidate: Candidate, days: Sequence[date]) -> tuple[Audited, ...]:
    """Check what is on the branches before anybody sees it.

    Raises:
        ContractError: a check fails; it is named with its numbers, and nothing is published.
    """
    audited = []
    for written in candidate.tables:
        earlier = to_compare_with(Releases(run.engine), run.lake, written)
        for day in days:
            asked = day_to_audit(run.lake, run.context, candidate, written, day, earlier)
            audited += audits.audit(written.released, asked)
    for a in audited:
        if not a.passed:
            say(f"audit: {a.check}: FAILED: {a.found}")
    raise_if_failed(audited)
    say(f"audit: {n_of(len(audited), 'check')} passed")
    return tuple(audited)


def day_to_audit(
    lake: Lake,
    context: RunContext,
    candidate: Candidate,
    written: Written,
    day: date,
    earlier: Release | None,
) -> DayToAudit:
    """A day of a table as its audits are told of it. Only a day that is as new as the release that
    it is compared with is compared."""
    before = None
    if earlier is not None and day >= earlier.as_of:
        span, snapshot = (
            (earlier.as_of, earlier.as_of + ONE_DAY),
            earlier.snapshots[written.table.name],
        )
        before = [file.path for file in lake.files(written.table, *span, snapshot=snapshot)]
    settings = context.settings
    return DayToAudit(
        written.table,
        day,
        [file.path for file in candidate.files(lake, written.table, day)],
        lambda table: [file.path for file in candidate.files(lake, table, day)],
        before,
        written.outputs,
        settings.max_users_lost,
        settings.max_score_shift,
        context.surfaces,
        settings.min_coverage,
        settings.max_list_change,
        settings.max_same_lists,
    )


def to_compare_with(releases: Releases, lake: Lake, written: Written) -> Release | None:
    """The release that a table is compared with: the current one, unless it has these very rows;
    then the one it replaced, so that a night done again is audited as it was before.

    None where there is none, or where its rows are no longer kept.
    """
    table, seen = written.table, set()
    release = releases.current()
    while release is not None and release.snapshots.get(table.name) == written.snapshot:
        if release.release_id in seen:
            return None
        seen.add(release.release_id)
        release = releases.of(release.replaces)
    if release is None or table.name not in release.snapshots:
        return None
    return release if lake.has_snapshot(table, release.snapshots[table.name]) else None


@task(
    name="publish",
    task_run_name="publish",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=transient,
)
def publish(run: Run, candidate: Candidate, days: Sequence[date]) -> Release:
    """Make the release current by one row, bring everything else in line with it, and announce it.

    What the current release has of tables that the candidate does not have stays.
    """
    releases = Releases(run.engine)
    current = releases.current()
    release = next_release(run.context, run.state, current, candidate, days)
    if release != current:
        releases.publish(release)
        say(f"published release {release.release_id}")
    forget_left_out(run.settings, run.state, release)
    repair_and_announce(releases, run.lake, run.settings, "publish")
    return release


def forget_left_out(settings: NightjarSettings, state: HomeState, release: Release) -> None:
    """Drop the receipts of days that a release has left out: one without rows would be untrue, and
    who asks for such a day again gets it written again. Of a day without rows it stays true."""
    since, receipts = kept_since(settings, release.as_of), state.receipts
    if since is None:
        return
    for released in ON_BRANCH:
        if released.leaves_with_candidates:
            stage = str(released.stage)
            old = {day: receipts.get(stage, day) for day in receipts.days(stage) if day < since}
            kept = days_kept_before(state.lake, released, release, since)
            with_rows = {day for day, receipt in old.items() if receipt and receipt.outputs["rows"]}
            receipts.drop(stage, with_rows - kept)


def repair_and_announce(
    releases: Releases, lake: Lake, settings: NightjarSettings, what: str
) -> None:
    """Have what only shows the current release show it, and then announce it, unless that was done;
    what cannot be repaired raises an alert."""
    repairs = repair(releases, lake, Registry(settings), settings.home_folder.analysts_file)
    for repaired in repairs.done:
        say(f"{what}: {repaired}")
    for problem in repairs.problems:
        warn(problem, NOT_REPAIRED)
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


def next_release(
    context: RunContext,
    state: HomeState,
    current: Release | None,
    candidate: Candidate,
    days: Sequence[date],
) -> Release:
    """What is to be published; the current release if that is it already.

    Raises:
        ContractError: nobody was ever scored.
    """
    scored = candidate.scored
    if not scored and current is None:
        raise ContractError("there is nothing to publish: nobody was ever scored")
    published = published_snapshots(current)
    on_branches = published | candidate.snapshots
    release_id, replaces = release_id_of(context.mapping, state, on_branches), None
    newest, added = max(days), set(days)
    model_id = str(scored["model_id"]) if scored else ""
    if current is not None:
        again = current.release_id == release_id
        if again and on_branches == published:
            return current
        replaces = current.replaces if again else current.release_id
        added |= set(current.days) if again else set()
        if not scored or current.as_of > newest:
            newest, model_id = current.as_of, current.model_id
    return Release(
        release_id,
        newest,
        model_id,
        release_id,
        on_main(state.lake) | on_branches,
        context.run_id,
        now(),
        tuple(sorted(added)),
        replaces,
        reason=context.reason,
        codes=state.receipts.codes(),
        tasks=scored_tasks(state.receipts, newest),
    )


def on_main(lake: Lake) -> dict[str, int]:
    """Released tables that were ever written on `main`, to the snapshots that they have there."""
    return {
        released.table.name: snapshot
        for released in RELEASED
        if released.stage is None and (snapshot := lake.snapshot(released.table)) is not None
    }


def repair_after_crash(
    engine: Engine, lake: Lake, settings: NightjarSettings, erasing: str = ""
) -> None:
    """Finish what a crash after the last release may have left undone, and tell of erasures that
    were cut off, but of the one of `erasing`, a user's key."""
    repair_and_announce(Releases(engine), lake, settings, "repaired after a crash")
    for key in unfinished_erasures(engine):
        if key != erasing:
            warn(
                f"the erasure of {key} was cut off, so that tables may still tell of them: start "
                "the deployment `erase` with this user_key again, and it goes on",
                NOT_ERASED,
            )
