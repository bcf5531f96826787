"""What a release shows to whom is read from its file of views."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from contracts.errors import UsageError
from contracts.recommendation_tables import REC_ITEMS, REC_LISTS, RECOMMENDATIONS
from contracts.table import Table
from contracts.tables import RELEASED_TABLES
from flows.cli.main import app
from flows.release.diff import _table as compared_table
from flows.release.duckdb_views import build_database
from flows.release.recommended import Audience, Place, UserList, audience, user_lists, widths
from models.data.arrow_schema import arrow_schema
from models.ranking.metrics import NO_ITEM, gini

YESTERDAY, TODAY = date(2025, 2, 28), date(2025, 3, 1)
ANN, BOB = "a" * 32, "b" * 32


def rows_of(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with zeros, empty arrays and short texts for what they leave out."""
    usual: dict[str, Any] = {}
    for column in arrow_schema(table):
        if pa.types.is_list(column.type):
            usual[column.name] = []
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            usual[column.name] = 0
    nullable = {c.name: None for c in table.columns if c.nullable}
    given = {"as_of": TODAY, "surface": "products", "ranker_id": "r", "policy_id": "p",
             "release_id": "x", "sources": "together"}  # fmt: skip
    names = set(table.names)
    complete = [{**usual, **nullable, **given, **row} for row in rows]
    if table is REC_LISTS:
        complete = [{**row, "sources": []} for row in complete]
    kept = [{k: v for k, v in row.items() if k in names} for row in complete]
    return pa.Table.from_pylist(kept, arrow_schema(table))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Today two places for ann and one for bob; yesterday's list of ann is not to be seen."""
    tables = {
        REC_LISTS: [
            {"user_key": ANN, "item_ids": ["hat", "mug"], "n_candidates": 5, "n_owned": 3},
            {"user_key": BOB, "item_ids": ["hat"], "n_candidates": 1,
             "shortfall": "too few candidates"},
            {"user_key": ANN, "as_of": YESTERDAY, "item_ids": ["old"]},
        ],
        RECOMMENDATIONS: [
            {"user_key": ANN, "position": 1, "item_id": "hat", "title": "A hat", "value": 0.5,
             "p_order": 0.25, "because": "scarf",
             "because_title": "A scarf"},
            {"user_key": ANN, "position": 2, "item_id": "mug", "value": 0.25},
            {"user_key": BOB, "position": 1, "item_id": "hat", "title": "A hat", "value": 0.125},
            {"user_key": ANN, "as_of": YESTERDAY, "position": 1, "item_id": "old"},
        ],
        REC_ITEMS: [
            {"item_id": "hat", "available": True},
            {"item_id": "mug", "available": True},
            {"item_id": "pen", "available": True},
            {"item_id": "tie", "available": True},
            {"item_id": "gone", "available": False},
        ],
    }  # fmt: skip
    assert set(tables) <= set(RELEASED_TABLES)
    files: dict[Table, list[str]] = {table: [] for table in RELEASED_TABLES}
    for table, rows in tables.items():
        pq.write_table(rows_of(table, rows), tmp_path / f"{table.name}.parquet")
        files[table] = [str(tmp_path / f"{table.name}.parquet")]
    path = tmp_path / "nightjar.duckdb"
    build_database(path, "r1", TODAY, files)
    return path


def test_a_user_has_the_newest_lists_with_reasons_and_what_was_left_out(database: Path) -> None:
    places = (
        Place(1, "hat", "A hat", 0.5, {"order": 0.25}, "together", "scarf", "A scarf"),
        Place(2, "mug", None, 0.25, {}, "together", None, None),
    )
    expected = UserList("products", places, 2, 5, {"owned": 3}, None)
    assert user_lists(database, ANN) == (expected,)
    assert user_lists(database, ANN, n=1) == (replace(expected, places=places[:1]),)
    assert user_lists(database, ANN, "ads") == ()
    assert user_lists(database, "c" * 32) == ()
    (of_bob,) = user_lists(database, BOB)
    assert of_bob.shortfall == "too few candidates"


def test_what_is_popular_is_a_source_once_whatever_its_half_life() -> None:
    sources = "popular_1d,popular_30d,popular_3d_in_segment,new,popular_10d_in_segment"
    place = Place(1, "hat", None, 0.5, {}, sources, None, None)
    assert place.kinds_of_sources == ("popular", "popular_in_segment", "new")


