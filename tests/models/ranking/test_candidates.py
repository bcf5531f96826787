"""What sources suggest, as arrays, and what a ranker sees of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.recommendation_tables import (
    FIXED_POINT,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.specs import RankInputs
from contracts.surfaces import Surface
from models.ranking import candidates
from models.ranking.block import source_bit
from models.ranking.candidates import (
    ACTIVITY,
    Candidates,
    list_kinds,
    numbered,
    read_candidates,
)
from models.ranking.catalogue import read_catalogue
from models.ranking.features import feature_names, features
from models.ranking.hidden_edges import hidden_edges
from tests.models.ranking.hand_made_tables import DAY, history, item
from tests.models.ranking.small_market import PRODUCTS, candidate, write_table

SURFACE = replace(
    PRODUCTS, sources=("popular_10d", "popular_10d_in_segment", "new", "own", "together")
)
ITEMS = [
    item("a", category_id="toys", price_minor=100, popularity_10d=4 * FIXED_POINT),
    item("b", category_id="toys", price_minor=400, n_users=3),
    item("c", category_id="tools", available=False),
    item("d"),
]
HISTORIES = [
    history("ann", {"a": {"n_goals": 3, "gaps": 4}, "b": {"signals": 3 * FIXED_POINT}},
            country="GB", favourite_category="toys"),
    history("bob", country="FR"),
    history("cat"),
]  # fmt: skip
POPULAR: list[dict[str, Any]] = [
    {"surface": "products", "segment": segment, "source": source, "item_ids": list(items),
     "scores": [9.0 - n for n in range(len(items))]}
    for segment, source, items in (
        ("all", "popular_10d", "ab"), ("country=GB", "popular_10d_in_segment", "d"),
        ("country=DE", "popular_10d_in_segment", "c"),
        ("category=toys", "popular_10d_in_segment", "bz"), ("all", "new", "d"),
    )
]  # fmt: skip
CANDIDATES = [
    candidate("ann", "own", "ba", because=["b", "a"]),
    candidate("ann", "together", "cbz", because=["", "a", "a"]),
    candidate("bob", "together", "a"),
    candidate("bob", "together", "abcd", fold=1),
]


def inputs_of(folder: Path, as_of: date = DAY, **changes: Any) -> RankInputs:
    rows = {"histories": HISTORIES, **changes}
    return RankInputs(
        as_of,
        items=write_table(folder, REC_ITEMS, ITEMS, as_of),
        histories=write_table(folder, REC_HISTORIES, rows["histories"], as_of),
        popular=write_table(folder, REC_POPULAR, POPULAR, as_of),
        candidates=write_table(folder, REC_CANDIDATES, CANDIDATES, as_of, 2),
        retrieved=write_table(folder, REC_RETRIEVED, [], as_of),
        user_features=(),
    )


@pytest.fixture
def inputs(tmp_path: Path) -> RankInputs:
    return inputs_of(tmp_path)


def read(inputs: RankInputs, surface: Surface = SURFACE, fold: int = 0) -> Candidates:
    """Of all users, who fit into one block."""
    ids = pa.array(["a", "b", "c", "d"])
    (block,) = read_candidates(inputs, surface, ids, fold)
    return block


def test_every_pair_is_there_once_with_its_place_and_score_in_each_list(inputs: RankInputs) -> None:
    block = read(inputs)
    assert block.histories.users["user_key"].to_pylist() == ["ann", "bob", "cat"]
    # z is no item of the surface. Nobody is from DE. Cat has what everybody has.
    assert np.split(block.items, block.starts[1:-1])[0].tolist() == [0, 1, 2, 3]
    assert np.split(block.items, block.starts[1:-1])[1].tolist() == [0, 1, 3]
    assert np.split(block.items, block.starts[1:-1])[2].tolist() == [0, 1, 3]
    places = {k.name: block.places[i, :4].tolist() for i, k in enumerate(block.kinds)}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert places["own"] == [1, 0, nan, nan]
    assert places["together"] == [nan, 1, 0, nan]
    assert places["popular_10d_in_segment_category"] == [nan, 0, nan, nan]
    assert places["popular_10d_in_segment_country"] == [nan, nan, nan, 0]
    assert places["new"] == [nan, nan, nan, 0]
    own = [kind.name for kind in block.kinds].index("own")
    assert block.scores[own, :2].tolist() == [0.5, 1]
    assert block.best[own].tolist() == [1, nan, nan]


def test_the_reason_is_that_of_the_best_place_which_has_one(inputs: RankInputs) -> None:
    # Ann: c is first of what goes together, but without a reason.
    assert read(inputs).because.to_pylist() == ["a", "b", "", "", "", "", "", "", "", ""]


def test_sources_are_sets(inputs: RankInputs) -> None:
    expected = source_bit("popular_10d") | source_bit("popular_10d_in_segment")
    expected |= source_bit("own") | source_bit("together")
    assert read(inputs).sources[1] == expected


def test_another_fold_has_candidates_of_its_own(tmp_path: Path) -> None:
    histories = [*HISTORIES, history("bob", fold=1)]
    block = read(inputs_of(tmp_path, histories=histories), fold=1)
    assert block.histories.users["user_key"].to_pylist() == ["bob"]
    together = [kind.name for kind in block.kinds].index("together")
    assert block.places[together].tolist() == [0, 1, 2, 3]


def test_features_are_of_the_lists_the_item_the_user_and_what_they_have_to_do_with_each_other(
    inputs: RankInputs,
) -> None:
    block, catalogue = read(inputs), read_catalogue(inputs, SURFACE)
    matrix = features(SURFACE, catalogue, block)
    names = feature_names(SURFACE)
    assert matrix.shape == (len(block.items), len(names))
    a = dict(zip(names, matrix[0].tolist(), strict=True))
    assert (a["place_own"], a["score_own"], a["share_own"]) == (1, 0.5, 0.5)
    assert (a["n_sources"], a["fusion"]) == (2, pytest.approx(1 / 61 + 1 / 60))
    # Of ann's signals a has one part and b three; of toys are all of them.
    assert (a["own_signal"], a["category_share"]) == (0.25, 1)
    assert (a["own_n_goals"], a["own_days_since_last"], a["own_due"]) == (3, 10, 2.5)
    mean = 0.25 * np.log1p(100) + 0.75 * np.log1p(400)
    assert a["price_gap"] == pytest.approx(np.log1p(100) - mean, rel=1e-5)
    assert (a["item_age"], a["user_n_items"], a["user_n_days"]) == (100, 2, 1)
    c = dict(zip(names, matrix[2].tolist(), strict=True))
    assert c["category_share"] == 0, "tools, of which ann has none"
    d = dict(zip(names, matrix[3].tolist(), strict=True))
    assert np.isnan([d["category_share"], d["own_n_goals"], d["user_n_orders_30d"]]).all()


def test_the_names_of_lists_are_those_of_their_sources_and_for_whom() -> None:
    assert [kind.name for kind in list_kinds(SURFACE)] == [
        "popular_10d", "popular_10d_in_segment_country", "popular_10d_in_segment_category", "new",
        "new_category", "own", "together",
    ]  # fmt: skip
    assert len(set(feature_names(SURFACE))) == len(feature_names(SURFACE))
    assert set(ACTIVITY) <= {name.removeprefix("user_") for name in feature_names(SURFACE)}


def test_hidden_edges_are_what_users_have_that_fold_1_leaves_out(tmp_path: Path) -> None:
    histories = [
        history("ann", {"a": {}, "b": {}, "c": {"owned": 0}}),
        history("ann", ["a"], fold=1),
        history("bob", ["d"]),  # has no other fold
        history("cat", ["d"]),
        history("cat", fold=1),
    ]
    inputs = inputs_of(tmp_path, histories=histories)
    hidden = hidden_edges(inputs, SURFACE, pa.array(["a", "b", "c", "d"]))
    assert hidden.users.to_pylist() == ["ann", "cat"]
    assert hidden.items.tolist() == [1, 3]
    assert hidden.events.tolist() == [1, 1], "orders"


def test_different_pairs_are_numbered_alike_whether_each_has_a_cell_or_they_are_sorted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    keys = [rng.integers(0, 500, n) for n in (300, 0, 100)]
    for cells in (500, 499):
        monkeypatch.setattr(candidates, "MAX_CELLS", cells)
        different, at = numbered(keys, 500)
        assert different.tolist() == sorted({*np.concatenate(keys).tolist()})
        assert [different[part].tolist() for part in at] == [key.tolist() for key in keys]
        none, _ = numbered([], 500)
        assert none.tolist() == []
