"""What a sweep over as-of days keeps up to date, part by part.

Letters: U users, M measures, W windows, E events, P pairs of a user and a thing. Users are numbered
in the order of their keys. A row *enters* at the first of the days, by its place, that may see it.
Every part has `advance(k)`, which brings it from the day before to the one at place `k`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NEVER = -(10**7)
"""Days since 1970 before every date: it has not happened."""


class Buckets:
    """Places of rows, grouped by the day at which something happens to them."""

    def __init__(self, at: Ints, n_days: int):
        self._order = np.argsort(at, kind="stable")
        self._bounds = np.searchsorted(at[self._order], np.arange(n_days + 1))

    def __getitem__(self, k: int) -> Ints:
        return self._order[self._bounds[k] : self._bounds[k + 1]]


class Sums:
    """Sums over windows and all time, (W + 1, M * U): all time is the last."""

    def __init__(
        self, life: Ints, days: Ints, windows: tuple[int, ...], cell: Ints, value: Ints,
        day: Ints, enters: Ints, is_new: Flags,
    ):  # fmt: skip
        """`cell` is where in (M * U) a value belongs; what is not new is in `life` already."""
        n = len(days)
        self._cell, self._value = cell, value
        self.values = np.zeros((len(windows) + 1, len(life)), np.int64)
        self.values[-1] = life
        self._enter_all = Buckets(np.where(is_new, enters, n), n)
        self._enter, self._leave = [], []
        for window in windows:
            leaves = np.searchsorted(days, day + window, side="right")
            inside = enters < leaves
            self._enter.append(Buckets(np.where(inside, enters, n), n))
            self._leave.append(Buckets(np.where(inside, leaves, n), n))

    def advance(self, k: int) -> None:
        for values, enter, leave in zip(self.values, self._enter, self._leave, strict=False):
            rows = enter[k]
            np.add.at(values, self._cell[rows], self._value[rows])
            rows = leave[k]
            np.subtract.at(values, self._cell[rows], self._value[rows])
        rows = self._enter_all[k]
        np.add.at(self.values[-1], self._cell[rows], self._value[rows])


class Maxima:
    """The largest over windows and all time, (W + 1, M * U): none of them can be undone, so
    each day looks at all that is in its windows. Few values are."""

    def __init__(
        self, life: Ints, days: Ints, windows: tuple[int, ...], cell: Ints, value: Ints,
        day: Ints, enters: Ints,
    ):  # fmt: skip
        order = np.argsort(enters, kind="stable")
        self._cell, self._value, self._day = cell[order], value[order], day[order]
        self._bounds = np.searchsorted(enters[order], np.arange(len(days)), side="right")
        self._days, self._windows = days, windows
        self.values = np.zeros((len(windows) + 1, len(life)), np.int64)
        self.values[-1] = life
        self._done = 0

    def advance(self, k: int) -> None:
        end = self._bounds[k]
        new = slice(self._done, end)
        np.maximum.at(self.values[-1], self._cell[new], self._value[new])
        self._done = end
        age = self._days[k] - self._day[:end]
        for values, window in zip(self.values, self._windows, strict=False):
            values[:] = 0
            inside = age <= window
            np.maximum.at(values, self._cell[:end][inside], self._value[:end][inside])


class Pairs:
    """When a user last met a thing, for exact distinct counts: (P,)."""

    def __init__(self, user: Ints, thing: Ints, n_things: int, day: Ints, enters: Ints, n: int):
        keys, self._pair = np.unique(user * max(n_things, 1) + thing, return_inverse=True)
        self.user, self.thing = np.divmod(keys, max(n_things, 1))
        self.last = np.full(len(keys), NEVER, np.int64)
        self._day, self._enter = day, Buckets(enters, n)

    def advance(self, k: int) -> None:
        rows = self._enter[k]
        np.maximum.at(self.last, self._pair[rows], self._day[rows])


def distinct(user: Ints, last: Ints, day: int, windows: tuple[int, ...], n_users: int) -> Ints:
    """How many of a user's pairs were met within each window before `day`: (W, U)."""
    return np.stack(
        [np.bincount(user[last >= day - w], minlength=n_users).astype(np.int64) for w in windows]
    )


