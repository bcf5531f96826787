"""Histories as arrays, from files that hold users in any way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS
from models.data.arrow_schema import arrow_schema
from models.retrieval import user_rows
from models.retrieval.histories import Histories, read_histories, read_items, to_histories
from models.retrieval.user_rows import UserRows
from tests.models.ranking.hand_made_tables import (
    DAY,
    history,
    item,
    write,
    write_histories,
    write_items,
)

IDS = pa.array(["a", "b", "c"])


def test_entries_are_indices_of_items_and_keep_their_numbers() -> None:
    rows = pa.Table.from_pylist(
        [
            history("ann", {"a": {"signals": 5}, "c": {"signals": 7, "owned": 0}}, country="NL"),
            history("bob"),
            history("cid", {"b": {"signals": 9}, "gone": {"signals": 1}}),
        ],
        arrow_schema(REC_HISTORIES),
    )
    histories = to_histories(rows, IDS)
    assert len(histories) == 3
    assert histories.users["country"].to_pylist() == ["NL", None, None]
    assert histories.starts.tolist() == [0, 2, 2, 3]
    assert histories.items.tolist() == [0, 2, 1]  # `gone` is no item of the surface
    assert histories.rows.tolist() == [0, 0, 2]
    assert histories.entries["signals"].tolist() == [5, 7, 9]
    assert histories.entries["owned"].tolist() == [1, 0, 1]


def test_items_are_in_order_whatever_file_holds_them(tmp_path: Path) -> None:
    first = write_items(tmp_path / "1", [item("c"), item("a", surface="ads")])
    second = write_items(tmp_path / "2", [item("b"), item("a", as_of=DAY - timedelta(days=1))])
    for files in ([first, second], [second, first]):
        rows = read_items(files, "products", DAY, ["available"])
        assert rows.to_pydict() == {"item_id": ["b", "c"], "available": [True, True]}
    assert read_items([], "products", DAY).schema.names[0] == "item_id"


@pytest.mark.parametrize("n", [1, 7, 1000])
@pytest.mark.parametrize("n_files", [1, 3])
def test_users_come_in_the_same_order_whatever_file_and_batch_they_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, n_files: int
) -> None:
    monkeypatch.setattr(user_rows, "BATCH_ROWS", 5)
    rng = np.random.default_rng(0)
    rows = [
        history(f"u{k:03d}", [i for i in "abc" if rng.random() < 0.5], fold=fold, surface=surface)
        for k in range(50)
        for fold in (0, 1)
        for surface in ("ads", "posts", "products")
    ]
    of_file = rng.integers(n_files, size=len(rows))
    files = [
        write_histories(
            tmp_path / str(f), [r for r, o in zip(rows, of_file, strict=True) if o == f], 11
        )
        for f in range(n_files)
    ]
    for fold in (0, 1):
        expected = [r for r in rows if (r["surface"], r["fold"]) == ("posts", fold)]
        batches = list(read_histories(files[::-1], "posts", DAY, IDS, fold, ["signals"], n=n))
        users = [u for b in batches for u in b.users["user_key"].to_pylist()]
        assert users == [r["user_key"] for r in expected]
        lists = [own for batch in batches for own in _item_lists(batch)]
        assert lists == [[ord(i) - ord("a") for i in r["item_ids"]] for r in expected]
        assert n == 1000 or max(len(batch) for batch in batches) <= n


def test_a_second_table_is_read_up_to_the_same_user(tmp_path: Path) -> None:
    rows = [history(user, ["a"], fold=fold) for user in ("ann", "bob", "cid") for fold in (1, 0)]
    path = write_histories(tmp_path / "1", rows)
    stream = UserRows(REC_HISTORIES, [path], "products", DAY, ["fold"])
    assert stream.up_to("aaa").num_rows == 0
    assert stream.up_to("bob").to_pydict() == {
        "user_key": ["ann", "ann", "bob", "bob"],
        "fold": [0, 1, 0, 1],
    }
    assert stream.next(1)["user_key"].to_pylist() == ["cid", "cid"]  # users stay whole
    assert stream.next(1).num_rows == 0


def test_files_that_are_not_sorted_by_user_are_refused(tmp_path: Path) -> None:
    rows = [history("bob"), history("ann")]
    path = str(tmp_path / "1")
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(REC_HISTORIES)), path)
    with pytest.raises(ContractError) as error:
        UserRows(REC_HISTORIES, [path], "products", DAY).next(10)
    assert str(error.value) == f"{path}: expected rows sorted by user_key, found them unsorted"


def test_row_groups_of_other_surfaces_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "1", REC_ITEMS, [item("a"), item("b", surface="ads")], 1)
    file = pq.ParquetFile(path)
    for surface, expected in (("products", [False, True]), ("ads", [True, False])):
        held = [user_rows._may_hold(file, i, "surface", surface, surface) for i in range(2)]
        assert held == expected


def _item_lists(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.items, histories.starts[1:-1])]


def test_a_range_of_users_has_the_first_and_stops_before_the_last(tmp_path: Path) -> None:
    rows = [history(user) for user in ("ann", "bob", "cat", "dan")]
    path = write_histories(tmp_path / "1", rows, 1)
    stream = UserRows(REC_HISTORIES, [path], "products", DAY, users=("bob", "dan"))
    assert stream.next(10)["user_key"].to_pylist() == ["bob", "cat"]
