"""Methods to compare with, each in a few lines of NumPy over what is known before a cut.

Letters: U users and I items, E judged users, K places, F factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse as sp

from models.ranking.metrics import NO_ITEM, Array
from tests.bench.recommend_protocol import K, Question

BLOCK = 512
"""Judged users whose scores of all items are in memory at a time."""
POPULAR_DAYS, RECENT_DAYS = 10.0, 30.0
"""Half-lives of popularity, and of what users did."""
EASE_ITEMS, EASE_RIDGE = 5000, 300.0
FACTORS, REGULARISATION, UNOBSERVED, SWEEPS = 64, 0.01, 0.1, 12
RRF_K = 60
"""Of reciprocal-rank fusion (Cormack et al., 2009)."""

Scorer = Callable[[Array], Array]
"""Scores (B, I) of users (B,), numbers of all known ones."""


def twins(question: Question, seed: int = 0) -> Mapping[str, Array]:
    """(E, K) lists by method."""
    past = question.past
    scorers: dict[str, Scorer] = {
        "popular_twin": _popular(question),
        "own_twin": _own(question),
        "knn_twin": _knn(question),
        "ials_twin": factorised(past.decayed(RECENT_DAYS), seed),
    }
    if len(past.items) <= EASE_ITEMS:
        scorers["ease_twin"] = _ease(question)
    return {name: best(question, scorer) for name, scorer in scorers.items()}


def best(question: Question, scores_of: Scorer) -> Array:
    """(E, K) the items of the highest scores above 0 that are not masked; ties by id."""
    n_items = len(question.past.items)
    lists = np.full((len(question.judged), K), NO_ITEM, dtype=np.int64)
    for start in range(0, len(lists), BLOCK):
        part = slice(start, start + BLOCK)
        scores = np.asarray(scores_of(question.judged[part]), dtype=np.float64)
        scores[question.masked[part].nonzero()] = -np.inf
        k = min(K, n_items)
        if n_items > 4 * K:  # ties with the last place are cut by id, as by a whole sort
            edge = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
            scores[scores < edge] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(scores, order, axis=1) > 0
        lists[part, :k] = np.where(found, order, NO_ITEM)
    return lists


def fused(lists: Mapping[str, Array], n_items: int) -> Array:
    """(E, K) reciprocal-rank fusion of lists (E, n) of several sources; ties by id."""
    (first, *_) = lists.values()
    fused_lists = np.full((len(first), K), NO_ITEM, dtype=np.int64)
    for e in range(len(first)):
        scores = np.zeros(n_items)
        for source in lists.values():
            items = source[e][source[e] != NO_ITEM]
            scores[items] += 1 / (RRF_K + 1 + np.arange(len(items)))
        order = np.argsort(-scores, kind="stable")[:K]
        order = order[scores[order] > 0]
        fused_lists[e, : len(order)] = order
    return fused_lists


def _popular(question: Question) -> Scorer:
    past = question.past
    counts = np.bincount(past.places, 2.0 ** (-past.ages / POPULAR_DAYS), len(past.items))
    return lambda users: np.tile(counts, (len(users), 1))


def _own(question: Question) -> Scorer:
    """How many days a user had an item; of as many, what more days of all users had."""
    past = question.past
    ties = np.bincount(past.places, minlength=len(past.items)) / (len(past.rows) + 1)
    return lambda users: (
        past.counts[users].toarray() + past.counts[users].sign().multiply(ties).toarray()
    )


def _knn(question: Question) -> Scorer:
    """Cosine of the users of two items, summed over a user's own."""
    past = question.past
    binary = past.counts.sign()
    n = np.maximum(np.asarray(binary.sum(axis=0)).ravel(), 1)
    scaled = (binary @ sp.diags(n**-0.5)).tocsr()

    def scores(users: Array) -> Array:
        near: Array = (scaled[users] @ binary.T @ scaled - binary[users]).toarray()
        return near

    return scores


def _ease(question: Question) -> Scorer:
    """Linear item-to-item weights in closed form (Steck, 2019)."""
    recent = question.past.decayed(RECENT_DAYS).sqrt()
    gram = (recent.T @ recent).toarray()
    gram[np.diag_indices_from(gram)] += EASE_RIDGE
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return lambda users: recent[users] @ weights


def factorised(seen: sp.csr_matrix, seed: int) -> Scorer:
    """Matrix factorisation of all pairs (U, I), seen ones weighted by how much; regularisation
    scaled by counts (Rendle et al., 2022)."""
    rng = np.random.default_rng(seed)
    of_items = rng.normal(0, 0.1 / FACTORS**0.5, (seen.shape[1], FACTORS))
    of_users = np.zeros((seen.shape[0], FACTORS))
    for _ in range(SWEEPS):
        of_users = _solved(seen, of_items)
        of_items = _solved(seen.T.tocsr(), of_users)
    return lambda users: of_users[users] @ of_items.T


def _solved(seen: sp.csr_matrix, others: Array) -> Array:
    """(U, F) factors of the rows of a matrix, given those of its columns."""
    everywhere = UNOBSERVED * others.T @ others
    factors = np.zeros((seen.shape[0], FACTORS))
    for row in np.flatnonzero(np.diff(seen.indptr)):
        part = slice(seen.indptr[row], seen.indptr[row + 1])
        weights, near = seen.data[part], others[seen.indices[part]]
        ridge = REGULARISATION * (len(weights) + UNOBSERVED * len(others))
        gram = everywhere + near.T @ (near * weights[:, None])
        gram[np.diag_indices_from(gram)] += ridge
        factors[row] = np.linalg.solve(gram, near.T @ weights)
    return factors
