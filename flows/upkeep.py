"""Upkeep of Iceberg tables: what can go, and that nothing else does.

pyiceberg expires snapshots without deleting their files, and looks for no orphans; both are done
here, by reachability and age.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table as IcebergTable

from contracts.days import Days
from contracts.table import ContractError, Table
from contracts.tables import RECONCILIATION, SCOREBOARD, TABLES
from flows.iceberg import plain_path, span_of
from flows.lake import Lake
from jobs.io import WrittenDay
from jobs.parquet import DayFiles, digest_text

MAX_SMALL = 60
"""Files of a small table beyond which it is written as one."""


@dataclass(frozen=True)
class Stale:
    """Files that nothing reaches any more."""

    paths: tuple[Path, ...]
    bytes: int


def expirable(
    lake: Lake,
    table: Table,
    needed: Collection[int],
    before: datetime,
    keep: int,
    dropped: Collection[str] = (),
) -> list[int]:
    """Snapshots of a table that are old, not among the newest, and that nobody needs.

    `dropped` are tags that no longer count.
    """
    found = lake.table(table)
    refs = found.metadata.refs
    named = {ref.snapshot_id for name, ref in refs.items() if name not in dropped}
    newest = sorted(found.snapshots(), key=lambda s: s.timestamp_ms)[-keep:] if keep else []
    spared = named | set(needed) | {s.snapshot_id for s in newest}
    limit = before.timestamp() * 1000
    return [
        s.snapshot_id
        for s in found.snapshots()
        if s.snapshot_id not in spared and s.timestamp_ms < limit
    ]


def expire(lake: Lake, table: Table, snapshots: Collection[int]) -> None:
    """Forget snapshots; their files go with `stale_files` later."""
    if snapshots:
        lake.table(table).maintenance.expire_snapshots().by_ids(list(snapshots)).commit()


def stale_files(lake: Lake, older_than: datetime) -> Stale:
    """Data and metadata files under the lake's folder that no retained snapshot reaches.

    Files that are younger stay: somebody may be about to commit them.
    """
    reached: set[str] = set()
    for table in TABLES:
        reached |= set(_reached(lake.table(table)))
    limit = older_than.timestamp()
    paths, size = [], 0
    for path in lake.folder.rglob("*"):
        if path.suffix not in (".parquet", ".avro", ".json") or str(path) in reached:
            continue
        stat = path.stat()
        if stat.st_mtime < limit:
            paths.append(path)
            size += stat.st_size
    return Stale(tuple(sorted(paths)), size)


def _reached(found: IcebergTable) -> Iterator[str]:
    """Every file that a table's present metadata leads to."""
    yield plain_path(found.metadata_location)
    for logged in found.metadata.metadata_log:
        yield plain_path(logged.metadata_file)
    manifests = set()
    for snapshot in found.metadata.snapshots:
        yield plain_path(snapshot.manifest_list)
        for manifest in snapshot.manifests(found.io):
            if manifest.manifest_path not in manifests:
                manifests.add(manifest.manifest_path)
                yield plain_path(manifest.manifest_path)
                for entry in manifest.fetch_manifest_entry(found.io, discard_deleted=True):
                    yield plain_path(entry.data_file.file_path)


def remove(stale: Stale, root: Path) -> None:
    """Delete files, then the folders that they leave empty."""
    for path in stale.paths:
        path.unlink(missing_ok=True)
    for folder in sorted(root.rglob("*"), key=lambda p: len(p.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def months_to_compact(lake: Lake, table: Table, until: date) -> list[date]:
    """First days of whole months before `until` that lie in more than one file per partition."""
    if table.partition[:1] != ("landed_on",):
        return []
    per_month: dict[date, int] = {}
    for file in lake.files(table, end=until):
        span = span_of(pq.read_metadata(file.path), table.day)
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
                f"{table.name}: {sum(f.rows for f in files)} rows of {month:%Y-%m} read, "
                f"{counted} written; nothing was replaced"
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
    found = set()
    for file in lake.files(table, start, end):
        values = pq.read_table(file.path, columns=[column], partitioning=None).column(column)
        found.update(values.unique().to_pylist())
    return [{column: value} for value in sorted(found)]


def _in_order(paths: list[str], table: Table) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The rows of files of whole days, day after day, each sorted by grain."""
    of_day: dict[date, list[str]] = {}
    for path in paths:
        span = span_of(pq.read_metadata(path), table.day)
        if span is None:
            continue
        for day in Days(span[0], span[1] + timedelta(days=1)):
            of_day.setdefault(day, []).append(path)
    order = [(name, "ascending") for name in table.grain]
    for day in sorted(of_day):
        rows = pa.concat_tables(
            [
                pq.read_table(p, partitioning=None, filters=[(table.day, "=", day)])
                for p in of_day[day]
            ]
        )
        if rows.num_rows:
            yield day, rows.sort_by(order).combine_chunks().to_batches()[0]


SMALL = (RECONCILIATION, SCOREBOARD)
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
            found = lake.table(table)
            found.overwrite(found.scan().to_arrow())
            saved += n - 1
    return saved


COMPACTED = tuple(table for table in TABLES if table.partition[:1] == ("landed_on",))
"""Tables of landing days: nights write a file per day, which share one per month later."""
