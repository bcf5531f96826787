"""The next release, as far as processes write it: on branches that nobody reads yet."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from prefect.cache_policies import NO_CACHE

from contracts.days import ONE_DAY
from contracts.errors import ContractError
from contracts.hashes import hash_of, short_hash
from contracts.released_table import ReleasedTable
from contracts.table import Table
from contracts.tables import (
    COMPARED_LATER,
    LANDED,
    ON_BRANCH,
    RELEASED_TABLES,
    USER_FEATURES,
    USER_SCORES,
)
from flows.engine.accounting import Work
from flows.engine.fingerprints import Fingerprints, decide, landing_stage
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.lake.iceberg import DataFile, days_before
from flows.lake.lake import Lake
from flows.learning.ranking import kept_since
from flows.release.releases import Release, Releases, branch_of
from flows.settings import NightjarSettings
from flows.state.receipts import WITHDRAWN, Fingerprint, Receipts
from flows.steps.prefect_tasks import say, task
from flows.steps.writers import Writer, WriteRequest, WriteResult
from jobs.mapping.sources import SourceMapping
from jobs.spark.files import WrittenDay
from jobs.stages import SPARK_JOBS


@dataclass(frozen=True)
class Written:
    """What a process's stage has of its table for a release."""

    released: ReleasedTable
    snapshot: int
    """It holds every day that the release has, those too that are not new."""
    outputs: Mapping[str, Any]
    """What the stage says of the newest of the days that it was asked for."""

    @property
    def table(self) -> Table:
        return self.released.table


@dataclass(frozen=True)
class Candidate:
    """What processes have written for the next release, which keeps what the current one has of
    tables that are not in it."""

    tables: tuple[Written, ...] = ()

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> Candidate:
        """Of the results of stages, by name."""
        return cls(tuple(results[str(r.stage)] for r in ON_BRANCH if r.stage in results))

    @property
    def snapshots(self) -> dict[str, int]:
        """Table to the snapshot that the release would name."""
        return {written.table.name: written.snapshot for written in self.tables}

    @property
    def scored(self) -> Mapping[str, Any]:
        """What scoring says of the newest day; empty where nobody was to be scored."""
        return next((w.outputs for w in self.tables if w.table.name == USER_SCORES.name), {})

    def files(self, lake: Lake, table: Table, day: date) -> tuple[DataFile, ...]:
        """The files of a day of any table as the release would have them."""
        return lake.files(table, day, day + ONE_DAY, snapshot=self.snapshots.get(table.name))


@dataclass(frozen=True)
class TableUpdate:
    """A table that is to be brought up to date for a release."""

    released: ReleasedTable
    fingerprints: Mapping[date, Fingerprint]
    """Of the days that are asked for, in order."""
    force: Collection[date]
    """Days that are written even if nothing has changed."""
    model_id: str
    """The model that scores."""
    release_id: str
    published: int | None
    """The table's snapshot in the current release."""
    left_out: Collection[date] = ()
    """Days that the current release has and the next one no longer."""

    @property
    def stage(self) -> str:
        return str(self.released.stage)


@task(name="write", task_run_name="{update.stage}", cache_policy=NO_CACHE)
def write_table(
    run: Run, update: TableUpdate, writer: Writer, candidate: Candidate = Candidate()
) -> Written:
    """Have a process write the days of its table that are not there yet, and commit them to the
    release's branch.

    Args:
        run: the run.
        update: what is asked for.
        writer: writes the files.
        candidate: what was written before it, and can be read.

    Raises:
        ContractError: a day has no features.
    """
    started, stage = time.monotonic(), update.stage
    check_features(run.fingerprints, tuple(update.fingerprints))
    todo, snapshot = days_to_write(run.lake, run.receipts, update)
    if snapshot is not None:
        run.reports.reused(stage, say)
        if update.left_out and snapshot == update.published:
            snapshot = start_branch(run.lake, update) or snapshot
        return Written(update.released, snapshot, outputs_of(run.receipts, update, snapshot))
    result = writer.write(
        run.context,
        run.receipts,
        WriteRequest(
            todo,
            update.fingerprints,
            update.model_id,
            update.release_id,
            run.lake.staging(run.run_id, stage),
            lambda table, day: candidate.files(run.lake, table, day),
            run.days,
        ),
    )
    outputs = commit(run.lake, update, result)
    n_bytes = sum(run.lake.storage.size(path) for path in result.paths)
    seconds = time.monotonic() - started
    fingerprints = {day: update.fingerprints[day] for day in todo}
    work = Work(stage, fingerprints, result.rows_in, result.rows_out, seconds, n_bytes)
    run.note(work, outputs, say)
    writer.committed(run.settings.home_folder)
    return Written(update.released, outputs[todo[-1]]["snapshot"], outputs[todo[-1]])