class Categories:
    """Distinct categories of the items met, under the categories as of each day."""

    def __init__(self, pairs: Pairs, item: Ints):
        """`item` is each pair's item in the table of items, -1 if it is not there."""
        self._pairs, self._item = pairs, item
        self._of_items: Ints | None = None

    def counts(
        self, of_items: Ints, n: int, day: int, windows: tuple[int, ...], n_users: int
    ) -> Ints:
        """`of_items` is the category of each item as of `day`, below `n`; -1 is none. (W, U)."""
        if self._of_items is None or not np.array_equal(self._of_items, of_items):
            self._of_items = of_items
            category = np.full(len(self._item), -1, np.int64)
            is_item = self._item >= 0
            category[is_item] = of_items[self._item[is_item]]
            rows = np.flatnonzero(category >= 0)
            keys = self._pairs.user[rows] * n + category[rows]
            order = np.argsort(keys, kind="stable")
            self._rows, keys = rows[order], keys[order]
            self._starts = np.flatnonzero(np.diff(keys, prepend=-1))
            self._user = keys[self._starts] // n
        if not len(self._starts):
            return np.zeros((len(windows), n_users), np.int64)
        last = np.maximum.reduceat(self._pairs.last[self._rows], self._starts)
        return distinct(self._user, last, day, windows, n_users)


@dataclass(frozen=True)
class Newest:
    """Rows in order of user and time, and how many each user has: (U,)."""

    rows: Ints
    counts: Ints


class LastRows:
    """The newest rows of each user, by time: rows come sorted by user, then time."""

    def __init__(self, user: Ints, enters: Ints, n_users: int, keep: int):
        self.rows = np.arange(len(user))
        self._user, self._enters, self._n_users, self._keep = user, enters, n_users, keep

    def at(self, k: int, among: Flags | None = None) -> Newest:
        """Those that day `k` sees; `among` says which rows still count."""
        user = self._user[self.rows]
        entered = self._enters[self.rows] <= k
        seen = entered if among is None else entered & among[self.rows]
        running = np.cumsum(seen)
        totals = np.bincount(user[seen], minlength=self._n_users)
        ends = np.cumsum(totals)
        kept = seen & (ends[user] - running < self._keep)
        newest = self.rows[kept]
        counts = np.minimum(totals, self._keep)
        if among is None:  # what newer rows have pushed out never comes back
            left = kept | ~entered
            if left.sum() < 0.7 * len(left):
                self.rows = self.rows[left]
        return Newest(newest, counts)


class Moments:
    """Days of first and last things, (moments, U): minima of first ones, maxima of last ones."""

    def __init__(self, values: Ints, first: Sequence[bool]):
        self.values = values  # NEVER where it has not happened
        self._first = first

    def happened(self, moment: int, user: Ints, day: Ints) -> None:
        values = self.values[moment]
        if not self._first[moment]:
            np.maximum.at(values, user, day)
            return
        values[values == NEVER] = -NEVER
        np.minimum.at(values, user, day)
        values[values == -NEVER] = NEVER


class RecentItems:
    """Distinct items among each user's newest events, brought up to date where events came."""

    def __init__(self, n_users: int):
        self._user = np.zeros(0, np.int64)
        self._item = np.zeros(0, np.int64)
        self.last = np.full(n_users, -1, np.int64)
        """The item of the newest event with one; -1 without."""

    def advance(self, changed: Flags, user: Ints, item: Ints, n_items: int) -> tuple[Ints, Ints]:
        """User and item of each distinct pair; `user` and `item` are those of all newest events.

        `changed` (U,) says whose events are others than the day before.
        """
        theirs = changed[user] & (item >= 0)
        self.last[changed] = -1
        self.last[user[theirs]] = item[theirs]  # of several the last stays
        keys = np.unique(user[theirs] * n_items + item[theirs])
        new_user, new_item = np.divmod(keys, n_items)
        old = ~changed[self._user]
        self._user = np.concatenate([self._user[old], new_user])
        self._item = np.concatenate([self._item[old], new_item])
        return self._user, self._item


def summed(index: Ints, values: Ints, n: int) -> Ints:
    """Values added up by index; exact, because they stay below 2**53."""
    return np.bincount(index, weights=values, minlength=n).astype(np.int64)
