"""Parquet files written from inside Spark's tasks, one day to a file, checked on the way out.

Spark's own partitioned writer takes twice as long here (`make bench`): it forks a process for the
mode of every local file, and drops the column that it partitions by. Reading back what was written,
to count and hash it, would cost as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from pyspark import TaskContext

from contracts.table import Column, Table
from jobs.schema import arrow_schema

ROW_GROUP = 131_072
DIGEST = "_digest"
"""A column that comes with the rows but is not written: a hash of each."""

REPORT = pa.schema(
    [
        ("day", pa.date32()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("total", pa.string()),
        ("parity", pa.string()),
        ("is_broken", pa.bool_()),
        ("n_repeated", pa.int64()),
    ]
)
"""What comes back of each file: `total` and `parity` are the sum modulo 2**64 and the exclusive or
of its rows' hashes."""
REPORT_SQL = (
    "day date, path string, rows bigint, total string, parity string, is_broken boolean, "
    "n_repeated bigint"
)


@dataclass
class _Day:
    """What is known of one day's rows in a file."""

    day: date
    path: str
    rows: int = 0
    total: int = 0
    parity: int = 0
    is_broken: bool = False
    n_repeated: int = 0
    last: tuple[object, ...] | None = None
    """The grain of the row before, for rows come sorted by it."""


def parquet_writer(
    table: Table, folder: str, by_month: bool = False
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """A function for `mapInArrow`: rows sorted by day and grain in, `REPORT` of the files out.

    A file holds a day, or with `by_month` the days of a month.
    A task may run twice, so its attempt is part of the names; only the paths that come back count.
    """
    schema = arrow_schema(table)

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        task = f"{context.partitionId():05d}-{context.taskAttemptId()}" if context else "0"
        uri = folder if "://" in folder else Path(folder).absolute().as_uri()
        system, root = pafs.FileSystem.from_uri(uri)
        prefix = uri.removesuffix(root) if "://" in folder else ""
        system.create_dir(root, recursive=True)
        made: list[_Day] = []
        pending: list[pa.RecordBatch] = []
        writer: pq.ParquetWriter | None = None

        def flush() -> None:
            if pending and writer is not None:
                writer.write_table(pa.Table.from_batches(pending, schema))
                pending.clear()

        for batch in batches:
            for day, part in _runs(batch, table.day):
                if not made or made[-1].day != day:
                    name = f"{day:%Y-%m}" if by_month else day.isoformat()
                    path = f"{root}/{name}-{task}.parquet"
                    if not made or made[-1].path != prefix + path:
                        flush()
                        if writer is not None:
                            writer.close()
                        writer = pq.ParquetWriter(
                            path, schema, filesystem=system, compression="zstd"
                        )
                    made.append(_Day(day, prefix + path))
                _account(made[-1], part, table)
                pending.append(part.select(schema.names).cast(schema))
                if sum(p.num_rows for p in pending) >= ROW_GROUP:
                    flush()
        flush()
        if writer is not None:
            writer.close()
        yield pa.RecordBatch.from_pylist(
            [
                {
                    "day": f.day,
                    "path": f.path,
                    "rows": f.rows,
                    "total": str(f.total),
                    "parity": str(f.parity),
                    "is_broken": f.is_broken,
                    "n_repeated": f.n_repeated,
                }
                for f in made
            ],
            schema=REPORT,
        )

    return write


def _runs(batch: pa.RecordBatch, day: str) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The batch, cut where its day changes."""
    encoded = pc.run_end_encode(batch.column(batch.schema.get_field_index(day)))
    start = 0
    for value, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        yield value, batch.slice(start, end - start)
        start = end


def _account(file: _Day, rows: pa.RecordBatch, table: Table) -> None:
    """Add the rows to what is known of their day."""
    hashes = rows.column(DIGEST).to_numpy(zero_copy_only=False).view(np.uint64)
    file.rows += rows.num_rows
    file.total = (file.total + int(hashes.sum(dtype=np.uint64))) % 2**64
    file.parity ^= int(np.bitwise_xor.reduce(hashes))
    file.is_broken = file.is_broken or any(_breaks(c, rows.column(c.name)) for c in table.columns)
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


def _breaks(contract: Column, values: pa.Array) -> bool:
    """Whether one of the values breaks what the contract says of its column."""
    if not contract.nullable and values.null_count:
        return True
    if contract.type in ("float", "double") and pc.any(pc.is_nan(values)).as_py():
        return True
    if contract.minimum is not None or contract.maximum is not None:
        span = pc.min_max(values).as_py()
        low, high = span["min"], span["max"]
        if low is not None and contract.minimum is not None and low < contract.minimum:
            return True
        if high is not None and contract.maximum is not None and high > contract.maximum:
            return True
    if contract.values is None:
        return False
    allowed = pc.is_in(values.drop_null(), value_set=pa.array(contract.values))
    return not pc.all(allowed, min_count=0).as_py()