def check_features(fingerprints: Fingerprints, days: Sequence[date]) -> None:
    """Make sure that there are users to write of.

    Raises:
        ContractError: a day has no features.
    """
    digests = fingerprints.digests("user_features", USER_FEATURES.name)
    missing = [str(day) for day in days if day not in digests]
    if missing:
        raise ContractError(f"there are no features to score as of {', '.join(missing)}")


def update_of(
    context: RunContext,
    state: HomeState,
    stage: str,
    fingerprints: Mapping[str, Mapping[date, Fingerprint]],
    model_id: str,
    force: Collection[date] = (),
) -> TableUpdate:
    """What a stage is asked for. The release's id is one of all tables that processes write,
    whichever of them comes first.

    Args:
        context: the run's.
        state: the home's database and lake.
        stage: whose table is written.
        fingerprints: of the days that are asked for, in order, of every such stage.
        model_id: the model that scores.
        force: days that are written even if nothing has changed.
    """
    current = Releases(state.engine).current()
    published = published_snapshots(current)
    (released,) = (r for r in ON_BRANCH if r.stage == stage)
    left_out = {
        str(other.stage): days_left_out(
            context.settings, state.lake, other, current, fingerprints[str(other.stage)]
        )
        for other in ON_BRANCH
        if other.stage in fingerprints and current is not None
    }
    return TableUpdate(
        released,
        fingerprints[stage],
        force,
        model_id,
        release_id_of(context.mapping, state, published, fingerprints, left_out),
        published.get(released.table.name),
        left_out.get(stage, ()),
    )


def days_left_out(
    settings: NightjarSettings,
    lake: Lake,
    released: ReleasedTable,
    current: Release,
    asked: Collection[date],
) -> set[date]:
    """Days that the current release has of a table and the next one no longer: those whose
    candidates are not kept, unless they are asked for."""
    since = kept_since(settings, max([*asked, current.as_of]))
    if since is None:
        return set()
    return days_kept_before(lake, released, current, since) - set(asked)


def days_kept_before(
    lake: Lake, released: ReleasedTable, release: Release, since: date
) -> set[date]:
    """Days before `since` of a release's table, of one that leaves some out."""
    table, snapshot = released.table, release.snapshots.get(released.table.name)
    if snapshot is None or not released.leaves_with_candidates:
        return set()
    return days_before(lake.table(table), table, since, snapshot)


def start_branch(lake: Lake, update: TableUpdate) -> int | None:
    """Begin the release's branch with what the current release has of the table, but for days that
    are left out. A branch on which an earlier run has written is taken as that run left it.

    Returns:
        Its snapshot.
    """
    table, branch = update.released.table, branch_of(update.release_id)
    lake.branch(table, branch)
    if update.left_out:
        lake.drop_days(table, update.left_out, branch)
    return lake.snapshot(table, branch)


def commit(lake: Lake, update: TableUpdate, result: WriteResult) -> dict[date, dict[str, Any]]:
    """Put what was written on the release's branch. What the receipt of each day is to keep."""
    start_branch(lake, update)
    # Nothing in a file without rows says of which day it is.
    written = {
        day: WrittenDay(day, files.rows, "", files.paths if files.rows else ())
        for day, files in result.days.items()
    }
    snapshot = lake.commit(update.released.table, written, branch=branch_of(update.release_id))
    return {
        day: {
            "release_id": update.release_id,
            "snapshot": snapshot,
            "rows": files.rows,
            "path": files.paths[0],
            **files.outputs,
        }
        for day, files in result.days.items()
    }


def outputs_of(receipts: Receipts, update: TableUpdate, snapshot: int) -> dict[str, Any]:
    """What the receipt of the last day that is asked for keeps, of rows that a snapshot has now."""
    *_, last = update.fingerprints
    receipt = receipts.get(update.stage, last)
    return {} if receipt is None else dict(receipt.outputs) | {"snapshot": snapshot}


