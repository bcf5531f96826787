"""Parquet files written from inside Spark's tasks, one day to a file, checked on the way out.

Spark's own partitioned writer takes twice as long here (`make bench`): it forks a process for the
mode of every local file, and drops the column that it partitions by. Reading back what was written,
to count and hash it, would cost as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark import TaskContext

from contracts.table import Column, Table
from jobs.spark.content_hash import row_hashes
from jobs.spark.schema import arrow_schema

ROW_GROUP = 131_072

REPORT = pa.schema(
    [
        ("day", pa.date32()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("total", pa.string()),
        ("parity", pa.string()),
        ("first", pa.date32()),
        ("is_broken", pa.bool_()),
        ("n_repeated", pa.int64()),
    ]
)
"""What comes back of each file's days: `total` and `parity` are the sum modulo 2**64 and the
exclusive or of the rows' hashes, `first` the earliest day on which something in it happened."""
REPORT_SQL = (
    "day date, path string, rows bigint, total string, parity string, first date, "
    "is_broken boolean, n_repeated bigint"
)


@dataclass
class DayInFile:
    """What is known of one day's rows in a file."""

    day: date
    path: str
    rows: int = 0
    total: int = 0
    parity: int = 0
    first: date | None = None
    is_broken: bool = False
    n_repeated: int = 0
    last: tuple[object, ...] | None = None
    """The grain of the row before, for rows come sorted by it."""


class DayFiles:
    """The files that one task writes of a table: a file per day, or per month with `by_month`.

    Rows come day after day, sorted by grain within each. A task may run twice, so its attempt is
    part of the names; only the paths that come back count.
    """

    def __init__(self, table: Table, folder: str, by_month: bool = False, part: int = 0):
        """`part` tells apart what one task writes for several groups of rows."""
        context = TaskContext.get()
        task = f"{context.partitionId():05d}-{context.taskAttemptId()}" if context else "0"
        self._task = f"{task}-{part}"
        uri = folder if "://" in folder else Path(folder).absolute().as_uri()
        self._system, self._root = pafs.FileSystem.from_uri(uri)
        self._prefix = uri.removesuffix(self._root) if "://" in folder else ""
        self._system.create_dir(self._root, recursive=True)
        self._table, self._schema, self._by_month = table, arrow_schema(table), by_month
        self._written: list[DayInFile] = []
        self._pending: list[pa.RecordBatch] = []
        self._writer: pq.ParquetWriter | None = None

    def write(self, day: date, rows: pa.RecordBatch) -> None:
        """Rows of one day, with the contract's columns; texts may be dictionaries."""
        if not self._written or self._written[-1].day != day:
            self._start(day)
        account(self._written[-1], rows, self._table)
        self._pending.append(rows.cast(self._schema))
        if sum(p.num_rows for p in self._pending) >= ROW_GROUP:
            self._flush()

    def _start(self, day: date) -> None:
        name = f"{day:%Y-%m}" if self._by_month else day.isoformat()
        path = f"{self._root}/{name}-{self._task}.parquet"
        if not self._written or self._written[-1].path != self._prefix + path:
            self._close()
            self._writer = pq.ParquetWriter(
                path, self._schema, filesystem=self._system, compression="zstd"
            )
        self._written.append(DayInFile(day, self._prefix + path))

    def _flush(self) -> None:
        if self._pending and self._writer is not None:
            for rows in row_groups(pa.Table.from_batches(self._pending, self._schema), self._table):
                self._writer.write_table(rows)
            self._pending.clear()

    def _close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def report(self) -> pa.RecordBatch:
        """Close the last file; what was written, as `REPORT`."""
        self._close()
        return pa.RecordBatch.from_pylist(
            [
                {
                    "day": f.day,
                    "path": f.path,
                    "rows": f.rows,
                    "total": str(f.total),
                    "parity": str(f.parity),
                    "first": f.first,
                    "is_broken": f.is_broken,
                    "n_repeated": f.n_repeated,
                }
                for f in self._written
            ],
            schema=REPORT,
        )


