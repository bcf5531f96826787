"""The order in which items are shown that shall not all be alike.

Maximal marginal relevance (Carbonell and Goldstein, "The use of MMR, diversity-based reranking",
SIGIR 1998): each place goes to the item for which `(1 - d) relevance - d similarity` is highest,
where the similarity is the greatest one to what stands above. Caps hold in the first places: what
would break one moves down.

Letters: B users, W columns, each user's candidates from the best to the last, then padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.surfaces import CAPPED_PLACES, Policy

Matrix = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Diversified:
    """The order of each user's columns."""

    order: npt.NDArray[np.int64]
    """(B, W): columns, those that are shown first first, padding last."""
    n_capped: npt.NDArray[np.int64]
    """(B,): candidates that a cap moved down."""


def diversified(
    values: npt.NDArray[np.float32],
    n_valid: npt.NDArray[np.int64],
    categories: Matrix,
    authors: Matrix,
    policy: Policy,
    n_places: int,
) -> Diversified:
    """Order candidates by value, marginal relevance, and caps.

    Args:
        values: (B, W), never rising along a row of candidates.
        n_valid: (B,): columns that are candidates.
        categories: (B, W): codes, -1 for none.
        authors: (B, W): codes, -1 for none.
        policy: whose `diversity` and caps are applied.
        n_places: places of a list; what stands below stays ordered by value.
    """
    n_users, width = values.shape
    caps = policy.max_per_category, policy.max_per_author
    steps = n_places if policy.diversity > 0 else CAPPED_PLACES if caps != (None, None) else 0
    steps = min(steps, width)
    columns = np.arange(width)
    if steps == 0:
        return Diversified(np.tile(columns, (n_users, 1)), np.zeros(n_users, np.int64))
    is_free = columns < n_valid[:, None]
    passed = np.zeros((n_users, width), bool)
    place = np.where(is_free, steps + columns, steps + width + columns)
    greedy = _Greedy(values, categories, authors, policy)
    rows = np.arange(n_users)
    for step in range(steps):
        scores = greedy.scores()
        allowed = greedy.allowed() if step < CAPPED_PLACES else np.ones_like(is_free)
        chosen = _best(scores, is_free & allowed)
        # Where every candidate left would break a cap, a full list matters more.
        chosen = np.where(chosen < 0, _best(scores, is_free), chosen)
        has_one = chosen >= 0
        if not has_one.any():
            break
        best = scores[rows, chosen][:, None]
        better = (scores > best) | ((scores == best) & (columns < chosen[:, None]))
        passed |= is_free & ~allowed & better & has_one[:, None]
        place[rows[has_one], chosen[has_one]] = step
        is_free[rows[has_one], chosen[has_one]] = False
        greedy.choose(rows, chosen, has_one)
    return Diversified(np.argsort(place, axis=1, kind="stable"), passed.sum(axis=1))


def drawable(
    categories: Matrix,
    authors: Matrix,
    policy: Policy,
    n_best: npt.NDArray[np.int64],
    n_valid: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Candidates below the best that may be drawn by chance: whichever of them stand in the first
    places, beside whichever of the best stand there, no cap is broken.

    Of each category, and of each author, these are the first that the cap leaves room for.

    Args:
        categories: (B, W): codes, in the order in which candidates would be shown; -1 for none.
        authors: (B, W): likewise.
        policy: whose caps hold.
        n_best: (B,): columns that are shown in their order.
        n_valid: (B,): columns that are candidates.

    Returns:
        (B, W).
    """
    column = np.arange(categories.shape[1])
    is_below = (column >= n_best[:, None]) & (column < n_valid[:, None])
    in_first = is_below | (column < np.minimum(n_best, CAPPED_PLACES)[:, None])
    may_be: npt.NDArray[np.bool_] = is_below
    for codes, cap in ((categories, policy.max_per_category), (authors, policy.max_per_author)):
        if cap is not None:
            may_be = may_be & ((codes < 0) | (_ranks_among_like(codes, in_first) < cap))
    return may_be


def _ranks_among_like(codes: Matrix, counted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(B, W): how many columns before each are counted and have its code; of others, any number."""
    key = np.where(counted, codes, np.iinfo(codes.dtype).max)
    order = np.argsort(key, axis=1, kind="stable")
    ordered = np.take_along_axis(key, order, axis=1)
    column = np.broadcast_to(np.arange(codes.shape[1]), codes.shape)
    is_first = np.ones(codes.shape, bool)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ranks = np.empty(codes.shape, np.int64)
    first = np.maximum.accumulate(np.where(is_first, column, 0), axis=1)
    np.put_along_axis(ranks, order, column - first, axis=1)
    return ranks


class _Greedy:
    """What has been chosen so far, and what that means for each candidate."""

    def __init__(
        self, values: npt.NDArray[np.float32], categories: Matrix, authors: Matrix, policy: Policy
    ):
        best = values[:, :1].astype(np.float64) if values.shape[1] else values
        self._relevance = np.divide(values, best, out=np.zeros(values.shape), where=best > 0)
        self._weight = policy.diversity
        kinds = (categories, policy.max_per_category), (authors, policy.max_per_author)
        # A surface of which no item has an author is as diverse as its categories are.
        self._kinds = [(codes, cap) for codes, cap in kinds if (codes >= 0).any()]
        self._counts = [np.zeros(codes.shape, np.int16) for codes, _ in self._kinds]
        self._similarity = np.zeros(values.shape)

    def scores(self) -> npt.NDArray[np.float64]:
        """(B, W): marginal relevance."""
        if self._weight == 0:
            return self._relevance
        scores: npt.NDArray[np.float64] = (
            1 - self._weight
        ) * self._relevance - self._weight * self._similarity
        return scores

    def allowed(self) -> npt.NDArray[np.bool_]:
        """(B, W): whether a candidate breaks no cap."""
        allowed = np.ones(self._relevance.shape, bool)
        for (_, cap), counts in zip(self._kinds, self._counts, strict=True):
            if cap is not None:
                allowed &= counts < cap
        return allowed

    def choose(
        self,
        rows: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.int64],
        has_one: npt.NDArray[np.bool_],
    ) -> None:
        """Count what was chosen for each user, where there was something."""
        similarity = np.zeros(self._relevance.shape)
        for (codes, _), counts in zip(self._kinds, self._counts, strict=True):
            code = codes[rows, chosen][:, None]
            same = (codes == code) & (code >= 0) & has_one[:, None]
            counts += same
            similarity += same
        if self._kinds:
            np.maximum(self._similarity, similarity / len(self._kinds), out=self._similarity)


def _best(scores: npt.NDArray[np.float64], is_free: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(B,): the column with the highest score, the first of several; -1: none is free."""
    best = np.where(is_free, scores, -np.inf).argmax(axis=1)
    return np.where(is_free.any(axis=1), best, -1)
