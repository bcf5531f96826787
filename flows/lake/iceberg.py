"""Contracts in Iceberg's terms: schemas, partitions, filters, and what a file must be like before a
commit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

import pyarrow.parquet as pq
from pyiceberg import types
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import (
    AlwaysFalse,
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    LessThan,
    Or,
)
from pyiceberg.manifest import DataFile as IcebergDataFile
from pyiceberg.manifest import DataFileContent
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import ManifestGroupPlanner
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IcebergType, ListType, NestedField

from contracts.column_types import COLUMN_TYPES
from contracts.counts import n_of
from contracts.days import EPOCH, as_ranges
from contracts.errors import BusyError, ContractError
from contracts.table import Table, raise_if
from flows.storage.location import plain_path
from flows.storage.parquet_files import read_metadata
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema

MAX_RANGES = 100
"""Ranges of days in one filter; beyond them the days are listed."""


def check_files(table: Table, written: Mapping[date, WrittenDay]) -> None:
    """Look into every file before it is committed: columns, types, and that it is of its days.

    Iceberg takes a file without its partition column, and then hides its rows from filters.

    Raises:
        ContractError: naming every file that is not right.
    """
    expected = arrow_schema(table)
    problems = []
    days_of: dict[str, set[date]] = {}
    for day, of_day in written.items():
        for path in of_day.files:
            days_of.setdefault(path, set()).add(day)
    rows = 0
    for path, days in days_of.items():
        metadata = read_metadata(path)
        rows += metadata.num_rows
        schema = metadata.schema.to_arrow_schema()
        if schema.names != expected.names or not all(
            a.type.equals(b.type) for a, b in zip(schema, expected, strict=True)
        ):
            problems.append(f"  {path}: its columns are not the contract's")
            continue
        stats = span_of(metadata, table.day)
        span = f"{min(days)} to {max(days)}" if len(days) > 1 else f"only {min(days)}"
        if stats != (min(days), max(days)):
            days_found = f"{stats[0]} to {stats[1]}" if stats else "no statistics"
            problems.append(f"  {path}: expected {table.day} of {span}, found {days_found}")
    counted = sum(of_day.rows for of_day in written.values())
    if rows != counted:
        problems.append(f"  {n_of(counted, 'row')} counted, {rows:,} in the files")
    raise_if(table, problems)


def span_of(metadata: pq.FileMetaData, day: str) -> tuple[date, date] | None:
    """The first and last day in a file by its statistics; None if a part of it has none."""
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    column = names.index(day)
    groups = [metadata.row_group(g).column(column) for g in range(metadata.num_row_groups)]
    stats = [group.statistics for group in groups]
    if not stats or any(s is None or not s.has_min_max for s in stats):
        return None
    return min(s.min for s in stats), max(s.max for s in stats)


def on_days(table: Table, days: Iterable[date]) -> BooleanExpression:
    """Rows of these days, as few ranges: Iceberg can tell of a range that a file lies within it."""
    ranges = as_ranges(days)
    if len(ranges) > MAX_RANGES:
        return In(table.day, [day.isoformat() for r in ranges for day in r])
    parts: list[BooleanExpression] = [
        And(
            GreaterThanOrEqual(table.day, r.start.isoformat()),
            LessThan(table.day, r.end.isoformat()),
        )
        for r in ranges
    ]
    return reduce(Or, parts) if parts else AlwaysFalse()


TOKEN = "nightjar.token"
"""Property of a snapshot: the token of the run that made it; a later run has a higher one."""


def token_of(snapshot: Snapshot) -> int | None:
    """The token of the run that made a snapshot; None of one made without."""
    summary = snapshot.summary
    token = None if summary is None else summary.get(TOKEN)
    return None if token is None else int(token)


def newest_valid(iceberg: IcebergTable, ref: str = "main") -> Snapshot | None:
    """The newest snapshot of a branch that counts: what a run has committed on top of a later
    run's work, after it had lost the right to write, does not."""
    snapshot = iceberg.snapshot_by_name(ref)
    line: list[Snapshot] = []
    while snapshot is not None:
        line.append(snapshot)
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else iceberg.snapshot_by_id(parent)
    tip, highest = None, 0
    for snapshot in reversed(line):
        token = token_of(snapshot)
        if token is None or token >= highest:
            tip, highest = snapshot, max(highest, token or 0)
    return tip


