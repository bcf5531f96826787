"""DuckDB's connections open what they may, and nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.storage.duckdb_connections import in_memory, lock_down, read_only, rebuilt


def test_a_file_replaces_another_whole_and_its_readers_keep_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "views.duckdb"
    for n in (1, 2):
        with rebuilt(path) as connection:
            connection.execute(f"CREATE TABLE t AS SELECT {n} AS n")
    assert [p.name for p in path.parent.iterdir()] == ["views.duckdb"]
    with read_only(path) as old:
        with rebuilt(path) as connection:
            connection.execute("CREATE TABLE t AS SELECT 3 AS n")
        assert old.execute("SELECT n FROM t").fetchall() == [(2,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only mode"):
            old.execute("CREATE TABLE u AS SELECT 1")


def test_a_file_that_cannot_be_filled_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "views.duckdb"
    with rebuilt(path) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    with pytest.raises(duckdb.CatalogException), rebuilt(path) as connection:
        connection.execute("SELECT * FROM absent")
    with read_only(path) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_a_locked_connection_reads_the_files_it_is_told_of(tmp_path: Path) -> None:
    mine, other = (str(tmp_path / f"{name} o'file.parquet") for name in ("my", "another"))
    for path in (mine, other):
        pq.write_table(pa.table({"n": [1]}), path)
    with in_memory() as connection:
        lock_down(connection, [mine])
        read = "SELECT n FROM read_parquet(?)"
        assert connection.execute(read, [mine]).fetchall() == [(1,)]
        for statement in (
            f"SELECT n FROM read_parquet('{other}')".replace("o'f", "o''f"),
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(duckdb.PermissionException):
                connection.execute(statement)
        with pytest.raises(duckdb.InvalidInputException, match="locked"):
            connection.execute("SET enable_external_access = true")


def test_a_check_beside_spark_leaves_it_the_cores() -> None:
    with in_memory(2) as connection:
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(2,)]
