"""Lists become rows, one per place."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.recommendation_tables import REC_ITEMS, RECOMMENDATIONS
from contracts.specs import TableDay
from contracts.surfaces import SURFACES
from models.data.arrow_schema import arrow_schema
from models.ranking.lists import list_rows
from models.ranking.recommendations import BATCH_LISTS, recommendations
from models.released_table import write_day
from tests.models.ranking.blocks import block_of, items_of

DAY = date(2025, 3, 1)
PRODUCTS, PEOPLE = SURFACES[0], SURFACES[3]


def rec_items(rows: list[dict[str, Any]]) -> pa.Table:
    columns = arrow_schema(REC_ITEMS)
    zeros = dict.fromkeys((f.name for f in columns if pa.types.is_integer(f.type)), 0)
    usual = {**zeros, "as_of": DAY, "available": True}
    return pa.Table.from_pylist([{**usual, **row} for row in rows], columns)


@pytest.fixture
def day(tmp_path: Path) -> TableDay:
    """Lists of two products to ann and none to bob, and of bob to ann, without probabilities."""
    products = items_of([{"item_id": "a"}, {"item_id": "b"}])
    block = block_of(
        products,
        {"ann": [{"item": "a", "value": 0.5}, {"item": "b", "value": 0.75, "because": "a"}],
         "bob": []},
        probabilities={"order": np.array([0.25, 0.5], np.float32)},
    )  # fmt: skip
    people = items_of([{"item_id": "bob"}])
    of_people = block_of(people, {"ann": [{"item": "bob", "value": 0.125}]})
    lists = pa.concat_tables(
        [
            list_rows(replace(PRODUCTS, n_items=2), DAY, products, block, "r1", "old"),
            list_rows(PEOPLE, DAY, people, of_people, "source:popular_1d", "old"),
        ]
    )
    pq.write_table(lists, tmp_path / "lists.parquet")
    items = rec_items(
        [
            {"surface": "products", "item_id": "a", "title": None},
            {"surface": "products", "item_id": "b", "title": "Better"},
            {"surface": "ads", "item_id": "bob", "title": "No person"},
        ]
    )
    pq.write_table(items, tmp_path / "items.parquet")
    files = {"rec_lists": (str(tmp_path / "lists.parquet"),),
             "rec_items": (str(tmp_path / "items.parquet"),)}  # fmt: skip
    return TableDay(DAY, files, "rel1", str(tmp_path / "rows/part.parquet"))


def test_each_place_is_a_row_with_its_title(day: TableDay) -> None:
    assert write_day(RECOMMENDATIONS, day, recommendations) == 3
    names = ("surface", "user_key", "position", "item_id", "title", "value", "p_order",
             "p_follow", "sources", "because", "propensity", "ranker_id", "release_id")  # fmt: skip
    assert [tuple(row.values()) for row in pq.read_table(day.path).select(names).to_pylist()] == [
        ("products", "ann", 1, "b", "Better", 0.75, 0.5, None, "popular_1d", "a", 1.0, "r1",
         "rel1"),
        ("products", "ann", 2, "a", None, 0.5, 0.25, None, "popular_1d", None, 1.0, "r1", "rel1"),
        ("people", "ann", 1, "bob", None, 0.125, None, None, "popular_1d", None, 1.0, "source:popular_1d",
         "rel1"),
    ]  # fmt: skip


def test_a_row_group_holds_the_rows_of_few_users(tmp_path: Path, day: TableDay) -> None:
    items = items_of([{"item_id": "a"}])
    users = {f"u{i:05}": [{"item": "a"}] for i in range(2 * BATCH_LISTS + 1)}
    lists = list_rows(PRODUCTS, DAY, items, block_of(items, users), "r1", "old")
    pq.write_table(lists, tmp_path / "lists.parquet")
    write_day(RECOMMENDATIONS, day, recommendations)
    written = pq.ParquetFile(day.path)
    groups = [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)]
    assert groups == [BATCH_LISTS, BATCH_LISTS, 1]


def test_users_without_anything_to_show_leave_no_empty_row_group(
    tmp_path: Path, day: TableDay
) -> None:
    """Iceberg takes a day from the statistics of row groups, and one without rows has none."""
    items = items_of([{"item_id": "a"}])
    users = {f"u{i:05}": [] for i in range(BATCH_LISTS)} | {"v": [{"item": "a"}]}
    lists = list_rows(PRODUCTS, DAY, items, block_of(items, users), "r1", "old")
    pq.write_table(lists, tmp_path / "lists.parquet")
    assert write_day(RECOMMENDATIONS, day, recommendations) == 1
    written = pq.ParquetFile(day.path)
    assert [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)] == [1]
