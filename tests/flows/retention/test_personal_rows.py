"""What is taken out of a raw row's tables is what was found, wherever rows have moved since."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa

from contracts.table import Table
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from flows.retention.personal_rows import Blank, PersonalRows, blanking, dropping, recounting
from jobs.spark.schema import arrow_schema

DAY = date(2025, 3, 1)
PLACE = {"landed_on": DAY, "source": "app", "file": "a.csv"}
TRACES = PersonalRows(
    {("app", "a.csv", 2): Blank("erased: posts", (), "ann's"),
     ("app", "a.csv", 3): Blank("erased: posts", (), "ann's too")},
    (DAY,),
    {("posts", "app", DAY): {"clean": 3, "duplicate": 1, "erased": 1}},
    frozenset({("posts", "app", "a.csv", 2, 0), ("posts", "app", "a.csv", 3, 0)}),
)  # fmt: skip


def table(of: Table, *rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([PLACE | row for row in rows], arrow_schema(of))


def test_a_row_that_has_come_to_the_place_of_another_since_is_kept() -> None:
    """Between two tries of an erasure the file came again, with a line before the person's."""
    landed = table(
        LANDED,
        {"line": 2, "row_hash": "bob's", "fields": ["bob"]},
        {"line": 3, "row_hash": "ann's too", "fields": ["ann"]},
    )
    changed = blanking(TRACES)(landed)
    assert changed is not None
    assert [(r["line"], r["fields"], r["problem"]) for r in changed.to_pylist()] == [
        (2, ["bob"], None),
        (3, None, "erased: posts"),
    ]
    assert blanking(TRACES)(landed.slice(0, 1)) is None
    dropped = table(
        QUARANTINE,
        {"table_name": "posts", "line": 2, "element": 0, "row_hash": "bob's", "reason": "r"},
        {"table_name": "posts", "line": 3, "element": 0, "row_hash": "ann's too", "reason": "r"},
        {"table_name": "users", "line": 3, "element": 0, "row_hash": "ann's too", "reason": "r"},
    )
    left = dropping(TRACES)(dropped)
    assert left is not None
    assert [(r["table_name"], r["line"], r["row_hash"]) for r in left.to_pylist()] == [
        ("posts", 2, "bob's"),
        ("users", 3, ""),
    ]


def test_what_an_earlier_version_found_is_known_by_its_place_alone() -> None:
    old = PersonalRows({("app", "a.csv", 2): Blank("erased: posts")}, (DAY,), {})
    changed = blanking(old)(table(LANDED, {"line": 2, "row_hash": "x", "fields": ["ann"]}))
    assert changed is not None
    assert changed["problem"].to_pylist() == ["erased: posts"]


def test_rows_are_counted_as_erased_once() -> None:
    """Also where there are fewer of a verdict than were found."""
    counts = {"n_in": 9, "n_clean": 2, "n_duplicate": 4, "n_quarantined": 2, "n_erased": 1}
    row = {k: v for k, v in PLACE.items() if k != "file"} | {"table_name": "posts"} | counts
    before = pa.Table.from_pylist([row], arrow_schema(RECONCILIATION))
    after = recounting(TRACES)(before)
    assert after is not None
    (counted,) = after.to_pylist()
    assert {name: counted[name] for name in counts} == {
        "n_in": 9, "n_clean": 0, "n_duplicate": 3, "n_quarantined": 2, "n_erased": 4,
    }  # fmt: skip
    assert recounting(TRACES)(after) is None
