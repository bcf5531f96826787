"""How good ranked lists are, beside what then turned out to be relevant.

Gain is binary. Letters: U users, K places of a list, I items of the catalogue, R pairs of a user
and an item that was relevant to them. Users and items are numbers from 0; a place without an item
holds `NO_ITEM`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NO_ITEM = -1
RESAMPLES = 2000
"""Resampled sets of users, of an interval."""


def is_pair(rows: Array, places: Array, users: Array, items: Array, n_items: int) -> Array:
    """Of users `rows` and items `places`, broadcast against each other, whether they are one of the
    pairs of `users` and `items` (R,); `NO_ITEM` never is."""
    pairs = np.sort(users.astype(np.int64) * n_items + items)
    asked = np.where(places == NO_ITEM, -1, rows.astype(np.int64) * n_items + places)
    if not len(pairs):
        return np.zeros(asked.shape, dtype=bool)
    at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    is_one: Array = pairs[at] == asked
    return is_one


def hits(lists: Array, users: Array, items: Array, n_items: int) -> Array:
    """(U, K) whether what stands at each place of lists (U, K) was relevant, given the pairs (R,)
    of `users` and `items` that were, each once."""
    return is_pair(np.arange(len(lists))[:, None], lists, users, items, n_items)


def n_relevant(users: Array, n_users: int) -> Array:
    """(U,) items relevant to each user, given the users (R,) of the pairs."""
    return np.bincount(users, minlength=n_users)


def ndcg(hit: Array, relevant: Array, k: int = 10) -> Array:
    """(U,) discounted cumulative gain of the first k places of hits (U, K), as a share of that of
    the best list there could be: one that has min(n, k) of the n items relevant to a user (U,)
    first. Users without any have no figure: nan (Järvelin and Kekäläinen, 2002)."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    first = hit[:, :k]
    gained = first @ discounts[: first.shape[1]]
    ideal = np.concatenate([[np.nan], discounts.cumsum()])[np.minimum(relevant, k)]
    result: Array = gained / ideal
    return result


def recall(hit: Array, relevant: Array, k: int = 20) -> Array:
    """(U,) share of a user's relevant items (U,) that the first k places of hits (U, K) have; nan
    of users without any."""
    share: Array = hit[:, :k].sum(axis=1) / np.where(relevant == 0, np.nan, relevant)
    return share


def hit_rate(hit: Array, k: int = 10) -> Array:
    """(U,) whether the first k places of hits (U, K) have a relevant item, as 0 or 1."""
    is_hit: Array = np.any(hit[:, :k], axis=1).astype(np.float64)
    return is_hit


def coverage(lists: Array, n_items: int, k: int = 10) -> float:
    """Share of the catalogue that is in the first k places of some list (U, K)."""
    return len(_shown(lists, k).nonzero()[0]) / n_items if n_items else 0.0


def numbered_among(lists: Array, of: Array) -> Array:
    """(U, K) the items of lists (U, K) as numbers from 0 among those of a mask (I,); `NO_ITEM`
    where there is none, or another."""
    number = np.where(of, np.cumsum(of) - 1, NO_ITEM)
    is_item = lists != NO_ITEM
    numbered = np.full(lists.shape, NO_ITEM, dtype=np.int64)
    numbered[is_item] = number[lists[is_item]]
    return numbered


def novelty(lists: Array, n_had: Array, n_users: int, k: int = 10) -> Array:
    """(U,) mean over the first k places of lists (U, K) of -log2 of the share of `n_users` who had
    the item before, given how many had each (I,); what nobody had counts as had by one. nan of
    empty lists (Vargas and Castells, 2011)."""
    surprise = -np.log2(np.maximum(n_had, 1) / max(n_users, 1))
    return _mean_of_places(lists[:, :k], surprise)


def share_new(lists: Array, is_new: Array, k: int = 10) -> Array:
    """(U,) share of new items (I,) among the first k places of lists (U, K); nan of empty lists."""
    return _mean_of_places(lists[:, :k], is_new.astype(np.float64))


def gini(lists: Array, n_items: int, k: int = 10) -> float:
    """How unevenly the first k places of lists (U, K) are shared out over the catalogue: 0 where
    every item has as many, towards 1 where one has all."""
    counts = np.sort(_shown(lists, k, n_items))
    total = counts.sum()
    if not total:
        return 0.0
    order = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((order * counts).sum() / (n_items * total))


def interval(values: Array, users: Array | None = None, seed: int = 0) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the mean of values (N,) over resampled users.

    `users` (N,) says whose each value is where users have several: a user is drawn with all of
    them. Of a difference between two methods on the same users it is the paired interval. Only how
    often each different value is drawn matters, which makes one multinomial draw of each sample.
    """
    if not len(values):
        return (float("nan"), float("nan"))
    of = np.arange(len(values)) if users is None else np.unique(users, return_inverse=True)[1]
    sums, counts = np.bincount(of, weights=values), np.bincount(of)
    different, n_each = np.unique(np.stack([sums, counts], axis=1), axis=0, return_counts=True)
    n = int(n_each.sum())
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.multinomial(n, n_each / n) @ different for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


def _shown(lists: Array, k: int, n_items: int = 0) -> Array:
    """(I,) how often each item stands in the first k places."""
    first = lists[:, :k]
    return np.bincount(first[first != NO_ITEM], minlength=n_items)


def _mean_of_places(first: Array, values: Array) -> Array:
    is_item = first != NO_ITEM
    n = is_item.sum(axis=1)
    total = np.where(is_item, values[np.where(is_item, first, 0)], 0.0).sum(axis=1)
    mean: Array = total / np.where(n == 0, np.nan, n)
    return mean