def row_groups(rows: pa.Table, table: Table) -> list[pa.Table]:
    """Rows sorted by grain, cut where its first column changes if that has few values: who reads
    those of one surface passes over the row groups of the others."""
    (first,) = (column for column in table.columns if column.name == table.grain[0])
    if not first.values or not rows.num_rows:
        return [rows]
    values = rows[first.name].combine_chunks()
    changes = pc.indices_nonzero(pc.not_equal(values[1:], values[:-1])).to_pylist()
    bounds = [0, *(change + 1 for change in changes), rows.num_rows]
    return [rows.slice(a, b - a) for a, b in pairwise(bounds)]


def parquet_writer(
    table: Table, folder: str, by_month: bool = False
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """A function for `mapInArrow`: rows sorted by day and grain in, `REPORT` of the files out."""

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        files = DayFiles(table, folder, by_month)
        for batch in batches:
            for day, part in _runs(batch.select(table.names), table.day):
                files.write(day, part)
        yield files.report()

    return write


def _runs(batch: pa.RecordBatch, day: str) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The batch, cut where its day changes."""
    encoded = pc.run_end_encode(batch.column(batch.schema.get_field_index(day)))
    start = 0
    for value, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        yield value, batch.slice(start, end - start)
        start = end


def fold(hashes: np.ndarray) -> tuple[int, int]:
    """The sum modulo 2**64 and the exclusive or of rows' hashes."""
    return int(hashes.sum(dtype=np.uint64)), int(np.bitwise_xor.reduce(hashes))


def digest_text(rows: int, total: int, parity: int) -> str:
    """A digest of rows as it stands in receipts: count, sum and exclusive or."""
    return f"{rows:x}-{total:016x}-{parity:016x}"


def account(file: DayInFile, rows: pa.RecordBatch, table: Table) -> None:
    """Add the rows to what is known of their day."""
    total, parity = fold(row_hashes(rows))
    file.rows += rows.num_rows
    file.total = (file.total + total) % 2**64
    file.parity ^= parity
    file.is_broken = file.is_broken or any(breaks(c, rows.column(c.name)) for c in table.columns)
    if table.happened is not None:
        earliest = pc.min(rows.column(table.happened)).as_py()
        if isinstance(earliest, datetime):
            earliest = earliest.date()
        file.first = min((d for d in (file.first, earliest) if d is not None), default=None)
    grain = [rows.column(name) for name in table.grain]
    first = tuple(column[0].as_py() for column in grain)
    if file.last == first:
        file.n_repeated += 1
    if rows.num_rows > 1:
        same = np.ones(rows.num_rows - 1, bool)
        for column in grain:
            equal = pc.equal(column.slice(1), column.slice(0, rows.num_rows - 1))
            same &= pc.fill_null(equal, True).to_numpy(zero_copy_only=False)
        file.n_repeated += int(same.sum())
    file.last = tuple(column[-1].as_py() for column in grain)


def breaks(contract: Column, values: pa.Array) -> bool:
    """Whether one of the values breaks what the contract says of its column."""
    if not contract.nullable and values.null_count:
        return True
    if contract.is_float and pc.any(pc.is_nan(values)).as_py():
        return True
    if contract.minimum is not None or contract.maximum is not None:
        span = pc.min_max(pc.list_flatten(values) if contract.column_type.is_array else values)
        low, high = span["min"].as_py(), span["max"].as_py()
        if low is not None and contract.minimum is not None and low < contract.minimum:
            return True
        if high is not None and contract.maximum is not None and high > contract.maximum:
            return True
    if contract.values is None:
        return False
    allowed = pc.is_in(values.drop_null(), value_set=pa.array(contract.values))
    return not pc.all(allowed, min_count=0).as_py()
