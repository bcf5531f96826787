"""What is left of rows that name people who are erased, by what their columns declare."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.erasure import OF_TARGETS
from contracts.recommendation_tables import (
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    RECOMMENDATIONS,
)
from contracts.surfaces import ERASED_FROM_LIST
from contracts.table import Table
from contracts.tables import TABLES
from flows.lake.named_people import arrays_of, holding, may_tell, without
from jobs.spark.schema import arrow_schema

KEY, POST = "0123456789abcdef" * 2, "a" * 32
Row = dict[str, Any]


def rows_of(table: Table, *rows: Row) -> pa.Table:
    """Rows of which what they do not say is zero, empty or null."""
    of_type: Row = {"string": "", "boolean": True, "date": date(2025, 1, 3)}
    usual = {
        c.name: None if c.nullable else [] if c.column_type.is_array else of_type.get(c.type, 0)
        for c in table.columns
    }
    return pa.Table.from_pylist([{**usual, **row} for row in rows], arrow_schema(table))


def left_of(table: Table, names: tuple[str, ...], *rows: Row) -> list[Row] | None:
    """These columns of what is left without the person and a post of theirs."""
    left = without(table, {KEY, POST})(rows_of(table, *rows))
    return None if left is None else left.select(names).to_pylist()


def test_a_list_loses_the_person_and_says_so_and_others_keep_theirs() -> None:
    names = ("user_key", "item_ids", "values", "p_order", "p_follow", "because", "shortfall")
    ann: Row = {
        "user_key": "ann",
        "item_ids": ["bob", KEY, "cat", POST],
        "values": [4.0, 3.0, 2.0, 1.0],
        "p_follow": [0.5, 0.25, 0.125, 0.0],
        "because": ["dan", "dan", KEY, ""],
    }
    none: Row = {"user_key": "none", "shortfall": "no candidates"}
    because: Row = {"user_key": "why", "item_ids": ["bob"], "values": [1.0], "because": [KEY]}
    person: Row = {"user_key": KEY, "item_ids": ["bob"], "values": [1.0], "because": [""]}
    assert left_of(REC_LISTS, names, ann, none, because, person) == [
        {"user_key": "ann", "item_ids": ["bob", "cat"], "values": [4.0, 2.0], "p_order": [],
         "p_follow": [0.5, 0.125], "because": ["dan", ""], "shortfall": ERASED_FROM_LIST},
        {"user_key": "none", "item_ids": [], "values": [], "p_order": [], "p_follow": [],
         "because": [], "shortfall": "no candidates"},
        {"user_key": "why", "item_ids": ["bob"], "values": [1.0], "p_order": [], "p_follow": [],
         "because": [""], "shortfall": None},
    ]  # fmt: skip
    assert left_of(REC_LISTS, names, none) is None


def test_rows_about_the_person_go_and_who_is_explained_by_them_stays() -> None:
    names = ("user_key", "position", "item_id", "because")
    shown: Row = {"user_key": "ann", "because": "dan"}
    assert left_of(
        RECOMMENDATIONS,
        names,
        {**shown, "position": 1, "item_id": KEY},
        {**shown, "position": 2, "item_id": "bob"},
        {**shown, "position": 3, "item_id": "cat", "because": KEY},
        {**shown, "position": 4, "item_id": POST},
    ) == [
        {"user_key": "ann", "position": 2, "item_id": "bob", "because": "dan"},
        {"user_key": "ann", "position": 3, "item_id": "cat", "because": None},
    ]


def test_a_post_goes_with_its_author() -> None:
    kept: Row = {"item_id": "other", "author_key": "bob"}
    theirs: Row = {"item_id": "theirs", "author_key": KEY}
    assert left_of(REC_ITEMS, ("item_id",), theirs, kept) == [{"item_id": "other"}]


@pytest.mark.parametrize("table", [t for t in OF_TARGETS if arrays_of(t)], ids=lambda t: t.name)
def test_what_is_left_is_what_the_definition_leaves(table: Table) -> None:
    random = np.random.default_rng(7)
    kinds: dict[str, Any] = {"string": lambda: str(random.choice(["a", "b", "c", KEY]))}
    kinds |= dict.fromkeys(("int", "bigint"), lambda: int(random.integers(9)))
    kinds |= {"float": lambda: float(random.integers(9))}
    rows: list[Row] = []
    for i in range(200):
        n = int(random.integers(4))
        row: Row = {"user_key": f"u{i % 9}" if i % 9 else KEY} if "user_key" in table.names else {}
        for c in table.columns:
            if c.column_type.is_array:
                length = n if c.beside is None or random.random() < 0.7 else 0
                row[c.name] = [kinds[c.type[6:-1]]() for _ in range(length)]
        rows.append(row)
    expected: list[Row] = []
    for row in rows_of(table, *rows).to_pylist():
        if row.get("user_key") == KEY:
            continue
        at = [i for i, item in enumerate(row["item_ids"]) if item != KEY]
        if len(at) < len(row["item_ids"]):
            for c in table.columns:
                if c.name == "item_ids" or c.beside == "item_ids":
                    row[c.name] = [row[c.name][i] for i in at] if row[c.name] else []
                row[c.name] = c.if_erased or row[c.name]
        if "because" in row:
            row["because"] = ["" if x == KEY else x for x in row["because"]]
        expected.append(row)
    left = without(table, {KEY})(rows_of(table, *rows))
    assert left is not None
    assert left.to_pylist() == expected
    assert left.schema == arrow_schema(table)
    assert without(table, {KEY})(left) is None


def test_a_file_that_names_the_person_in_an_array_alone_is_found(tmp_path: Path) -> None:
    file = str(tmp_path / "candidates.parquet")
    pq.write_table(rows_of(REC_CANDIDATES, {"user_key": "ann", "because": ["x", KEY]}), file)
    assert not holding({KEY}, file)
    assert holding({KEY}, file, arrays_of(REC_CANDIDATES))
    assert may_tell({KEY}, file)
    assert not may_tell({POST}, file)


def test_arrays_beside_items_are_declared_as_such() -> None:
    """An array of a table of targets that is not would keep its element when others lose theirs."""
    for table in OF_TARGETS:
        arrays = {c.name for c in table.columns if c.column_type.is_array}
        declared = {c.name for c in table.columns if c.beside == "item_ids"} | {"item_ids"}
        assert arrays <= declared, table.name
    assert REC_HISTORIES["item_ids"].erased == "element"
    assert arrays_of(*TABLES) == ("item_ids", "because")
