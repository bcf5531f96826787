"""A share of the places filled by chance, and the exact probability of each item at its place.

Of n places a share e is explored: E = floor(e n) places, and one more with the probability of the
rest, so that e n are on average. Which places is a uniformly random choice of E out of n. The
others show the best n - E items in their order. An explored place shows one of the M items below
them that may be drawn, uniformly and without replacement: of all m - n + E where there are no caps,
else of those that break none (`models/ranking/diversity.py`). Where these are fewer than E, nothing
is explored. The item of rank j stands at place p with probability

    sum over E of P(E) times
        C(p - 1, p - j) C(n - p, E - p + j) / C(n, E)    where j <= n - E: p - j of the places
                                                         before p are explored, and p is not
        (E / n) / M                                      where j > n - E and it may be drawn

so every such candidate may be shown, and what then happens can be weighted by the inverse (Horvitz
and Thompson, 1952; Strehl et al., "Learning from logged implicit exploration data", NeurIPS 2010).

What is random is a hash of the surface, the day, the user and the item or the place: the same again
for the same night, in whatever blocks users come.

Letters: B users, W columns, each user's candidates in the order in which they would be shown, K
places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Explored:
    """What is shown."""

    columns: Ints
    """(B, K): columns of candidates; -1 behind the last."""
    propensities: Floats
    """(B, K): the probability of each at its place; 0 behind the last."""


def text_hashes(texts: pa.Array) -> Hashes:
    """(N,): a hash of each text, the same on every machine (SipHash)."""
    hashes: Hashes = pd.util.hash_array(texts.to_pandas().to_numpy(object), categorize=False)
    return hashes


def seed_of(surface: str, as_of: date) -> np.uint64:
    """What sets one surface and day apart from others."""
    (hashed,) = text_hashes(pa.array([f"{surface} {as_of}"]))
    return np.uint64(hashed)


def without_exploration(n_valid: Ints, n_places: int) -> Explored:
    """(B, K): the first columns, for certain."""
    columns = np.broadcast_to(np.arange(n_places), (len(n_valid), n_places))
    shown = columns < n_valid[:, None]
    return Explored(np.where(shown, columns, -1), shown.astype(np.float64))


def with_exploration(
    users: Hashes,
    items: Hashes,
    n_valid: Ints,
    n_places: int,
    share: float,
    seed: np.uint64,
    may_be_drawn: Callable[[Ints], Mask] | None = None,
) -> Explored:
    """Fill a share of the places from the candidates below.

    Args:
        users: (B,): hashes.
        items: (B, W): hashes.
        n_valid: (B,): m, the columns that are candidates.
        n_places: places of a list, K.
        share: of the places that are explored, e.
        seed: of the surface and day.
        may_be_drawn: given how many of each user's best are shown (B,), the columns below them that
            may be drawn (B, W); None: all.
    """
    draws = _mixed(users ^ seed)
    n = np.minimum(n_valid, n_places)
    expected = share * n
    fewest = np.floor(expected).astype(np.int64)
    rest = expected - fewest
    below = _all_below(items, n_valid) if may_be_drawn is None else may_be_drawn
    few, many = (_feasible(below, n, count) for count in (fewest, np.minimum(fewest + 1, n)))
    is_more = _uniform(_mixed(draws ^ _COUNT)) < rest
    n_explored = np.where(is_more, many.n_explored, few.n_explored)
    pool = np.where(is_more[:, None], many.pool, few.pool)
    place = np.arange(n_places)
    is_place = place < n[:, None]
    drawn = _mixed(draws[:, None] ^ (np.uint64(1) + place.astype(np.uint64)) * _PLACE)
    is_explored = is_place & (_ranks(drawn, is_place) < n_explored[:, None])
    columns = _columns(draws, items, pool, is_place, is_explored)
    propensities = np.where(
        is_place,
        sum(
            weight[:, None] * _probabilities(columns, n, drawn_from)
            for drawn_from, weight in ((few, 1 - rest), (many, rest))
        ),
        0.0,
    )
    return Explored(columns, propensities)


@dataclass(frozen=True)
class _DrawnFrom:
    """What explored places are filled from."""

    n_explored: Ints
    """(B,): E."""
    pool: Mask
    """(B, W): the M columns below the best n - E that may be drawn."""


def _all_below(items: Hashes, n_valid: Ints) -> Callable[[Ints], Mask]:
    column = np.arange(items.shape[1])

    def below(n_best: Ints) -> Mask:
        is_below: Mask = (column >= n_best[:, None]) & (column < n_valid[:, None])
        return is_below

    return below


def _feasible(below: Callable[[Ints], Mask], n: Ints, n_explored: Ints) -> _DrawnFrom:
    """So many places where as many columns may be drawn; else none."""
    pool = below(n - n_explored)
    return _DrawnFrom(np.where(pool.sum(axis=1) >= n_explored, n_explored, 0), pool)


def _columns(draws: Hashes, items: Hashes, pool: Mask, is_place: Mask, is_explored: Mask) -> Ints:
    """(B, K): the best in their order, and in between a random one of those to be drawn."""
    drawn = np.where(pool, _mixed(draws[:, None] ^ _mixed(items)), _LAST)
    # What is not to be drawn may share the highest hash: the pool comes first.
    by_chance = np.lexsort((~pool, drawn), axis=1)
    nth_best = np.cumsum(is_place & ~is_explored, axis=1) - 1
    nth_drawn = np.cumsum(is_explored, axis=1) - 1
    width = max(items.shape[1] - 1, 0)
    explored = np.take_along_axis(by_chance, np.clip(nth_drawn, 0, width), axis=1)
    return np.where(is_place, np.where(is_explored, explored, nth_best), -1)


def _probabilities(columns: Ints, n: Ints, drawn_from: _DrawnFrom) -> Floats:
    """(B, K): of each item at its place, if so many places are explored."""
    places = columns.shape[1]
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, places + 1)))])

    def log_choose(a: Ints, b: Ints) -> Floats:
        """log C(a, b), minus infinity where there is no such choice."""
        fits = (b >= 0) & (b <= a)
        a, b = np.where(fits, a, 0), np.where(fits, b, 0)
        logs = log_factorials[a] - log_factorials[b] - log_factorials[a - b]
        return np.where(fits, logs, -np.inf)

    total, explored = n[:, None], drawn_from.n_explored[:, None]
    pool = drawn_from.pool
    p, j = np.arange(1, places + 1)[None, :], columns + 1
    best = np.exp(
        log_choose(np.broadcast_to(p - 1, j.shape), p - j)
        + log_choose(total - p, explored - p + j)
        - log_choose(total, explored)
    )
    below = explored / np.maximum(total * pool.sum(axis=1, keepdims=True), 1)
    below = below * np.take_along_axis(pool, np.maximum(columns, 0), axis=1)
    return np.where(j <= total - explored, best, below)


_COUNT = np.uint64(0xA0761D6478BD642F)
_PLACE = np.uint64(0xE7037ED1A0B428DB)
_LAST = np.uint64(2**64 - 1)


def _mixed(hashes: Hashes) -> Hashes:
    """Well mixed bits (SplitMix64: Steele, Lea and Flood, 2014)."""
    mixed = hashes + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Hashes = mixed ^ (mixed >> np.uint64(31))
    return result


def _uniform(hashes: Hashes) -> Floats:
    """From 0 to below 1."""
    uniform: Floats = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53
    return uniform


def _ranks(drawn: Hashes, is_place: Mask) -> Ints:
    """(B, K): the rank of each place among its user's, in the order of what was drawn."""
    order = np.lexsort((np.where(is_place, drawn, _LAST), ~is_place), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
    return ranks
