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

from jobs.candidates.arrow_lists import flat, numbers, one_array, starts
from jobs.candidates.fixed_point import Integers, firsts, starts_of

MAX_PAIRS = 2_000_000
"""Pairs of a taste and an entry that a block of users has, where one user alone has not more."""


@dataclass(frozen=True)
class Lists:
    """What each reason suggests."""

    n_items: int
    """N"""
    starts: Integers
    """(R + 1,) where the entries of a reason begin."""
    items: Integers
    """(E,) numbers of items; pairs are added up sooner where they ascend within a reason."""
    scores: Integers
    """(E,)"""


@dataclass(frozen=True)
class Tastes:
    """The reasons of each user."""

    starts: Integers
    """(U + 1,) where the reasons of a user begin."""
    reasons: Integers
    """(T,) numbers of reasons, ascending within a user."""
    weights: Integers
    """(T,)"""


def add_up(tastes: pa.Table, hidden: pa.Table, lists: pa.Table, n: int) -> pa.Table:
    """The best `n` items of each user who is suggested any.

    Args:
        tastes: one row per user, `key`, with reasons as `ids`, and their weights as `amounts`.
        hidden: rows of users, `key`, and `ids` of items that the user is not shown.
        lists: one row per reason, `key`, with items as `ids`, and their scores as `amounts`.

    Returns:
        `user_key`, `item_ids` from the best on (ties by id), `scores`, the sums of the products of
        weights and scores that are above 0, and `because`, the reason that adds most to each.
    """
    reasons, names, of_reasons = _lists(lists)
    users = one_array(tastes["key"])
    gone = _hidden(users, hidden, names)
    user, item, score, reason = best_sums(_tastes(tastes, reasons), of_reasons, gone, n)
    shown, begin = np.unique(user, return_index=True)
    offsets = pa.array(np.append(begin, len(user)).astype(np.int32))
    return pa.table(
        {
            "user_key": users.take(pa.array(shown)),
            "item_ids": pa.ListArray.from_arrays(offsets, names.take(pa.array(item))),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(score)),
            "because": pa.ListArray.from_arrays(offsets, reasons.take(pa.array(reason))),
        }
    )


def _lists(table: pa.Table) -> tuple[pa.StringArray, pa.StringArray, Lists]:
    """The reasons, the items, and what reasons suggest; ids ascend."""
    table = table.combine_chunks()
    table = table.take(pc.sort_indices(table["key"]))
    ids = flat(table["ids"])
    names = pc.unique(ids)
    names = names.take(pc.sort_indices(names))
    scores = flat(table["amounts"]).to_numpy(zero_copy_only=False)
    begin, items = starts(table["ids"]), numbers(ids, names)
    order = np.lexsort((items, np.repeat(np.arange(len(begin) - 1), np.diff(begin))))
    lists = Lists(len(names), begin, items[order], scores[order])
    return one_array(table["key"]), names, lists


def _tastes(table: pa.Table, reasons: pa.StringArray) -> Tastes:
    """The reasons of users; those that suggest nothing are gone."""
    begin = starts(table["ids"])
    user = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
    reason = numbers(flat(table["ids"]), reasons)
    weights = flat(table["amounts"]).to_numpy(zero_copy_only=False)
    known = np.flatnonzero(reason >= 0)
    order = known[np.lexsort((reason[known], user[known]))]
    begin = np.searchsorted(user[order], np.arange(len(begin)))
    return Tastes(begin, reason[order], weights[order])


def best_sums(
    tastes: Tastes, lists: Lists, hidden: Integers, n: int
) -> tuple[Integers, Integers, Integers, Integers]:
    """The best `n` items of each user, the best first: user, item, the sum of products, which is
    above 0, and the reason that adds most to it.

    `hidden` has pairs of user and item that are left out, as user times N plus item, ascending.
    """
    best = [np.stack(_best(tastes, lists, hidden, *block, n)) for block in _blocks(tastes, lists)]
    user, item, score, reason = np.concatenate([np.empty((4, 0), np.int64), *best], axis=1)
    return user, item, score, reason


def _blocks(tastes: Tastes, lists: Lists) -> Iterator[tuple[int, int]]:
    """Ranges of users, each of about `MAX_PAIRS` pairs at most."""
    per_taste, n_users = np.diff(lists.starts)[tastes.reasons], len(tastes.starts) - 1
    until = np.append(0, np.cumsum(per_taste))[tastes.starts]
    first = 0
    while first < n_users:
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
    key = user[taste] * lists.n_items + lists.items[entry]
    adds = weights[taste] * lists.scores[entry]
    # Sorting is stable and reasons ascend: of equal ones, the first in order is the first reason.
    order = np.argsort(key, kind="stable")
    key, adds, taste = key[order], adds[order], taste[order]
    groups = starts_of(key)
    score = np.add.reduceat(adds, groups) if len(key) else adds
    pair = key[groups]
    is_shown = score > 0
    is_shown[_where_among(pair, hidden)] = False
    seen = np.flatnonzero(is_shown)
    # Pairs ascend, so that of equal scores the first item stands first.
    kept = seen[firsts(pair[seen] // max(lists.n_items, 1), (-score[seen],), n)]
    most = _first_greatest(adds, groups, kept)
    user, item = np.divmod(pair[kept], max(lists.n_items, 1))
    return user, item, score[kept], reasons[taste[most]]


def _where_among(ascending: Integers, values: Integers) -> Integers:
    """Where in `ascending`, without repeats, those of `values` stand that are there."""
    if not len(ascending):
        return ascending
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return at[ascending[at] == values]


def _first_greatest(values: Integers, begin: Integers, groups: Integers) -> Integers:
    """Where in `values` the first of the greatest of each of some groups stands."""
    if not len(values):
        return values
    group = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(values))))
    greatest = np.flatnonzero(values == np.maximum.reduceat(values, begin)[group])
    return greatest[np.searchsorted(group[greatest], groups)]


def _hidden(users: pa.StringArray, hidden: pa.Table, names: pa.StringArray) -> Integers:
    """Pairs of user and item that are not shown, ascending: hidden ones, and users themselves."""
    row = np.repeat(np.arange(len(hidden)), np.diff(starts(hidden["ids"])))
    user = numbers(one_array(hidden["key"]), users)[row]
    item = numbers(flat(hidden["ids"]), names)
    user = np.concatenate([user, np.arange(len(users))])
    item = np.concatenate([item, numbers(users, names)])
    both = (user >= 0) & (item >= 0)
    return np.unique(user[both] * len(names) + item[both])
