"""Figures of ranked lists, by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from models.ranking.metrics import (
    NO_ITEM,
    coverage,
    gini,
    hit_rate,
    hits,
    interval,
    n_relevant,
    ndcg,
    novelty,
    numbered_among,
    recall,
    share_new,
)

N_ITEMS = 6
LISTS = np.array([[4, 0, 2], [1, 5, NO_ITEM], [3, 4, 5]])
USERS, ITEMS = np.array([0, 0, 1, 0, 2]), np.array([0, 2, 1, 5, 0])
"""Relevant: 0, 2 and 5 to the first, 1 to the second, 0 to the third."""
HITS = np.array([[False, True, True], [True, False, False], [False, False, False]])


def test_a_place_is_a_hit_if_its_item_was_relevant_to_that_user() -> None:
    assert (hits(LISTS, USERS, ITEMS, N_ITEMS) == HITS).all()
    assert not hits(LISTS, USERS[:0], ITEMS[:0], N_ITEMS).any()
    empty = np.full((3, 2), NO_ITEM)
    assert not hits(empty, USERS, ITEMS, N_ITEMS).any()


def test_the_ideal_list_has_as_many_relevant_items_as_there_are_and_fit() -> None:
    relevant = n_relevant(USERS, 3)
    assert relevant.tolist() == [3, 1, 1]
    second, third = 1 / log2(3), 1 / log2(4)
    assert ndcg(HITS, relevant).tolist() == [
        pytest.approx((second + third) / (1 + second + third)), 1.0, 0.0,
    ]  # fmt: skip
    assert ndcg(HITS, relevant, k=2).tolist() == [pytest.approx(second / (1 + second)), 1.0, 0.0]
    assert np.isnan(ndcg(HITS[:1], np.array([0])))


def test_of_more_relevant_items_than_places_a_full_list_is_ideal() -> None:
    assert ndcg(np.ones((1, 20), dtype=bool), np.array([40])).tolist() == [pytest.approx(1.0)]


def test_recall_is_of_all_relevant_items_and_a_hit_of_any() -> None:
    assert recall(HITS, np.array([3, 1, 1])).tolist() == [pytest.approx(2 / 3), 1.0, 0.0]
    assert recall(HITS, np.array([3, 1, 1]), k=2).tolist() == [pytest.approx(1 / 3), 1.0, 0.0]
    assert np.isnan(recall(HITS[:1], np.array([0])))
    assert hit_rate(HITS).tolist() == [1.0, 1.0, 0.0]
    assert hit_rate(HITS, k=1).tolist() == [0.0, 1.0, 0.0]


def test_coverage_is_of_the_catalogue() -> None:
    assert coverage(LISTS, 8) == 6 / 8
    assert coverage(LISTS, 8, k=1) == 3 / 8
    assert coverage(LISTS[:0], 0) == 0.0


def test_items_are_numbered_among_some() -> None:
    lists = np.array([[0, 3, NO_ITEM], [2, 1, 3]])
    numbered = numbered_among(lists, np.array([True, False, True, True]))
    assert numbered.tolist() == [[0, 2, NO_ITEM], [1, NO_ITEM, 2]]


def test_what_few_had_is_novel_and_what_nobody_had_counts_as_had_by_one() -> None:
    n_had = np.array([8, 4, 2, 1, 0, 8])
    assert novelty(LISTS, n_had, 8).tolist() == [
        pytest.approx((3 + 0 + 2) / 3), pytest.approx((1 + 0) / 2), pytest.approx((3 + 3 + 0) / 3),
    ]  # fmt: skip
    assert np.isnan(novelty(np.full((1, 3), NO_ITEM), n_had, 8))


def test_new_items_are_a_share_of_those_shown() -> None:
    is_new = np.array([False, True, False, False, True, True])
    assert share_new(LISTS, is_new).tolist() == [pytest.approx(1 / 3), 1.0, pytest.approx(2 / 3)]


def test_gini_says_how_unevenly_items_are_shown() -> None:
    even = np.array([[0, 1], [2, 3]])
    assert gini(even, 4) == 0.0
    one = np.zeros((5, 1), dtype=np.int64)
    assert gini(one, 4) == 0.75  # (n - 1) / n where one has all
    # counts 0, 1, 3: mean absolute difference over pairs (0+1+3+1+0+2+3+2+0)/9, over 2 * 4/3
    assert gini(np.array([[0], [0], [0], [2]]), 3) == pytest.approx((12 / 9) / (8 / 3))
    assert gini(np.full((2, 2), NO_ITEM), 3) == 0.0


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    samples = rng.binomial(1, 0.3, (200, 300))
    held = [low <= 0.3 <= high for low, high in map(interval, samples)]
    assert 0.9 <= np.mean(held) <= 0.99
    assert interval(samples[0]) == interval(samples[0])
    assert interval(np.array([0.25, 0.25])) == (0.25, 0.25)
    assert np.isnan(interval(np.array([]))).all()


def test_an_interval_is_that_of_resampling_users_one_by_one() -> None:
    values = np.random.default_rng(2).random(150)
    rng = np.random.default_rng(3)
    means = [values[rng.integers(150, size=150)].mean() for _ in range(4000)]
    assert interval(values) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.004)


def test_a_user_with_several_values_is_drawn_with_all_of_them() -> None:
    users = np.repeat(np.arange(40), 25)
    values = np.repeat(np.random.default_rng(4).random(40), 25)
    assert interval(values, users) == pytest.approx(interval(values[::25]))
    low, high = interval(values)
    wide_low, wide_high = interval(values, users)
    assert wide_high - wide_low > 3 * (high - low)
