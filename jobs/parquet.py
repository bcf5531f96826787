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

from contracts.table import Table
from jobs.schema import arrow_schema

ROW_GROUP = 131_072
DIGEST, BROKEN = "_digest", "_broken"
"""Columns that come with the rows but are not written: a hash, and whether a rule is broken."""

REPORT = pa.schema(
    [
        ("day", pa.date32()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("total", pa.string()),
        ("parity", pa.string()),
        ("n_broken", pa.int64()),
        ("n_repeated", pa.int64()),
    ]
)
"""What comes back of each file: `total` and `parity` are the sum modulo 2**64 and the exclusive or
of its rows' hashes."""
REPORT_SQL = (
    "day date, path string, rows bigint, total string, parity string, n_broken bigint, "
    "n_repeated bigint"
)


@dataclass
class _Open:
    """A file that is being written."""

    day: date
    path: str
    writer: pq.ParquetWriter
    rows: int = 0
    total: int = 0
    parity: int = 0
    n_broken: int = 0
    n_repeated: int = 0
    last: tuple[object, ...] | None = None
    """The grain of the row before, for rows come sorted by it."""


def parquet_writer(
    table: Table, folder: str
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """A function for `mapInArrow`: rows sorted by day and grain in, `REPORT` of the files out.

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
        files: list[_Open] = []
        pending: list[pa.RecordBatch] = []

        def flush() -> None:
            if pending:
                files[-1].writer.write_table(pa.Table.from_batches(pending, schema))
                pending.clear()

        for batch in batches:
            for day, part in _runs(batch, table.day):
                if not files or files[-1].day != day:
                    flush()
                    if files:
                        files[-1].writer.close()
                    path = f"{root}/{day.isoformat()}-{task}.parquet"
                    opened = pq.ParquetWriter(path, schema, filesystem=system, compression="zstd")
                    files.append(_Open(day, prefix + path, opened))
                _account(files[-1], part, table)
                pending.append(part.select(schema.names).cast(schema))
                if sum(p.num_rows for p in pending) >= ROW_GROUP:
                    flush()
        flush()
        if files:
            files[-1].writer.close()
        yield pa.RecordBatch.from_pylist(
            [
                {
                    "day": f.day,
                    "path": f.path,
                    "rows": f.rows,
                    "total": str(f.total),
                    "parity": str(f.parity),
                    "n_broken": f.n_broken,
                    "n_repeated": f.n_repeated,
                }
                for f in files
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


def _account(file: _Open, rows: pa.RecordBatch, table: Table) -> None:
    """Add the rows to what is known of the file."""
    hashes = rows.column(DIGEST).to_numpy(zero_copy_only=False).view(np.uint64)
    file.rows += rows.num_rows
    file.total = (file.total + int(hashes.sum(dtype=np.uint64))) % 2**64
    file.parity ^= int(np.bitwise_xor.reduce(hashes))
    file.n_broken += int(pc.sum(rows.column(BROKEN)).as_py() or 0)
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
