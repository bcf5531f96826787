"""Audits that any released table can be given."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.table import Column, Table
from flows.release.audit import Audited, raise_if_failed
from flows.release.table_audits import audit_contract, audit_users
from jobs.spark.schema import arrow_schema

DAY = date(2025, 1, 3)
RANKS = Table(
    "ranks",
    "What each user is shown.",
    ("user_key", "as_of", "rank"),
    "as_of",
    (
        Column("user_key", "string", "Who."),
        Column("as_of", "date", "The day."),
        Column("rank", "int", "From 1.", minimum=1),
        Column("score", "double", "A probability.", minimum=0, maximum=1),
        Column("weights", "array<float>", "Of its parts.", nullable=True, minimum=0),
        Column("surface", "string", "Where.", values=("home", "mail")),
    ),
)
GOOD = {"as_of": DAY, "rank": 1, "score": 0.5, "weights": [0.5, 1.0], "surface": "home"}


def written(path: Path, *rows: dict[str, Any]) -> list[str]:
    pq.write_table(pa.Table.from_pylist([GOOD | row for row in rows], arrow_schema(RANKS)), path)
    return [str(path)]


def results(audited: tuple[Audited, ...]) -> list[tuple[str, str, bool]]:
    return [(a.check, a.found, a.passed) for a in audited]


def test_rows_that_conform_pass(tmp_path: Path) -> None:
    files = written(
        tmp_path / "r", {"user_key": "a"}, {"user_key": "a", "rank": 2, "weights": None}
    )
    assert results(audit_contract(RANKS, files, DAY)) == [
        ("rows of ranks conform to its contract", "2 rows", True),
        ("one row of ranks per user_key, as_of, rank", "2 rows, 2 different", True),
        ("one day of ranks", "0 rows of another day", True),
    ]


def test_every_rule_that_rows_break_is_named_with_how_many(tmp_path: Path) -> None:
    files = written(
        tmp_path / "r",
        {"user_key": None, "rank": 0},
        {"user_key": "a", "score": float("nan")},
        {"user_key": "a", "score": 1.5, "surface": "shop"},
        {"user_key": "b", "weights": [0.5, -1.0], "as_of": date(2025, 1, 4)},
    )
    with pytest.raises(ContractError) as error:
        raise_if_failed(audit_contract(RANKS, files, DAY))
    assert str(error.value) == (
        "ranks fails its audit; the release before stays current:\n"
        "  rows of ranks conform to its contract: user_key is null: 1 row; "
        "rank is no number or out of range: 1 row; score is no number or out of range: 2 rows; "
        "weights is no number or out of range: 1 row; "
        "surface is not one of home, mail: 1 row\n"
        "  one row of ranks per user_key, as_of, rank: 4 rows, 3 different\n"
        "  one day of ranks: 1 row of another day"
    )


def test_known_users_have_one_row_each_and_nobody_else_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_key": ["a", "b"]}), tmp_path / "features")
    features = [str(tmp_path / "features")]
    good = written(tmp_path / "good", {"user_key": "a"}, {"user_key": "b"})
    assert results(audit_users(RANKS, good, features, DAY)) == [
        ("one row per user", "2 rows, 2 users", True),
        ("every known user, no other", "2 known, 2 there, 0 unknown", True),
        ("one day", "0 rows of another day", True),
    ]
    bad = written(tmp_path / "bad", {"user_key": "a"}, {"user_key": "a"}, {"user_key": "x"})
    assert results(audit_users(RANKS, bad, features, DAY)) == [
        ("one row per user", "3 rows, 2 users", False),
        ("every known user, no other", "2 known, 2 there, 1 unknown", False),
        ("one day", "0 rows of another day", True),
    ]


def test_tables_that_fail_are_named_one_by_one() -> None:
    audited = [
        Audited("ranks", "one day", "1 row of another day", False),
        Audited("user_scores", "one day", "0 rows of another day", True),
        Audited("loyalty", "one day", "2 rows of another day", False),
    ]
    with pytest.raises(ContractError) as error:
        raise_if_failed(audited)
    assert str(error.value) == (
        "ranks fails its audit; the release before stays current:\n"
        "  one day: 1 row of another day\n"
        "loyalty fails its audit; the release before stays current:\n"
        "  one day: 2 rows of another day"
    )
