"""The DuckDB file of views over the current release, and read-only SQL over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from contracts.column_types import COLUMN_TYPES
from contracts.counts import n_of
from contracts.errors import ContractError, UsageError
from contracts.table import Column, Table
from contracts.tables import USER_SCORES
from contracts.tile_tables import LATE_DATA
from flows.release.parquet_views import as_pattern
from flows.storage.duckdb_connections import lock_down, quoted, read_only, rebuilt
from flows.storage.parquet_files import read_schema
from flows.storage.storage import Storage

NEWEST = "newest_scores"


@dataclass(frozen=True)
class View:
    """What the file has besides the release's tables: one row per `grain`."""

    name: str
    doc: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    sql: str | None = None
    """With `{as_of}` for the newest day. None: a small table, filled when the file is made."""


RELEASE = View(
    "release",
    "The release that is current, in one row.",
    ("release_id",),
    (
        Column("release_id", "string", "Its id."),
        Column("as_of", "date", "The newest day it has scores of."),
    ),
)
RELEASE_FILES = View(
    "release_files",
    "The Parquet files of each table, for tools that read them without DuckDB.",
    ("path",),
    (
        Column("table_name", "string", "The table."),
        Column("path", "string", "Where the file is."),
    ),
)
STALE_SCORES = View(
    "stale_scores",
    "Scores that were computed without rows that landed too late for them.",
    ("user_key", "as_of", "day", "landed_on"),
    (
        USER_SCORES["user_key"],
        USER_SCORES["as_of"],
        USER_SCORES["release_id"],
        *(LATE_DATA[name] for name in ("day", "landed_on", "n_events")),
    ),
    f"""
    SELECT s.user_key, s.as_of, s.release_id, l.day, l.landed_on, l.n_events
    FROM {USER_SCORES.name} s JOIN {LATE_DATA.name} l USING (user_key)
    WHERE l.day < s.as_of AND l.landed_on >= s.as_of""",
)
LATE_LEDGER = View(
    "late_ledger",
    "What came late on each arrival day, and how many published scores would be different today.",
    ("landed_on",),
    (
        LATE_DATA["landed_on"],
        Column("n_events", "bigint", "Events that came late.", minimum=0),
        Column("n_users", "bigint", "Users whom they concern.", minimum=0),
        Column("first_day", "date", "The earliest day on which one happened."),
        Column("last_day", "date", "The latest."),
        Column("max_days_late", "int", "Days from the earliest to its landing.", minimum=1),
        Column(
            "n_scores", "bigint", "Published scores that were computed without them.", minimum=0
        ),
    ),
    f"""
    SELECT l.landed_on, sum(l.n_events)::BIGINT AS n_events,
        count(DISTINCT l.user_key) AS n_users, min(l.day) AS first_day, max(l.day) AS last_day,
        max(l.days_late) AS max_days_late, coalesce(any_value(s.n), 0) AS n_scores
    FROM {LATE_DATA.name} l LEFT JOIN (
        SELECT landed_on, count(DISTINCT (user_key, as_of)) AS n FROM stale_scores GROUP BY 1
    ) s USING (landed_on)
    GROUP BY l.landed_on""",
)
NEWEST_SCORES = View(
    NEWEST,
    f"{USER_SCORES.name} of the newest day.",
    USER_SCORES.grain,
    USER_SCORES.columns,
    f"SELECT * FROM {USER_SCORES.name} WHERE as_of = DATE '{{as_of}}'",
)
VIEWS = (RELEASE, NEWEST_SCORES, STALE_SCORES, LATE_LEDGER, RELEASE_FILES)


def build_database(
    path: Path, release_id: str, as_of: date, files: Mapping[Table, Sequence[str]]
) -> None:
    """Make the file of views beside the old one, then put it in its place in one step."""
    with rebuilt(path) as connection:
        for small in (RELEASE, RELEASE_FILES):
            columns = ", ".join(f"{c.name} {sql_type(c.type)}" for c in small.columns)
            connection.execute(f"CREATE TABLE {small.name} ({columns})")
        connection.execute("INSERT INTO release VALUES (?, ?)", [release_id, as_of])
        for table, paths in files.items():
            if paths:
                connection.executemany(
                    "INSERT INTO release_files VALUES (?, ?)", [[table.name, p] for p in paths]
                )
            connection.execute(f"CREATE VIEW {table.name} AS {select_from(table, paths)}")
            _comment(connection, "VIEW", table)
        for view in VIEWS:
            if view.sql is not None:
                connection.execute(f"CREATE VIEW {view.name} AS {view.sql.format(as_of=as_of)}")
            _comment(connection, "TABLE" if view.sql is None else "VIEW", view)


