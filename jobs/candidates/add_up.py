"""Add up what reasons suggest to users: a sparse product by blocks of users, exact in any order.

Letters of shapes: U users, T tastes (pairs of a user and a reason), R reasons, E entries of the
reasons' lists, N distinct items, X pairs of a taste and an entry in a block of users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.candidates.arrow_lists import flat, numbers, one_array, starts

MAX_PAIRS = 2_000_000
"""Pairs of a taste and an entry that a block of users has, where one user alone has not more."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Lists:
    """What each reason suggests."""

    reasons: pa.StringArray
    """(R,), ascending."""
    names: pa.StringArray
    """(N,) ids of items, ascending."""
    starts: Integers
    """(R + 1,) where the entries of a reason begin."""
    items: Integers
    """(E,) numbers of items, ascending within a reason."""
    scores: Integers
    """(E,)"""

    @classmethod
    def of(cls, table: pa.Table) -> Lists:
        """From rows of `reason`, `item_ids` and `scores`."""
        table = table.combine_chunks()
        table = table.take(pc.sort_indices(table["reason"]))
        ids = flat(table["item_ids"])
        names = pc.unique(ids)
        names = names.take(pc.sort_indices(names))
        begin = starts(table["item_ids"])
        items = pc.index_in(ids, names).to_numpy(zero_copy_only=False).astype(np.int64)
        order = np.lexsort((items, np.repeat(np.arange(len(begin) - 1), np.diff(begin))))
        scores = flat(table["scores"]).to_numpy(zero_copy_only=False)
        reasons = one_array(table["reason"])
        return cls(reasons, names, begin, items[order], scores[order])


@dataclass(frozen=True)
class Tastes:
    """The reasons of each user."""

    users: pa.StringArray
    """(U,)"""
    starts: Integers
    """(U + 1,) where the reasons of a user begin."""
    reasons: Integers
    """(T,) numbers of reasons, ascending within a user; those that suggest nothing are gone."""
    weights: Integers
    """(T,)"""

    @classmethod
    def of(cls, table: pa.Table, lists: Lists) -> Tastes:
        """From rows of `user_key`, `reasons` and `weights`."""
        table = table.combine_chunks()
        begin = starts(table["reasons"])
        user = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
        reason = numbers(flat(table["reasons"]), lists.reasons)
        weights = flat(table["weights"]).to_numpy(zero_copy_only=False)
        known = np.flatnonzero(reason >= 0)
        order = known[np.lexsort((reason[known], user[known]))]
        begin = np.searchsorted(user[order], np.arange(len(begin)))
        return cls(one_array(table["user_key"]), begin, reason[order], weights[order])


def add_up(tastes: pa.Table, hidden: pa.Table, lists: pa.Table, n: int) -> pa.Table:
    """The best `n` items of each user who is suggested any.

    Args:
        tastes: one row per user, `user_key`, with the `reasons` and their `weights`.
        hidden: rows of `user_key` and `reasons`: ids of items that the user is not shown.
        lists: one row per `reason`, with `item_ids` and `scores`.

    Returns:
        `user_key`, `item_ids` from the best on (ties by id), `scores`, the sums of the products of
        weights and scores that are above 0, and `because`, the reason that adds most to each.
    """
    known = Lists.of(lists)
    liked = Tastes.of(tastes, known)
    gone = _hidden(liked.users, hidden.combine_chunks(), known.names)
    found = [np.stack(_best(liked, known, gone, *block, n)) for block in _blocks(liked, known)]
    user, item, score, reason = np.concatenate([np.empty((4, 0), np.int64), *found], axis=1)
    users, firsts = np.unique(user, return_index=True)
    offsets = pa.array(np.append(firsts, len(user)).astype(np.int32))
    return pa.table(
        {
            "user_key": liked.users.take(pa.array(users)),
            "item_ids": pa.ListArray.from_arrays(offsets, known.names.take(pa.array(item))),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(score)),
            "because": pa.ListArray.from_arrays(offsets, known.reasons.take(pa.array(reason))),
        }
    )


def _blocks(tastes: Tastes, lists: Lists) -> Iterator[tuple[int, int]]:
    """Ranges of users, each of about `MAX_PAIRS` pairs at most."""
    per_taste = np.diff(lists.starts)[tastes.reasons]
    until = np.append(0, np.cumsum(per_taste))[tastes.starts]
    first = 0
    while first < len(tastes.users):
        last = int(np.searchsorted(until, until[first] + MAX_PAIRS, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _best(
    tastes: Tastes, lists: Lists, hidden: Integers, first: int, last: int, n: int
) -> tuple[Integers, Integers, Integers, Integers]:
    """Of users `first` to `last`: user, item, score and reason of their best items, in order."""
    some = slice(tastes.starts[first], tastes.starts[last])
    reasons, weights = tastes.reasons[some], tastes.weights[some]
    user = np.repeat(np.arange(first, last), np.diff(tastes.starts[first : last + 1]))
    lengths = np.diff(lists.starts)[reasons]
    taste = np.repeat(np.arange(len(reasons)), lengths)  # (X,)
    within = np.arange(len(taste)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    entry = lists.starts[reasons[taste]] + within
    key = user[taste] * len(lists.names) + lists.items[entry]
    adds = weights[taste] * lists.scores[entry]
    # Sorting is stable and reasons ascend: of equal ones, the first in order is the first reason.
    order = np.argsort(key, kind="stable")
    key, adds, taste = key[order], adds[order], taste[order]
    groups = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else key
    score = np.add.reduceat(adds, groups) if len(key) else adds
    pair = key[groups]
    seen = np.flatnonzero((score > 0) & ~_among(pair, hidden))
    user, item = np.divmod(pair[seen], max(len(lists.names), 1))
    rank = np.lexsort((item, -score[seen], user))
    user = user[rank]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    kept = seen[rank[place < n]]
    most = _first_greatest(adds, groups, kept)
    user, item = np.divmod(pair[kept], max(len(lists.names), 1))
    return user, item, score[kept], reasons[taste[most]]


def _first_greatest(values: Integers, begin: Integers, groups: Integers) -> Integers:
    """Where in `values` the first of the greatest of each of some groups stands."""
    if not len(values):
        return values
    group = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(values))))
    greatest = np.flatnonzero(values == np.maximum.reduceat(values, begin)[group])
    return greatest[np.searchsorted(group[greatest], groups)]


def _hidden(users: pa.StringArray, hidden: pa.Table, names: pa.StringArray) -> Integers:
    """Pairs of user and item that are not shown, ascending: hidden ones, and users themselves."""
    row = np.repeat(np.arange(len(hidden)), np.diff(starts(hidden["reasons"])))
    user = numbers(one_array(hidden["user_key"]), users)[row]
    item = numbers(flat(hidden["reasons"]), names)
    user = np.concatenate([user, np.arange(len(users))])
    item = np.concatenate([item, numbers(users, names)])
    both = (user >= 0) & (item >= 0)
    return np.unique(user[both] * len(names) + item[both])


def _among(values: Integers, ascending: Integers) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(values), bool)
    at = np.searchsorted(ascending, values)
    return ascending[np.minimum(at, len(ascending) - 1)] == values
