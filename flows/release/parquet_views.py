"""Parquet files in DuckDB, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable

import duckdb


def as_pattern(path: str) -> str:
    """A pattern that only this file matches: DuckDB takes every name for a pattern, so that the
    file of a folder `a[1]` would be looked for in `a1`."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def read_files(
    connection: duckdb.DuckDBPyConnection, paths: Iterable[str]
) -> duckdb.DuckDBPyRelation:
    """The rows of Parquet files; their folders' names hold no columns."""
    return connection.read_parquet([as_pattern(p) for p in paths], hive_partitioning=False)
