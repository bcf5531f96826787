"""DuckDB's connections, all of them: what each may open, and how many threads it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from flows.storage.location import folder_of
from flows.storage.storage import Storage

BESIDE_SPARK = 2
"""Threads of a check that runs while Spark has the cores."""


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def in_memory(threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own for one check over Parquet files, gone with it.

    Args:
        threads: None takes all of the machine's cores.
    """
    with duckdb.connect() as connection:
        if threads is not None:
            connection.execute(f"SET threads = {threads}")
        yield connection


@contextmanager
def rebuilt(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A file to be filled beside the one at `path`, which it replaces in one step at the end: who
    has the old one open keeps it."""
    storage, target, beside = Storage(str(path)), str(path), str(path.with_suffix(".part"))
    storage.make_folder(folder_of(target))
    storage.remove(beside)
    with duckdb.connect(beside) as connection:
        yield connection
        connection.execute("CHECKPOINT")
    storage.replace(beside, target)


@contextmanager
def read_only(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A file of ours, which other processes may have open as well.

    Raises:
        duckdb.Error: it is none of DuckDB's.
    """
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def lock_down(connection: duckdb.DuckDBPyConnection, readable: Sequence[str]) -> None:
    """From now on statements of others' may run: they read these files and no others, load no
    extension, and change no setting. Times are UTC."""
    listed = ", ".join(map(quoted, readable))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