def select_from(table: Table, paths: Sequence[str]) -> str:
    """SQL for the rows of a table's files; of none, no row of the right columns.

    Files of an earlier version may lack columns: these are null there.
    """
    if not paths:
        empty = ", ".join(f"{_null(c)} AS {c.name}" for c in table.columns)
        return f"SELECT {empty} WHERE false"
    names = [set(read_schema(path).names) for path in paths]
    somewhere, everywhere = set.union(*names), set.intersection(*names)
    columns = ", ".join(
        c.name if c.name in somewhere else f"{_null(c)} AS {c.name}" for c in table.columns
    )
    listed = ", ".join(quoted(as_pattern(p)) for p in paths)
    # Looking for columns by name opens every file for every query, so only where it must be.
    same = all(name in everywhere for name in table.names if name in somewhere)
    by_name = "" if same else ", union_by_name = true"
    return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false{by_name})"


def _null(column: Column) -> str:
    return f"CAST(NULL AS {sql_type(column.type)})"


def sql_type(name: str) -> str:
    """A contract's type as DuckDB's SQL writes it."""
    column_type = COLUMN_TYPES[name]
    return f"{column_type.duckdb}[]" if column_type.is_array else column_type.duckdb


def _comment(connection: duckdb.DuckDBPyConnection, kind: str, table: Table | View) -> None:
    connection.execute(f"COMMENT ON {kind} {table.name} IS {quoted(table.doc)}")
    for column in table.columns:
        connection.execute(f"COMMENT ON COLUMN {table.name}.{column.name} IS {quoted(column.doc)}")


def first_row(
    connection: duckdb.DuckDBPyConnection, sql: str, given: Sequence[Any] = ()
) -> tuple[Any, ...]:
    """The first row, nothing if there is none. `fetchone` would leave the result open."""
    rows = connection.execute(sql, list(given)).fetchall()
    return rows[0] if rows else ()


def database_release(path: Path) -> str | None:
    """The release that the file of views shows; None if there is none that can be opened."""
    if not Storage(str(path)).exists(str(path)):
        return None
    try:
        with read_only(path) as connection:
            row = connection.execute("SELECT release_id FROM release").fetchone()
    except duckdb.Error:
        return None
    return None if row is None else row[0]


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that can read the release and nothing else.

    Raises:
        ContractError: nothing has been released yet.
    """
    if not Storage(str(path)).exists(str(path)):
        raise ContractError("nothing has been released yet: run `nightjar run` or `nightjar demo`")
    with read_only(path) as connection:
        paths = _files(connection)
        # A pattern is looked at as it is written, then the file that it led to.
        lock_down(connection, [*dict.fromkeys([*paths, *map(as_pattern, paths)])])
        yield connection


_NOT_THE_CALL = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.InternalException)
"""What DuckDB stops at that no other statement would mend."""


def query(path: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of one SELECT over the current release.

    Raises:
        UsageError: it is no single reading statement, or DuckDB refuses it.
        ContractError: nothing has been released yet, or its files cannot be read.
    """
    with reading(path) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in (
                duckdb.StatementType.SELECT,
                duckdb.StatementType.EXPLAIN,
            ):
                raise UsageError("expected one SELECT: the release is read-only")
            rows = connection.execute(statements[0])
            return [d[0] for d in rows.description or ()], rows.fetchall()
        except duckdb.Error as error:
            gone = [path for path in _files(connection) if not _is_there(path)]
            if gone and not Path(gone[0]).is_relative_to(path.parent):
                raise UsageError(
                    f"this home was made in another place than {path.parent}: its tables say that "
                    f"their files are elsewhere, such as {gone[0]}. Use it where it was; if it was "
                    f"moved for good, `nightjar adopt --home {path.parent}` says what to do"
                ) from None
            if gone:
                raise ContractError(
                    f"{n_of(len(gone), 'file of the release is', 'files of the release are')} not "
                    f"there, such as {gone[0]}: restore "
                    "them, or go back with `nightjar rollback`"
                ) from None
            if isinstance(error, _NOT_THE_CALL):
                raise ContractError(str(error).strip()) from None
            message = str(error).strip()
            if message.startswith("Catalog Error: Table with name"):
                message = f"{message.partition('!')[0]}; `nightjar tables` lists those there are"
            raise UsageError(message) from None


def _files(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT path FROM release_files").fetchall()]


def _is_there(path: str) -> bool:
    return "://" in path or Storage(path).exists(path)