def named_files(iceberg: IcebergTable) -> Iterator[str]:
    """Every file that a table's present metadata leads to, as it is named there."""
    yield iceberg.metadata_location
    for logged in iceberg.metadata.metadata_log:
        yield logged.metadata_file
    manifests = set()
    for snapshot in iceberg.metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(iceberg.io):
            if manifest.manifest_path not in manifests:
                manifests.add(manifest.manifest_path)
                yield manifest.manifest_path
                for entry in manifest.fetch_manifest_entry(iceberg.io, discard_deleted=True):
                    yield entry.data_file.file_path


def spec_names(iceberg: IcebergTable) -> set[str]:
    return {field.name for field in iceberg.spec().fields}


def iceberg_schema(table: Table) -> Schema:
    n = len(table.columns)
    return Schema(
        *(
            NestedField(i + 1, c.name, iceberg_type(c.type, n + i + 1), required=False, doc=c.doc)
            for i, c in enumerate(table.columns)
        )
    )


def iceberg_type(name: str, element_id: int) -> IcebergType:
    """The Iceberg type of a contract's type; the elements of an array have an id of their own."""
    column_type = COLUMN_TYPES[name]
    scalar: IcebergType = getattr(types, column_type.iceberg)()
    if not column_type.is_array:
        return scalar
    return ListType(element_id=element_id, element_type=scalar, element_required=False)


def partition_spec(table: Table) -> PartitionSpec:
    schema = iceberg_schema(table)
    return PartitionSpec(
        *(
            PartitionField(schema.find_field(name).field_id, 1000 + i, IdentityTransform(), name)
            for i, name in enumerate(table.partition)
        )
    )


def rows_of(
    table: Table, days: Iterable[date], where: Mapping[str, str] | None
) -> BooleanExpression:
    """Rows of these days that have these values in other columns."""
    others = (EqualTo(name, value) for name, value in (where or {}).items())
    return all_of([on_days(table, days), *others])


def all_of(parts: Sequence[BooleanExpression]) -> BooleanExpression:
    return reduce(And, parts) if parts else AlwaysTrue()


@dataclass(frozen=True)
class DataFile:
    path: str
    rows: int
    bytes: int


@contextlib.contextmanager
def conflict_as_busy(table: Table) -> Iterator[None]:
    """Say in words that another writer was first."""
    try:
        yield
    except (CommitFailedException, ValidationException) as error:
        raise BusyError(
            f"{table.name}: somebody else has written these days at the same time; nothing of this "
            "commit is visible: run again"
        ) from error


def snapshot_is_gone(table: Table, snapshot: int) -> ContractError:
    return ContractError(
        f"{table.name}: `main` is to be snapshot {snapshot}, which the lake's catalogue does not "
        "have: it was expired, or the catalogue is of another time than the database. Put back a "
        "catalogue that has it, or go to the release before: `nightjar rollback`"
    )


def entries_of(
    iceberg: IcebergTable, where: BooleanExpression, snapshot: int
) -> Iterator[IcebergDataFile]:
    """Files of a snapshot that may hold such rows, as its manifests have them.

    A scan would also say of each file which part of the filter its rows are still to be held
    against, which nobody asks and takes longer than all else.

    Raises:
        ContractError: another program has deleted rows of them without rewriting them.
    """
    kept = iceberg.metadata.snapshot_by_id(snapshot)
    if kept is None:
        return
    planner = ManifestGroupPlanner(iceberg.metadata, iceberg.io, where)
    for entries in planner.plan_manifest_entries(kept.manifests(iceberg.io)):
        for entry in entries:
            file = entry.data_file
            if file.content != DataFileContent.DATA:
                raise ContractError(
                    f"{iceberg.name()[-1]}: expected data files alone, found the delete file "
                    f"{plain_path(file.file_path)}: another program has deleted rows, which "
                    "Spark, DuckDB and torch would still read. Rewrite the table without delete "
                    "files, or go back to a snapshot from before"
                )
            yield file


def days_before(iceberg: IcebergTable, table: Table, first: date, snapshot: int) -> set[date]:
    """Days before `first` of which a snapshot has files; of a table whose files each hold one."""
    place = table.partition.index(table.day)
    where = LessThan(table.day, first.isoformat())
    entries = entries_of(iceberg, where, snapshot)
    return {EPOCH + timedelta(days=entry.partition[place]) for entry in entries}


def planned_files(
    iceberg: IcebergTable, where: BooleanExpression, snapshot: int
) -> tuple[DataFile, ...]:
    """The data files of a snapshot that may hold rows of a filter, in order."""
    files = (
        DataFile(plain_path(file.file_path), file.record_count, file.file_size_in_bytes)
        for file in entries_of(iceberg, where, snapshot)
    )
    return tuple(sorted(files, key=lambda f: f.path))
