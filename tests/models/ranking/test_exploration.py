"""Exploration: a share of the places by chance, and the exact probability of what is shown."""

from __future__ import annotations

from datetime import date
from functools import partial
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from contracts.surfaces import Policy
from models.ranking.diversity import drawable
from models.ranking.exploration import Explored, seed_of, text_hashes, with_exploration

SEED = seed_of("products", date(2025, 3, 1))


def explored(n_users: int, m: int, k: int, share: float, seed: np.uint64 = SEED) -> Explored:
    users = text_hashes(pa.array([f"user {u}" for u in range(n_users)]))
    items = np.tile(text_hashes(pa.array([f"item {i}" for i in range(m)])), (n_users, 1))
    return with_exploration(users, items, np.full(n_users, m), k, share, seed)


def probabilities(m: int, k: int, share: float) -> np.ndarray:
    """(k, m): of each item at each place, by listing every choice of places."""
    n = min(k, m)
    found = np.zeros((k, m))
    fewest = int(share * n)
    for count, weight in ((fewest, 1 - share * n + fewest), (fewest + 1, share * n - fewest)):
        choices = list(combinations(range(n), count)) if weight > 0 else []
        for choice in choices:
            best = iter(range(n - count))
            for place in range(n):
                if place in choice:
                    found[place, n - count :] += weight / len(choices) / (m - n + count)
                else:
                    found[place, next(best)] += weight / len(choices)
    return found


@pytest.mark.parametrize(
    ("m", "k", "share"), [(9, 5, 0.3), (5, 5, 0.4), (4, 6, 0.5), (7, 4, 0.05), (1, 3, 0.9)]
)
def test_logged_probabilities_are_those_of_every_choice_listed(
    m: int, k: int, share: float
) -> None:
    shown = explored(500, m, k, share)
    expected = probabilities(m, k, share)
    for columns, propensities in zip(shown.columns, shown.propensities, strict=True):
        for place, (column, propensity) in enumerate(zip(columns, propensities, strict=True)):
            if place < min(k, m):
                assert propensity == pytest.approx(expected[place, column], abs=1e-12)
            else:
                assert (column, propensity) == (-1, 0)


def test_items_are_shown_as_often_as_logged() -> None:
    n_users, m, k = 40_000, 8, 4
    shown = explored(n_users, m, k, 0.3)
    counts = np.zeros((k, m))
    for place in range(k):
        counts[place] = np.bincount(shown.columns[:, place], minlength=m)
    expected = probabilities(m, k, 0.3)
    errors = np.sqrt(expected * (1 - expected) / n_users)
    assert (np.abs(counts / n_users - expected) <= 4.5 * errors + 1e-12).all()


def test_with_caps_items_are_shown_as_often_as_logged_too() -> None:
    """Three categories in turn, of which two may be shown, and one item without a category."""
    n_users, k, share = 40_000, 4, 0.6
    codes = np.array([[0, 0, 1, 1, 2, 0, 1, 2, 2, -1]], np.int32)
    m = codes.shape[1]
    everybodys = np.repeat(codes, n_users, axis=0)
    may_be_drawn = partial(
        drawable,
        everybodys,
        np.full_like(everybodys, -1),
        Policy(max_per_category=2),
        n_valid=np.full(n_users, m),
    )
    users = text_hashes(pa.array([f"user {u}" for u in range(n_users)]))
    items = np.tile(text_hashes(pa.array([f"item {i}" for i in range(m)])), (n_users, 1))
    shown = with_exploration(users, items, np.full(n_users, m), k, share, SEED, may_be_drawn)
    of_shown = codes[0][shown.columns]
    assert max((of_shown == code).sum(axis=1).max() for code in range(3)) == 2
    counts = np.zeros((k, m))
    logged = np.zeros((k, m))
    for place in range(k):
        columns = shown.columns[:, place]
        counts[place] = np.bincount(columns, minlength=m)
        logged[place, columns] = shown.propensities[:, place]
    assert logged.sum(axis=1) == pytest.approx(1)
    errors = np.sqrt(logged * (1 - logged) / n_users)
    assert (np.abs(counts / n_users - logged) <= 4.5 * errors + 1e-12).all()


def test_weighting_by_the_inverse_gives_what_every_item_is_worth() -> None:
    """The mean of the first place's worth had it been filled uniformly (Horvitz and Thompson)."""
    m, k = 6, 3
    shown = explored(60_000, m, k, 0.5)
    worth = np.array([6.0, 5, 4, 3, 2, 1])
    first, propensity = shown.columns[:, 0], shown.propensities[:, 0]
    assert np.mean(worth[first] / m / propensity) == pytest.approx(worth.mean(), rel=0.02)


def test_no_item_is_shown_twice_and_the_same_night_draws_the_same() -> None:
    shown, again = explored(1000, 12, 6, 0.35), explored(1000, 12, 6, 0.35)
    assert all(len({*row}) == 6 for row in shown.columns.tolist())
    assert np.array_equal(shown.columns, again.columns)
    other = explored(1000, 12, 6, 0.35, seed_of("products", date(2025, 3, 2)))
    assert not np.array_equal(shown.columns, other.columns)


def test_users_with_candidates_of_different_numbers_are_drawn_alike_in_one_block() -> None:
    users = text_hashes(pa.array(["ann", "bob"]))
    items = np.tile(text_hashes(pa.array(list("abcdef"))), (2, 1))
    together = with_exploration(users, items, np.array([6, 3]), 4, 0.5, SEED)
    alone = with_exploration(users[1:], items[1:, :3], np.array([3]), 4, 0.5, SEED)
    assert together.columns[1].tolist() == alone.columns[0].tolist()
    assert together.propensities[1].tolist() == alone.propensities[0].tolist()
