"""Maintenance of Iceberg tables: what can go, and that nothing else does.

pyiceberg expires snapshots without deleting their files, and looks for no orphans; both are done
here, by reachability and age.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
from pyiceberg.table.refs import SnapshotRefType

from contracts.counts import n_of
from contracts.days import Days
from contracts.errors import ContractError
from contracts.table import Table
from contracts.tables import COMPARED_LATER, RECONCILIATION, TABLES
from flows.lake.iceberg import span_of
from flows.lake.lake import MAIN, Lake
from flows.storage.location import (
    folder_of,
    is_within,
    join,
    name_of,
    plain_path,
    relative,
    resolved,
)
from flows.storage.parquet_files import read_metadata, read_rows
from flows.storage.storage import StoredFile
from jobs.spark.files import WrittenDay
from jobs.spark.parquet_writer import DayFiles, digest_text

MAX_SMALL = 60
"""Files of a small table beyond which it is written as one."""


@dataclass(frozen=True)
class Stale:
    """Files that nothing reaches any more."""

    files: tuple[StoredFile, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def expirable(
    lake: Lake,
    table: Table,
    needed: Collection[int],
    before: datetime,
    keep: int,
    dropped: Collection[str] = (),
) -> list[int]:
    """Snapshots of a table that are old, not among the newest, and that nobody needs.

    `dropped` are tags and branches that no longer count.
    """
    iceberg = lake.table(table)
    refs = iceberg.metadata.refs
    named = {ref.snapshot_id for name, ref in refs.items() if name not in dropped}
    newest = sorted(iceberg.snapshots(), key=lambda s: s.timestamp_ms)[-keep:] if keep else []
    spared = named | set(needed) | {s.snapshot_id for s in newest}
    limit = before.timestamp() * 1000
    return [
        s.snapshot_id
        for s in iceberg.snapshots()
        if s.snapshot_id not in spared and s.timestamp_ms < limit
    ]


def left_branches(lake: Lake, table: Table, before: datetime) -> list[str]:
    """Branches that nobody wrote to lately: of releases that failed their audit, or whose run was
    killed. Until then an operator can look at what is on them, and a run can take it up."""
    iceberg, limit = lake.table(table), before.timestamp() * 1000
    branches = []
    for name, ref in iceberg.metadata.refs.items():
        snapshot = iceberg.snapshot_by_id(ref.snapshot_id)
        old = snapshot is None or snapshot.timestamp_ms < limit
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH and name != MAIN and old:
            branches.append(name)
    return sorted(branches)


def expire(lake: Lake, table: Table, snapshots: Collection[int]) -> None:
    """Expire snapshots; their files go with `stale_files` later."""
    if snapshots:
        lake.writable(table).maintenance.expire_snapshots().by_ids(list(snapshots)).commit()


def stale_files(lake: Lake, runs: Collection[str], older_than: datetime | None) -> Stale:
    """Files that our own runs wrote and that no retained snapshot reaches.

    Only what `runs` wrote and what pyiceberg did for tables that we know can be among them:
    whatever else lies in the folder is somebody's. Files younger than `older_than` stay, for
    somebody may be about to commit them; None spares none.

    Raises:
        ContractError: a table names a file outside of the lake's folder.
    """
    reached = reached_files(lake)
    unreached = (
        file
        for file in _written_by(lake, runs)
        if plain_path(file.location) not in reached
        and (older_than is None or file.changed_at < older_than)
    )
    return Stale(tuple(sorted(unreached, key=lambda file: file.location)))


def reached_files(lake: Lake) -> frozenset[str]:
    """Every file that a table leads to, by where it really lies.

    Raises:
        ContractError: one lies outside of the lake's folder, so that what nothing reaches cannot
            be told from what is only reached by another name.
    """
    reached = frozenset(resolved(name) for name in lake.named_files())
    roots = (lake.location, lake.data_files)
    outside = sorted(path for path in reached if not any(is_within(path, r) for r in roots))
    if outside:
        raise ContractError(
            f"nothing was removed: tables name {n_of(len(outside), 'file')} outside of "
            f"{resolved(lake.location)}, such as {outside[0]}, so what nothing reaches "
            "cannot be told for certain"
        )
    return reached


def runs_of(lake: Lake, reached: Collection[str]) -> set[str]:
    """Runs whose files tables lead to."""
    folder = lake.data_files
    return {relative(path, folder).split("/")[0] for path in reached if is_within(path, folder)}


def _written_by(lake: Lake, runs: Collection[str]) -> Iterator[StoredFile]:
    """Files of runs, and what pyiceberg wrote for our tables, by where they really lie."""
    root, storage = resolved(lake.data_files), lake.storage
    for run in sorted(set(runs)):
        if run not in ("", ".", "..") and name_of(run) == run:
            written = storage.files(join(root, run), recursive=True)
            yield from (file for file in written if file.location.endswith(".parquet"))
    for table in lake.existing():
        location = resolved(lake.table(table).location())
        metadata = storage.files(join(location, "metadata"))
        for file in [*metadata, *storage.files(join(location, "data"), recursive=True)]:
            if _OF_PYICEBERG.search(name_of(file.location)):
                yield file


_UUID = "-".join(rf"[0-9a-f]{{{n}}}" for n in (8, 4, 4, 4, 12))
_OF_PYICEBERG = re.compile(rf"[.](?:avro|json)$|^00000-[0-9]+-{_UUID}[.]parquet$")
"""Names of its metadata; and of its data: rows of small tables, and what is left of a file of which
some days were replaced."""


def remove(lake: Lake, stale: Stale) -> None:
    """Delete files, then the folders of runs that they leave empty."""
    for file in stale.files:
        lake.storage.remove(file.location)
    root = resolved(lake.data_files)
    for folder in sorted({resolved(folder_of(file.location)) for file in stale.files}):
        lake.storage.remove_empty_folders(folder, root)


def months_to_compact(lake: Lake, table: Table, until: date) -> list[date]:
    """First days of whole months before `until` that lie in more than one file per partition."""
    if table.partition[:1] != ("landed_on",):
        return []
    per_month: dict[date, int] = {}
    for file in lake.files(table, end=until):
        span = span_of(read_metadata(file.path), table.day)
        if span is not None and span[0].replace(day=1) == span[1].replace(day=1):
            month = span[0].replace(day=1)
            per_month[month] = per_month.get(month, 0) + 1
    last = until.replace(day=1)
    few = 1 if len(table.partition) == 1 else 12
    return [month for month, n in sorted(per_month.items()) if n > few and month < last]


def compact_month(lake: Lake, table: Table, month: date, staging: str) -> int:
    """Write a month's daily files as one file per partition; the rows stay the same.

    Returns:
        Files that there are fewer now.

    Raises:
        ContractError: the rows that were written are not those that were read.
    """
    end = (month + timedelta(days=32)).replace(day=1)
    saved = 0
    for part, where in enumerate(_partitions(lake, table, month, end)):
        files = lake.files(table, month, end, {k: [v] for k, v in where.items()} or None)
        if len(files) < 2:
            continue
        writer = DayFiles(table, staging, by_month=True, part=part)
        for day, rows in _in_order([f.path for f in files], table):
            writer.write(day, rows)
        written = {
            row["day"]: WrittenDay(
                row["day"],
                row["rows"],
                digest_text(row["rows"], int(row["total"]), int(row["parity"])),
                (row["path"],),
                row["first"],
            )
            for row in writer.report().to_pylist()
        }
        counted = sum(day.rows for day in written.values())
        if counted != sum(f.rows for f in files):
            raise ContractError(
                f"{table.name}: {n_of(sum(f.rows for f in files), 'row')} of {month:%Y-%m} "
                f"read, {counted:,} written; nothing was replaced"
            )
        lake.commit(table, written, where)
        saved += len(files) - 1
    return saved


def _partitions(lake: Lake, table: Table, start: date, end: date) -> list[dict[str, str]]:
    """Values of the partition columns besides the day, within a range."""
    rest = table.partition[1:]
    if not rest:
        return [{}]
    (column,) = rest
    distinct = set()
    for file in lake.files(table, start, end):
        values = read_rows(file.path, columns=[column]).column(column)
        distinct.update(values.unique().to_pylist())
    return [{column: value} for value in sorted(distinct)]


def _in_order(paths: list[str], table: Table) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The rows of files of whole days, day after day, each sorted by grain."""
    of_day: dict[date, list[str]] = {}
    for path in paths:
        span = span_of(read_metadata(path), table.day)
        if span is None:
            continue
        for day in Days(span[0], span[1] + timedelta(days=1)):
            of_day.setdefault(day, []).append(path)
    order = [(name, "ascending") for name in table.grain]
    for day in sorted(of_day):
        rows = pa.concat_tables(
            [read_rows(p, filters=[(table.day, "=", day)]) for p in of_day[day]]
        )
        if rows.num_rows:
            yield day, rows.sort_by(order).combine_chunks().to_batches()[0]


SMALL = (RECONCILIATION, *COMPARED_LATER)
"""Tables of a few rows a night, without partitions."""


def small_table_files(lake: Lake) -> int:
    """Files of the small table that has most: each gets some with every night."""
    return max(len(lake.files(table)) for table in SMALL)


def compact_small_tables(lake: Lake) -> int:
    """Write each small table of many files as one. Files that there are fewer now."""
    saved = 0
    for table in SMALL:
        n = len(lake.files(table))
        if n > MAX_SMALL:
            iceberg = lake.writable(table)
            iceberg.overwrite(iceberg.scan().to_arrow(), snapshot_properties=lake.properties)
            saved += n - 1
    return saved


COMPACTED = tuple(table for table in TABLES if table.partition[:1] == ("landed_on",))
"""Tables of landing days: nights write a file per day, which share one per month later."""
