"""Trees by arrays, beside LightGBM's own prediction."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from contracts.errors import ContractError
from models.ranking import small_trees
from models.ranking.small_trees import added_up, trees_of


def features_of(n: int, seed: int) -> np.ndarray:
    """Numbers of all kinds (n, 6): whole ones, few different ones, some or most of them missing."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(6, n)).astype(np.float32)
    columns[1] = columns[1].round()
    columns[2][rng.random(n) < 0.3] = np.nan
    columns[3][rng.random(n) < 0.95] = np.nan
    columns[4] = np.abs(columns[4]).round(1)
    return columns.T


def booster_of(features: np.ndarray, leaves: int) -> lgb.Booster:
    known = np.nan_to_num(features)
    label = known[:, 0] * known[:, 1] + known[:, 2] - known[:, 4] > 0.3
    parameters = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "num_threads": 1}
    return lgb.train(parameters, lgb.Dataset(features, label.astype(np.int8)), 20)


@pytest.mark.parametrize("leaves", [2, 7, 17])
def test_trees_say_what_lightgbm_says_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, leaves: int
) -> None:
    monkeypatch.setattr(small_trees, "ROWS", 300)
    booster = booster_of(features_of(3000, 0), leaves)
    asked = features_of(1000, 1)
    # What was never missing in training is missing now, and some stand right at a threshold.
    asked[::7, 0] = np.nan
    asked[::5, 4] = np.nan
    trees = trees_of(booster.model_to_string())
    asked[: len(trees), trees[0].splits[0].feature] = trees[0].splits[0].threshold
    said = added_up(trees, asked)
    assert len(trees) == 20
    np.testing.assert_array_equal(said, booster.predict(asked, raw_score=True))
    np.testing.assert_array_equal(said, added_up(trees, np.ascontiguousarray(asked)))
    assert len(added_up(trees, asked[:0])) == 0


def test_where_nothing_can_be_split_a_tree_is_one_leaf() -> None:
    features = np.zeros((100, 6), np.float32)
    booster = lgb.train(
        {"objective": "binary", "verbose": -1},
        lgb.Dataset(features, np.arange(100) % 4 == 0),
        1,
    )
    trees = trees_of(booster.model_to_string())
    assert [tree.splits for tree in trees] == [()] * len(trees)
    np.testing.assert_array_equal(
        added_up(trees, features), booster.predict(features, raw_score=True)
    )


def test_trees_with_too_many_leaves_are_refused() -> None:
    booster = booster_of(features_of(3000, 0), 18)
    with pytest.raises(ContractError) as error:
        trees_of(booster.model_to_string())
    assert str(error.value) == (
        "a tree has 18 leaves, and 17 are the most that can be; fit the ranker anew"
    )