def test_coverage_and_gini_are_of_all_that_can_be_shown(database: Path) -> None:
    """Counts 0, 0, 1, 2 of four items: Gini is 2 (3 x 1 + 4 x 2) / (4 x 3) - 5 / 4 = 7 / 12."""
    (width,) = widths(database)
    assert (width.surface, width.n_lists, width.n_short) == ("products", 2, 1)
    assert (width.n_items, width.n_shown, width.coverage) == (4, 2, 0.5)
    assert width.gini == pytest.approx(7 / 12)
    assert width.gini == pytest.approx(gini(np.array([[0, 1], [0, NO_ITEM]]), 4))  # of outcomes
    assert width.most_shown == (("hat", "A hat", 2), ("mug", None, 1))


def test_an_item_has_its_audience(database: Path) -> None:
    users = ((ANN, 1, 0.5), (BOB, 1, 0.125))
    assert audience(database, "products", "hat") == Audience(
        "products", "hat", "A hat", 2, 2, 1.0, users
    )
    with pytest.raises(UsageError, match=r"^Nobody is shown old on products\.$"):
        audience(database, "products", "old")
    with pytest.raises(
        UsageError, match=r"^shoes: no such surface, expected one of products, ads, posts, people$"
    ):
        audience(database, "shoes", "hat")


def test_the_command_prints_a_users_lists(database: Path) -> None:
    home = ["--home", str(database.parent)]
    result = CliRunner().invoke(app, ["recommend", ANN, "--format", "csv", *home])
    assert result.stdout.splitlines() == [
        "surface,position,item,title,value,probabilities,sources,because,because_title",
        "products,1,hat,A hat,0.5,order 0.25,together,scarf,A scarf",
        "products,2,mug,,0.25,,together,,",
    ]
    told = CliRunner().invoke(app, ["recommend", ANN, *home]).stdout
    assert told.splitlines()[0] == "products: 2 items of 5 candidates, 3 owned"
    assert "A scarf" in told
    nobody = CliRunner().invoke(app, ["recommend", "c" * 32, *home])
    assert str(nobody.exception) == (
        "the current release recommends nothing to that user; "
        'nightjar sql "SELECT user_key FROM rec_lists LIMIT 5" names some'
    )


def test_without_a_user_the_command_prints_how_wide_the_lists_are(database: Path) -> None:
    home = ["--home", str(database.parent)]
    result = CliRunner().invoke(app, ["recommend", "--format", "csv", *home])
    assert result.stdout.splitlines() == [
        "surface,lists,short,items,shown in the first 10,coverage,Gini",
        "products,2,1,4,2,0.5,0.583",
    ]


def test_a_release_from_before_there_were_lists_says_so_and_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "nightjar.duckdb"
    build_database(path, "r1", TODAY, {table: [] for table in RELEASED_TABLES})
    assert (user_lists(path, ANN), widths(path)) == ((), ())
    home = ["--home", str(tmp_path)]
    nobody = CliRunner().invoke(app, ["recommend", ANN, *home])
    assert str(nobody.exception).startswith("the current release recommends nothing to that user")
    assert CliRunner().invoke(app, ["recommend", *home]).exit_code == 0
    with pytest.raises(UsageError, match=r"^Nobody is shown hat on products\.$"):
        audience(path, "products", "hat")

    rows = [{"user_key": ANN, "item_ids": ["hat"]}, {"user_key": BOB, "item_ids": ["mug"]}]
    pq.write_table(rows_of(REC_LISTS, rows), tmp_path / "after.parquet")
    after = [str(tmp_path / "after.parquet")]
    assert compared_table(REC_LISTS, [], after) == ("rec_lists", 0, 2, 0, 2, 0)
    assert compared_table(REC_LISTS, after, []) == ("rec_lists", 2, 0, 2, 0, 0)
    other = [rows[0], {**rows[1], "item_ids": ["pen"]}]
    pq.write_table(rows_of(REC_LISTS, other), tmp_path / "other.parquet")
    assert compared_table(REC_LISTS, after, [str(tmp_path / "other.parquet")]) == (
        "rec_lists", 2, 2, 0, 0, 1,
    )  # fmt: skip
