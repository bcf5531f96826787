"""Parquet files by their locations, wherever these are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from flows.storage.location import plain_path
from flows.storage.storage import file_system

Writer: TypeAlias = pq.ParquetWriter
"""A file that is being written."""


def read_metadata(location: str) -> pq.FileMetaData:
    """What the end of a file says of it: rows, columns, statistics of row groups."""
    return pq.read_metadata(plain_path(location), filesystem=file_system(location))


def read_schema(location: str) -> pa.Schema:
    """The columns of a file."""
    return pq.read_schema(plain_path(location), filesystem=file_system(location))


def read_rows(
    *locations: str, columns: Sequence[str] | None = None, filters: Any = None
) -> pa.Table:
    """The rows of files, at least one, whose folders' names hold no columns.

    Args:
        filters: As of `pyarrow.parquet.read_table`; row groups are skipped whose statistics
            exclude them.
    """
    return pq.read_table(
        [plain_path(location) for location in locations],
        columns=None if columns is None else list(columns),
        filters=filters,
        partitioning=None,
        filesystem=file_system(locations[0]),
    )


def read_batches(
    location: str, columns: Sequence[str] | None = None, n_bytes: int = 64 * 2**20
) -> Iterator[pa.Table]:
    """The rows of a file in their order, about so many bytes of it at a time, uncompressed."""
    with pq.ParquetFile(plain_path(location), filesystem=file_system(location)) as file:
        meta = file.metadata
        total = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        n_rows = max(int(meta.num_rows * n_bytes / max(total, 1)), 1)
        for batch in file.iter_batches(
            min(n_rows, max(meta.num_rows, 1)),
            columns=None if columns is None else list(columns),
        ):
            yield pa.Table.from_batches([batch])


@contextmanager
def writer(schema: pa.Schema, location: str) -> Iterator[Writer]:
    """A file that is written piece by piece, a row group each."""
    with pq.ParquetWriter(
        plain_path(location), schema, compression="zstd", filesystem=file_system(location)
    ) as parquet:
        yield parquet


def write_rows(rows: pa.Table, location: str) -> None:
    """A file of these rows."""
    pq.write_table(rows, plain_path(location), compression="zstd", filesystem=file_system(location))
