"""Parquet files by their locations, wherever these are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.storage.location import plain_path
from flows.storage.storage import file_system


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


def write_rows(rows: pa.Table, location: str) -> None:
    """A file of these rows."""
    pq.write_table(rows, plain_path(location), compression="zstd", filesystem=file_system(location))
