"""Released lists beside what then happened, compared with the same by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.recommendation_tables import (
    INTERACTIONS,
    RANKER_EVENTS,
    REC_LISTS,
    REC_OUTCOMES,
)
from contracts.specs import RecOutcomesDay, RecOutcomesSpec
from contracts.surfaces import FILTERS, SURFACES, Surface
from models.data.arrow_schema import arrow_schema
from models.ranking.exploration import text_hashes, with_exploration
from models.ranking.outcomes import compare_days
from tests.models.ranking.hand_made_tables import (
    DAY,
    EPOCH_DAY,
    history,
    item,
    write,
    write_histories,
    write_items,
)

PRODUCTS = next(surface for surface in SURFACES if surface.name == "products")
DCG2 = 1 + 1 / log2(3)


def listed(user_key: str, items: str, propensities: Sequence[float] = ()) -> dict[str, Any]:
    """A row of `rec_lists`; items are letters."""
    return {
        "as_of": DAY, "surface": "products", "user_key": user_key, "item_ids": list(items),
        "values": [1.0] * len(items), "sources": [""] * len(items), "because": [""] * len(items),
        "propensities": list(propensities or [1.0] * len(items)), "n_candidates": len(items),
        "n_capped": 0, "shortfall": None, "ranker_id": "r", "policy_id": "p", "release_id": "l",
        **{f"p_{event}": [] for event in RANKER_EVENTS}, **{f"n_{name}": 0 for name in FILTERS},
    }  # fmt: skip


def done(user_key: str, item_id: str, days: int = 0, event: str = "order") -> dict[str, Any]:
    """A row of `interactions`, so many days after the day."""
    day = DAY + timedelta(days=days)
    measures = {"n": 1, "units": 1, "amount_minor": 1, "sum_stars": 0, "sum_positions": 0}
    return {
        "user_key": user_key, "target_kind": "item", "target_id": item_id, "event": event,
        "day": day, "landed_on": day, **measures,
    }  # fmt: skip


ITEMS = [
    item("a", popularity_10d=900, n_users=4),
    item("b", popularity_10d=800, n_users=2),
    item("c", popularity_10d=700, n_users=1, first_day=EPOCH_DAY - 30),
    item("d", popularity_10d=1000, available=False),
    item("e", first_day=EPOCH_DAY - 31),
]
HISTORIES = [
    history("ann", ["a"]),
    history("bob", {"a": {"owned": 0, "n_days": 0}, "c": {"owned": 0, "n_days": 2}}),
    history("cat"),
    history("dan", ["b"]),
    history("ann", ["a", "b"], fold=1),
]
LISTS = [listed("ann", "cbe"), listed("bob", "aec"), listed("cat", "b")]
HAPPENED = [
    done("ann", "a"),  # had it already
    done("ann", "b", 3),
    done("ann", "b", 29),  # once more
    done("ann", "e", 29),
    done("ann", "c", 30),  # too late
    done("ann", "c", 2, "view"),  # not a goal
    done("ann", "z"),  # not known as of the day
    done("bob", "c", 1, "review"),
    done("eve", "a"),  # a user who was not known
]


def compared(
    folder: Path,
    surface: Surface = PRODUCTS,
    lists: Sequence[Mapping[str, Any]] = LISTS,
    happened: Sequence[Mapping[str, Any]] = HAPPENED,
    histories: Sequence[Mapping[str, Any]] = HISTORIES,
    seen: Mapping[str, tuple[int, int]] | None = None,
) -> list[dict[str, Any]]:
    seen = seen or {}
    features = pa.table(
        {
            "user_key": pa.array(list(seen), pa.string()),
            "as_of": pa.array([DAY] * len(seen), pa.date32()),
            "days_since_first_seen": pa.array([first for first, _ in seen.values()], pa.int64()),
            "days_since_last_seen": pa.array([last for _, last in seen.values()], pa.int64()),
        }
    )
    pq.write_table(features, folder / "features.parquet")
    day = RecOutcomesDay(
        DAY,
        lists=(write(folder / "lists.parquet", REC_LISTS, lists),),
        items=(write_items(folder / "items.parquet", ITEMS),),
        histories=(write_histories(folder / "histories.parquet", histories),),
        user_features=(str(folder / "features.parquet"),),
        interactions=(write(folder / "interactions.parquet", INTERACTIONS, happened),),
        surfaces=("products",),
    )
    (rows,) = compare_days(RecOutcomesSpec((surface,), (day,)))["days"]
    return rows


def test_lists_are_compared_with_new_items_of_the_window_beside_popular_and_own(
    tmp_path: Path,
) -> None:
    published, popular, own = compared(tmp_path)
    # relevant: b and e to ann, c to bob; the others have nothing relevant
    ann = (1 / log2(3) + 1 / log2(4)) / DCG2
    assert published == {
        "as_of": "2025-06-01", "surface": "products", "segment": "all", "method": "published",
        "ranker_id": "r", "release_id": "l", "n_users": 2,
        "ndcg10": pytest.approx((ann + 1 / log2(4)) / 2), "low": pytest.approx(1 / log2(4)),
        "high": pytest.approx(ann), "gain": None, "gain_low": None, "gain_high": None,
        "recall20": 1.0, "hit10": 1.0, "coverage10": 1.0,
        # of all users, a: 1, b: 2, c: 2, e: 2 of 4 that can be shown:
        # (-3*1 -1*2 +1*2 +3*2) / (4 * 7)
        "gini10": pytest.approx(3 / 28),
        # 4 users are known: a had by all, b by half, c and e by one; dan has no list
        "novelty10": pytest.approx(((2 + 1 + 2) / 3 + (0 + 2 + 2) / 3 + 1) / 3),
        "share_new10": pytest.approx((1 / 3 + 1 / 3 + 0) / 3),
        # c was viewed by ann, b and e ordered; c reviewed by bob
        "ips_value10": pytest.approx((0.01 + 1 + 1 + 0.5) / 7),
    }  # fmt: skip
    # without what ann has, and what may not be shown: b c e; a b c e
    ann, bob = (1 + 1 / log2(4)) / DCG2, 1 / log2(4)
    assert popular["ndcg10"] == pytest.approx((ann + bob) / 2)
    gain = published["ndcg10"] - popular["ndcg10"]
    assert popular["gain"] == pytest.approx(gain)
    assert popular["gain_low"] == pytest.approx(2 * gain)
    assert popular["gain_high"] == pytest.approx(0)
    # ann has nothing but what she owns; bob did most with c
    assert own["ndcg10"] == pytest.approx((0 + 1) / 2)
    assert own["novelty10"] == pytest.approx((2 + 0) / 2)
    assert (own["coverage10"], own["gini10"]) == (2 / 4, 0.5)
    # at the same place: e to ann, and a and c to bob; of bob's own, c and a, neither
    assert popular["ips_value10"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert own["ips_value10"] is None


def test_with_repeats_what_a_user_had_is_relevant_and_may_be_shown(tmp_path: Path) -> None:
    published, popular, own = compared(tmp_path, replace(PRODUCTS, repeats=True))
    ideal = DCG2 + 1 / log2(4)
    # relevant: a, b and e to ann
    assert published["ndcg10"] * 2 == pytest.approx((1 / log2(3) + 0.5) / ideal + 0.5)
    assert popular["ndcg10"] * 2 == pytest.approx((1 + 1 / log2(3) + 1 / log2(5)) / ideal + 0.5)
    assert own["ndcg10"] * 2 == pytest.approx(1 / ideal + 1)


def test_items_shown_by_chance_count_by_the_inverse_of_their_propensity(tmp_path: Path) -> None:
    lists = [listed("ann", "bc", [0.1, 1.0]), listed("bob", "ae", [0.5, 0.5])]
    published, popular, own = compared(tmp_path, lists=lists)
    # ann ordered b and viewed c; what was shown is its own method
    assert published["ips_value10"] == pytest.approx((1 + 0.01) / 4)
    # popular has b and c at these places for ann, and a for bob: 10, 1 and 2
    assert popular["ips_value10"] == pytest.approx((10 * 1 + 1 * 0.01 + 2 * 0) / 13)
    assert own["ips_value10"] is None
    unlogged = [listed("ann", "bc", [0.0, 0.0])]
    assert [row["ips_value10"] for row in compared(tmp_path, lists=unlogged)] == [None] * 3


def test_what_another_order_would_have_been_worth_is_estimated_without_bias(
    tmp_path: Path,
) -> None:
    """Shown are e, c, b, a in this order, half of the three places by chance; a and b are
    ordered where they are seen first and reviewed where they are seen below, c and e never."""
    ranked, n_users, k = "ecba", 4000, 3
    users = [f"u{n:04}" for n in range(n_users)]
    hashes = np.tile(text_hashes(pa.array(list(ranked))), (n_users, 1))
    explored = with_exploration(
        text_hashes(pa.array(users)), hashes, np.full(n_users, len(ranked)), k, 0.5, np.uint64(7)
    )
    shown = [[ranked[column] for column in row] for row in explored.columns]
    worth = {("a", 1): ("order", 1.0), ("b", 1): ("order", 1.0)}
    worth |= {(item, place): ("review", 0.5) for item in "ab" for place in (2, 3)}
    published, popular, *_ = compared(
        tmp_path,
        lists=[
            listed(user, "".join(items), propensities.tolist())
            for user, items, propensities in zip(users, shown, explored.propensities, strict=True)
        ],
        happened=[
            done(user, item, event=worth[item, place][0])
            for user, items in zip(users, shown, strict=True)
            for place, item in enumerate(items, start=1)
            if (item, place) in worth
        ],
        histories=[history(user) for user in users],
    )
    # popular has a first, b second, c third
    assert popular["ips_value10"] == pytest.approx((1.0 + 0.5 + 0.0) / 3, rel=0.03)
    seen = [worth.get((i, p), ("", 0.0))[1] for row in shown for p, i in enumerate(row, start=1)]
    assert published["ips_value10"] == pytest.approx(sum(seen) / len(seen))


def test_how_wide_lists_are_is_of_all_users_whatever_they_did(tmp_path: Path) -> None:
    lists = [listed("ann", "b"), listed("bob", "c"), listed("cat", "e"), listed("dan", "ad")]
    published, *_ = compared(tmp_path, lists=lists, happened=[done("ann", "b")])
    assert published["n_users"] == 1
    assert (published["coverage10"], published["gini10"]) == (1.0, 0.0)  # d cannot be shown


def test_a_user_without_a_list_has_found_nothing(tmp_path: Path) -> None:
    published, *_ = compared(tmp_path, lists=[listed("bob", "c")])
    assert (published["n_users"], published["ndcg10"]) == (2, 0.5)


def test_segments_have_rows_where_enough_users_have_something_relevant(tmp_path: Path) -> None:
    many = [f"u{n:03}" for n in range(120)]
    found = compared(
        tmp_path,
        lists=[listed(user, "b") for user in many],
        happened=[done(user, "b") for user in many[:110]],
        histories=[history(user) for user in many],
        seen={user: (5, 1) if n < 60 else (90, 80) for n, user in enumerate(many)},
    )
    assert [(row["segment"], row["n_users"]) for row in found if row["method"] == "published"] == [
        ("all", 110), ("new", 60), ("dormant", 50),
    ]  # fmt: skip


def test_an_order_that_was_undone_since_is_nothing_relevant(tmp_path: Path) -> None:
    """Of ann's two orders of b one is left; bob's is undone after the window, and the order after
    it is none of the window; cat's return is of an order before the window."""
    happened = [
        done("ann", "b"), done("ann", "b", 9), done("ann", "b", 12, "undo"),
        done("bob", "b", 9), done("bob", "b", 31), done("bob", "b", 40, "undo"),
        done("bob", "b", 41, "undo"),
        done("cat", "b", 0, "undo"), done("cat", "b", 1),
    ]  # fmt: skip
    lists, histories = (
        [listed(user, "b") for user in ("ann", "bob", "cat")],
        [history(user) for user in ("ann", "bob", "cat")],
    )
    published, *_ = compared(tmp_path, lists=lists, histories=histories, happened=happened)
    assert published["n_users"] == 2
    assert published["ips_value10"] == pytest.approx(2 / 3)


def test_without_lists_or_anything_relevant_there_are_no_rows(tmp_path: Path) -> None:
    assert compared(tmp_path, lists=[]) == []
    assert compared(tmp_path, happened=[done("ann", "a")]) == []


def test_rows_are_those_of_the_table(tmp_path: Path) -> None:
    rows = compared(tmp_path)
    for row in rows:
        row["as_of"] = date.fromisoformat(row["as_of"])
    assert {tuple(sorted(row)) for row in rows} == {tuple(sorted(REC_OUTCOMES.names))}
    table = pa.Table.from_pylist(rows, schema=arrow_schema(REC_OUTCOMES))
    assert table.num_rows == 3
