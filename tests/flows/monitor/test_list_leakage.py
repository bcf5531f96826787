"""Worlds that differ only later are compared row by row."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_LISTS, REC_POPULAR
from contracts.table import Table
from flows.monitor.list_leakage import COMPARED, FilesByTable, compare_worlds
from jobs.spark.schema import arrow_schema

CUT = date(2025, 3, 1)


def listed(*items: str) -> dict[str, Any]:
    """A row of `rec_lists`; what is not asked about is empty."""
    row: dict[str, Any] = {
        column.name: [] if column.column_type.is_array else None for column in REC_LISTS.columns
    }
    return row | {"as_of": CUT, "surface": "products", "user_key": "ann", "item_ids": [*items]}


def popular(*items: str) -> dict[str, Any]:
    return {
        "as_of": CUT, "surface": "posts", "segment": "all", "source": "popular_1d",
        "item_ids": [*items], "scores": [1.0] * len(items),
    }  # fmt: skip


def files_of(folder: Path, lists: list[dict[str, Any]], posts: dict[str, Any]) -> FilesByTable:
    """Files of a world; of the other tables there are none."""
    folder.mkdir()
    files: FilesByTable = {table.name: () for table in COMPARED}

    def write(table: Table, rows: list[dict[str, Any]]) -> None:
        path = folder / f"{table.name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(table)), path)
        files[table.name] = (str(path),)

    write(REC_LISTS, lists)
    write(REC_POPULAR, [posts])
    return files


def test_equal_worlds_have_no_problem_whatever_the_order_of_rows(tmp_path: Path) -> None:
    rows = [listed("i1", "i2"), listed("i3")]
    known = files_of(tmp_path / "a", rows, popular("p1"))
    planted = files_of(tmp_path / "b", rows[::-1], popular("p1"))
    compared = compare_worlds(known, planted, CUT)
    assert compared.problems == []
    assert (compared.n_rows, compared.n_listed) == (3, {"products": 3})
    compared.check()


def test_what_only_exists_later_and_what_has_moved_is_named(tmp_path: Path) -> None:
    known = files_of(tmp_path / "a", [listed("i1", "i2")], popular("p1"))
    planted = files_of(tmp_path / "b", [listed("i1", "later-i2")], popular("p1", "p2"))
    with pytest.raises(ContractError) as error:
        compare_worlds(known, planted, CUT).check()
    assert str(error.value) == (
        "the future leaks into recommendations as of 2025-03-01:\n"
        "  rec_lists of products: 1 row with what only exists later\n"
        "  rec_popular of posts: 2 rows that are there only without later rows, or only with them\n"
        "  rec_lists of products: 2 rows that are there only without later rows, or only with them"
    )
