"""The file of views that analysts open: all that is in it is listed and says what it means, and
SQL reads it and nothing else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from contracts.errors import UsageError
from contracts.tables import RELEASED_TABLES, USER_SCORES
from flows.cli import render
from flows.release.duckdb_views import VIEWS, View, build_database, query, sql_type


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file of a release without rows."""
    path = tmp_path / "nightjar.duckdb"
    build_database(path, "20250103-abc", date(2025, 1, 3), dict.fromkeys(RELEASED_TABLES, ()))
    return path


def listed(database: Path) -> list[str]:
    out = Console(width=200, record=True, highlight=False)
    render.tables(out, database)
    return [line.rstrip() for line in out.export_text().splitlines()]


def test_every_table_and_view_of_the_file_is_listed(database: Path) -> None:
    lines = listed(database)
    assert lines[0] == "release 20250103-abc, newest day 2025-01-03"
    with duckdb.connect(str(database), read_only=True) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables ORDER BY 1"
        ).fetchall()
    assert sorted(line.split()[0] for line in lines[2:]) == [name for (name,) in names]
    assert [line.split(None, 2) for line in lines if line.startswith("release ")][1] == [
        "release",
        "1",
        "The release that is current, in one row.",
    ]


def test_every_column_of_the_file_says_what_it_means(database: Path) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        silent = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() "
            "WHERE NOT internal AND comment IS NULL"
        ).fetchall()
        unsaid = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE comment IS NULL "
            "UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL"
        ).fetchall()
    assert (silent, unsaid) == ([], [])


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_a_view_has_the_columns_it_says_it_has(database: Path, view: View) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        described = connection.execute(f"DESCRIBE {view.name}").fetchall()
    plain = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    assert [(row[0], plain.get(row[1], row[1])) for row in described] == [
        (column.name, sql_type(column.type)) for column in view.columns
    ]


def test_a_view_is_described_as_a_table_is() -> None:
    out = Console(width=100, record=True, highlight=False)
    render.describe(out, "release")
    assert [line.rstrip() for line in out.export_text().splitlines()] == [
        "release: The release that is current, in one row.",
        "one row per release_id",
        "column      type    null  what it says",
        "release_id  string        Its id.",
        "as_of       date          The newest day it has scores of.",
    ]


TWO_OR_CHANGING = (
    "CREATE TABLE t (i INT)",
    "DROP VIEW user_scores",
    "COPY (SELECT 1) TO 'x.csv'",
    "SELECT 1; SELECT 2",
    "ATTACH 'x.db'",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "PRAGMA database_list",
    "",
)
ONE_SELECT = "expected one SELECT: the release is read-only"
BEYOND_THE_RELEASE = {
    "SELECT * FROM read_csv('/etc/hostname')": 'Permission Error: Cannot access file "/etc/hostname"',
    "SELECT * FROM read_text('/etc/hostname')": 'Permission Error: Cannot access file "/etc/hostname"',
    "SELECT * FROM glob('/*')": 'Permission Error: Cannot access file "/*"',
    "SELECT * FROM no_such_table": "Catalog Error: Table with name no_such_table does not exist; "
    "`nightjar tables` lists those there are",
    "SELEC 1": 'Parser Error: syntax error at or near "SELEC"',
}
"""What reads something else, or nothing, and how its message begins."""


@pytest.mark.parametrize("statement", TWO_OR_CHANGING)
def test_sql_is_one_statement_that_changes_nothing(database: Path, statement: str) -> None:
    with pytest.raises(UsageError) as error:
        query(database, statement)
    assert str(error.value) == ONE_SELECT


@pytest.mark.parametrize(("statement", "begins"), BEYOND_THE_RELEASE.items())
def test_sql_reads_the_release_alone(database: Path, statement: str, begins: str) -> None:
    with pytest.raises(UsageError) as error:
        query(database, statement)
    assert str(error.value).startswith(begins)


def test_every_published_table_is_a_view_with_its_docs(database: Path) -> None:
    for table in RELEASED_TABLES:
        names, _ = query(database, f"SELECT * FROM {table.name}")
        assert tuple(names) == table.names
    comments = dict(
        query(
            database,
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'user_scores'",
        )[1]
    )
    assert comments["score_churn_28d"] == USER_SCORES["score_churn_28d"].doc