def days_to_write(
    lake: Lake, receipts: Receipts, update: TableUpdate
) -> tuple[list[date], int | None]:
    """Days of a table to be written; if there is none, the snapshot that has all of them.

    What was written holds if it is in what is published, or if all that is not waits for it
    together in one snapshot that grew out of it.
    """
    table, published = update.released.table, update.published
    in_published = paths_in(lake, table, published)
    waiting: dict[date, int] = {}
    todo = []
    for day, fingerprint in update.fingerprints.items():
        receipt = receipts.get(update.stage, day)
        decision = decide(update.stage, day, fingerprint, receipt, day in update.force)
        if receipt is None or not decision.reuse:
            todo.append(day)
        elif not has_day(lake, table, published, in_published, receipt.outputs):
            waiting[day] = int(receipt.outputs["snapshot"])
    together = set(waiting.values())
    if not todo and not together:
        return [], published
    if not todo and len(together) == 1:
        (snapshot,) = together
        if lake.has_snapshot(table, snapshot) and (
            published is None or lake.descends(table, snapshot, published)
        ):
            return [], snapshot
    return sorted({*todo, *waiting}), None


def has_day(
    lake: Lake,
    table: Table,
    snapshot: int | None,
    paths: Collection[str],
    outputs: Mapping[str, Any],
) -> bool:
    """Whether a snapshot, whose files are `paths`, has what was written of a day, of which the
    receipt keeps `outputs`. Of a day without rows there is no file: the snapshot that was committed
    with it says so."""
    if outputs.get("rows") == 0:
        return snapshot is not None and lake.descends(table, snapshot, int(outputs["snapshot"]))
    return outputs["path"] in paths


def published_snapshots(current: Release | None) -> dict[str, int]:
    """Tables that processes write, to the current release's snapshot of each that it has."""
    names = {released.table.name for released in ON_BRANCH}
    snapshots = {} if current is None else current.snapshots
    return {name: snapshot for name, snapshot in snapshots.items() if name in names}


def paths_in(lake: Lake, table: Table, snapshot: int | None) -> set[str]:
    """The files of a snapshot; of none, none."""
    return set() if snapshot is None else {f.path for f in lake.files(table, snapshot=snapshot)}


def release_id_of(
    mapping: SourceMapping,
    state: HomeState,
    snapshots: Mapping[str, int],
    planned: Mapping[str, Mapping[date, Fingerprint]] | None = None,
    left_out: Mapping[str, Collection[date]] | None = None,
) -> str:
    """The id of a release with these snapshots of the tables that processes write, and days that
    are to be added to them, or left out, by stage.

    It is a function of content, so the same night again makes the same release.
    """
    content = data_content(mapping, state.receipts, state.fingerprints)
    days: set[date] = set()
    for released in ON_BRANCH:
        table = released.table
        written = written_days(state.lake, state.receipts, released, snapshots.get(table.name))
        stage = str(released.stage)
        for day in (left_out or {}).get(stage, ()):
            written.pop(day, None)
        written |= (planned or {}).get(stage, {})
        content += [(stage, str(day), hash_of(asdict(written[day]))) for day in sorted(written)]
        days |= set(written)
    current = Releases(state.engine).current()
    newest = max([*days, *([current.as_of] if current else [])])
    return f"{newest:%Y%m%d}-{short_hash(hash_of(content))}"


def data_content(
    mapping: SourceMapping, receipts: Receipts, fingerprints: Fingerprints
) -> list[tuple[str, str, str]]:
    """Stage, table and a hash of its rows, of all released tables that are written on `main`."""
    stages = [(landing_stage(source), LANDED.name) for source in mapping.sources]
    stages += [
        (job.name, table.name)
        for job in SPARK_JOBS
        for table in job.writes
        if table in RELEASED_TABLES
    ]
    # What an earlier version did not have counts from when something is written.
    stages += [(t.name, t.name) for t in COMPARED_LATER if receipts.days(t.name)]
    return [
        (stage, table, fingerprints.outputs(stage, table).hash(None, date.max, None))
        for stage, table in stages
    ]


def written_days(
    lake: Lake, receipts: Receipts, released: ReleasedTable, snapshot: int | None
) -> dict[date, Fingerprint]:
    """The days of a table that a snapshot of it holds, each with what it was written from."""
    stage = str(released.stage)
    paths = paths_in(lake, released.table, snapshot)
    return {
        day: receipt.fingerprint
        for day in receipts.days(stage)
        if (receipt := receipts.get(stage, day))
        and has_day(lake, released.table, snapshot, paths, receipt.outputs)
        and receipt.fingerprint.inputs != WITHDRAWN
    }
