"""Rows taken out of every snapshot of a table that is kept, by rewriting the files that hold them.

Snapshots themselves cannot change: each one that is kept and held such a row is followed by one
without it, to which releases, receipts and names are then pointed; the old ones are expired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import parquet_files_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

from contracts.table import Table
from flows.lake.lake import MAIN, Lake
from flows.lake.named_people import Change
from flows.storage.location import join, plain_path, uri_of
from flows.storage.parquet_files import Writer, read_batches, read_metadata, writer

BRANCH = "erasing"
"""Of a table while it is rewritten; a try that was killed leaves it."""
EARLIER_BRANCH = "forgetting"
"""What earlier versions called it: one of theirs that was killed may have left it."""


@dataclass
class Moved:
    """What came of a rewriting: old ids and paths to new ones."""

    snapshots: dict[int, int] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    """Old file to the first of those that replace it; "" if nothing is left of it."""
    rows: int = 0
    """Rows taken out of or changed in the newest snapshot."""
    files: int = 0

    def in_json(self, value: Any) -> Any:
        """The same value with ids and paths replaced, however deep they stand."""
        if isinstance(value, dict):
            return {name: self.in_json(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.in_json(inner) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return self.snapshots.get(value, value)
        return self.paths.get(value, value) if isinstance(value, str) else value


def rewrite(
    lake: Lake,
    table: Table,
    needed: Collection[int],
    concerns: Callable[[str], bool],
    change: Change,
    staging: str,
) -> Moved:
    """Rewrite the files of the named and the `needed` snapshots for which `concerns` and `change`
    say so; names follow. Once all else is pointed to the new ones, `expire_others`.

    Started again after a crash it does what is left.
    """
    iceberg = lake.writable(table)
    known = {s.snapshot_id for s in iceberg.snapshots()}
    named = {ref.snapshot_id for ref in iceberg.metadata.refs.values()}
    main = iceberg.metadata.refs[MAIN].snapshot_id if MAIN in iceberg.metadata.refs else None
    moved = Moved()
    written: dict[str, list[str]] = {}
    described: dict[str, DataFile] = {}
    seen: set[str] = set()
    for snapshot in sorted((named | set(needed)) & known):
        files = {plain_path(f.file_path): f for f in _files(iceberg, snapshot)}
        for path in sorted(files.keys() - seen):
            if concerns(path) and _is_changed(path, change):
                written[path] = _write(lake, table, path, change, staging)
                described |= _described(iceberg, written[path])
        seen |= files.keys()
        touched = files.keys() & written.keys()
        if not touched:
            continue
        new = [path for old in sorted(touched) for path in written[old]]
        iceberg = _follow(
            lake, table, snapshot, [files[p] for p in touched], [described[p] for p in new]
        )
        moved.snapshots[snapshot] = _tip(iceberg)
        if snapshot == main:
            moved.rows = sum(f.record_count for f in map(files.get, touched) if f) - sum(
                read_metadata(path).num_rows for path in new
            )
    moved.paths = {old: (new[0] if new else "") for old, new in written.items()}
    moved.files = len(written)
    _point(lake, table, moved.snapshots)
    return moved


def _files(iceberg: IcebergTable, snapshot: int) -> Iterator[DataFile]:
    for task in iceberg.scan(snapshot_id=snapshot).plan_files():
        yield task.file


def _tip(iceberg: IcebergTable) -> int:
    return iceberg.metadata.refs[BRANCH].snapshot_id


def _is_changed(path: str, change: Change) -> bool:
    """Whether the rows of a file are not yet as they are to be; read piece by piece."""
    return any(change(rows) is not None for rows in read_batches(path))


def _write(lake: Lake, table: Table, path: str, change: Change, staging: str) -> list[str]:
    """The rows of a file as they are to be, as files that each lie in one partition, whichever way
    the table is partitioned. A piece of them is in memory at a time."""
    old, paths, writers = Path(path), list[str](), dict[tuple[Any, ...], Writer]()
    with ExitStack() as stack:
        for rows in read_batches(path):
            changed = change(rows)
            for partition, group in _by_partition(table, rows if changed is None else changed):
                if partition not in writers:
                    paths.append(_free_name(lake, old, len(paths), staging))
                    writers[partition] = stack.enter_context(writer(rows.schema, paths[-1]))
                writers[partition].write_table(group)
    return paths


def _by_partition(table: Table, rows: pa.Table) -> Iterator[tuple[tuple[Any, ...], pa.Table]]:
    groups: list[tuple[tuple[Any, ...], pa.Table]] = [((), rows)]
    for name in table.partition:
        groups = [
            ((*partition, value.as_py()), group.filter(pc.equal(group[name], value)))
            for partition, group in groups
            for value in pc.unique(group[name])
        ]
    yield from ((partition, group) for partition, group in groups if group.num_rows)


def _free_name(lake: Lake, old: Path, i: int, staging: str) -> str:
    path = join(staging, f"{old.stem}-{i}.parquet")
    if lake.storage.exists(path):
        path = join(staging, f"{old.parent.name}-{old.stem}-{i}.parquet")
    return path


def _described(iceberg: IcebergTable, paths: list[str]) -> dict[str, DataFile]:
    """Files as manifests name them. Once for all snapshots: of a wide file it takes long."""
    uris = iter([uri_of(path) for path in paths])
    described = parquet_files_to_data_files(iceberg.io, iceberg.metadata, uris)
    return dict(zip(paths, described, strict=True))


def _follow(
    lake: Lake, table: Table, snapshot: int, old: list[DataFile], new: list[DataFile]
) -> IcebergTable:
    """A snapshot after `snapshot`, on a branch of its own, with files replaced."""
    lake.drop_branch(table, BRANCH)
    iceberg = lake.table(table)
    iceberg.manage_snapshots().create_branch(snapshot, BRANCH).commit()
    iceberg = lake.table(table)
    with (
        iceberg.transaction() as transaction,
        transaction.update_snapshot(
            branch=BRANCH, snapshot_properties=lake.properties
        ).overwrite() as producer,
    ):
        for file in old:
            producer.delete_data_file(file)
        for file in new:
            producer.append_data_file(file)
    return lake.table(table)


def _point(lake: Lake, table: Table, moved: Mapping[int, int]) -> None:
    """Names follow the snapshots that they named."""
    refs = dict(lake.table(table).metadata.refs)
    for name, ref in refs.items():
        if ref.snapshot_id not in moved or name in (BRANCH, EARLIER_BRANCH):
            continue
        new = moved[ref.snapshot_id]
        if name == MAIN:
            lake.point_main(table, new)
        elif ref.snapshot_ref_type == "tag":
            lake.tag(table, new, name)
        else:
            lake.drop_branch(table, name)
            lake.table(table).manage_snapshots().create_branch(new, name).commit()
    for name in (BRANCH, EARLIER_BRANCH):
        lake.drop_branch(table, name)


def expire_others(lake: Lake, table: Table, needed: Collection[int]) -> None:
    """Expire every snapshot that has no name and that nothing needs: any of them may reach a file
    that held such rows, also one that no kept snapshot reaches."""
    iceberg = lake.writable(table)
    spared = {ref.snapshot_id for ref in iceberg.metadata.refs.values()} | set(needed)
    others = [s.snapshot_id for s in iceberg.snapshots() if s.snapshot_id not in spared]
    if others:
        iceberg.maintenance.expire_snapshots().by_ids(others).commit()
