"""Raw ids, names, mails and keys: looked for in everything that a night leaves behind."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import duckdb
import pytest

from contracts.errors import UsageError
from contracts.tables import LANDED, TABLES
from flows.lake.lake import Lake
from flows.release.duckdb_views import query

PERSONAL = {
    "raw id": r"\bu[0-9]{1,6}\b",
    "name": r"\bName [0-9]+\b",
    "mail": r"[a-z0-9.]+@example\.com",
    "mention": r"@bob\b",
}


def test_the_raw_logs_do_hold_what_is_looked_for(home: Path, first) -> None:
    """A search that cannot find anything would always pass."""
    raw = b"".join(
        gzip.decompress(p.read_bytes())
        for folder in ("users", "posts")
        for p in sorted((home.parent / "raw" / folder).glob("*.gz"))
    )
    for what, pattern in PERSONAL.items():
        assert re.search(pattern.encode(), raw), what


def test_no_table_past_clean_says_who_anybody_is(home: Path, first) -> None:
    lake = Lake(home / "lake")
    looked_at = 0
    with duckdb.connect() as connection:
        for table in TABLES:
            texts = [c.name for c in table.columns if "string" in c.type and c.name != "file"]
            paths = [f.path for f in lake.files(table)]
            if table is LANDED or not texts or not paths:
                continue
            looked_at += 1
            said = " || ' ' || ".join(f"coalesce({name}::VARCHAR, '')" for name in texts)
            for what, pattern in PERSONAL.items():
                rows = connection.execute(
                    f"SELECT {said} FROM read_parquet(?, hive_partitioning = false) "
                    f"WHERE regexp_matches({said}, ?) LIMIT 3",
                    [paths, pattern],
                ).fetchall()
                assert not rows, f"{table.name}: {what}: {rows}"
    assert looked_at > 15


def test_logs_pages_and_databases_hold_no_person_and_no_key(home: Path, first_night) -> None:
    """Prefect's database, MLflow's with its files, receipts, reports, and what runs wrote down."""
    key = os.environ["NIGHTJAR_KEY"].encode()
    patterns = [re.compile(pattern.encode()) for pattern in (PERSONAL["name"], PERSONAL["mail"])]
    n = 0
    for path in sorted([*home.rglob("*"), *first_night.prefect.rglob("*")]):
        if not path.is_file() or path.suffix in (".parquet", ".avro", ".png"):
            continue
        if (home / "lake/files") in path.parents:
            continue
        n += 1
        content = path.read_bytes()
        assert key not in content, path
        for pattern in patterns:
            assert not pattern.search(content), path
    assert n > 30


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM glob('/**')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "COPY (SELECT 1) TO '/tmp/stolen'",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "SELECT getenv('NIGHTJAR_KEY')",
        "CREATE TABLE mine AS SELECT 1",
        "SELECT 1; SELECT 2",
    ],
)
def test_sql_reaches_nothing_but_the_release(home: Path, first, statement: str) -> None:
    refused = "expected one SELECT|Permission Error: Cannot access file|Catalog Error: "
    with pytest.raises(UsageError, match=f"^({refused})"):
        query(home / "nightjar.duckdb", statement)
    assert not Path("/tmp/stolen").exists()


def test_sql_cannot_read_the_raw_rows_or_another_table_of_the_lake(home: Path, first) -> None:
    path = Lake(home / "lake").files(LANDED)[0].path
    with pytest.raises(UsageError, match="disabled|not allowed|Permission"):
        query(home / "nightjar.duckdb", f"SELECT * FROM read_parquet('{path}')")
