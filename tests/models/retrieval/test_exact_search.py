"""The best items, beside looking at all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import sparse

from models.retrieval.exact_search import Best, InnerProducts, best_by_scores


def drawn(n_users: int, n_items: int, n_own: int, seed: int = 0) -> tuple:
    """Factors of users and items, and what each user has."""
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(n_users, 24)).astype(np.float32)
    items = rng.normal(size=(n_items, 24)).astype(np.float32)
    own = np.sort(rng.random((n_users, n_items)).argsort(axis=1)[:, :n_own], axis=1)
    return (
        users,
        items,
        pairs(np.repeat(np.arange(n_users), n_own), own.ravel(), (n_users, n_items)),
    )


def pairs(users: Sequence[int], items: Sequence[int], shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(users), bool), (users, items)), shape=shape)


def naive(scores: np.ndarray, hidden: sparse.csr_array, k: int) -> Best:
    """All scores in order; of equals the item that comes first."""
    scores = np.where(hidden.toarray(), -np.inf, scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return Best(np.where(np.isfinite(best), order, -1), best)


@pytest.mark.parametrize(("n_items", "k"), [(3, 5), (90, 10), (1000, 10), (5000, 3)])
def test_the_best_are_those_of_all_scores_in_order(n_items: int, k: int) -> None:
    users, items, own = drawn(70, n_items, min(20, n_items - 1))
    scores = np.einsum("bf,if->bi", users, items)
    expected = naive(scores, own, k)
    for found in (InnerProducts(items, k).best(users, own), best_by_scores(scores, own, k)):
        n = expected.items.shape[1]
        np.testing.assert_array_equal(found.items[:, :n], expected.items)
        np.testing.assert_allclose(found.scores[:, :n], expected.scores, rtol=1e-5)
        assert (found.items[:, n:] == -1).all()


def test_the_same_bits_come_out_whatever_users_are_searched_together() -> None:
    users, items, own = drawn(101, 3000, 30)
    search = InnerProducts(items, 20)
    together = search.best(users, own)
    for size in (1, 7, 50):
        for start in range(0, 101, size):
            part = search.best(users[start : start + size], own[start : start + size])
            np.testing.assert_array_equal(part.items, together.items[start : start + size])
            np.testing.assert_array_equal(part.scores, together.scores[start : start + size])


def test_of_equals_the_first_comes_first() -> None:
    users = np.ones((2, 4), np.float32)
    items = np.ones((500, 4), np.float32)
    items[400] = 2
    found = InnerProducts(items, 4).best(users, pairs([1, 1], [0, 400], (2, 500)))
    assert found.items.tolist() == [[400, 0, 1, 2], [1, 2, 3, 4]]


def test_whoever_has_all_items_gets_none_and_others_all_that_are_left() -> None:
    users, items, _ = drawn(2, 3, 0)
    hidden = pairs([0, 0, 0, 1], [0, 1, 2, 1], (2, 3))
    found = InnerProducts(items, 4).best(users, hidden)
    assert found.items[0].tolist() == [-1] * 4
    assert sorted(found.items[1].tolist()) == [-1, -1, 0, 2]


def test_no_users_get_no_lists() -> None:
    _, items, _ = drawn(1, 3, 0)
    found = InnerProducts(items, 4).best(np.empty((0, 24), np.float32), pairs([], [], (0, 3)))
    assert found.items.shape == found.scores.shape == (0, 4)
