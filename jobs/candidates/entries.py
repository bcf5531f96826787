"""Rows of `rec_histories` and `rec_items` as columns of NumPy arrays.

Letters of shapes: U users, E entries of all of their arrays, N items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.candidates.arrow_lists import flat, numbers, one_array, starts
from jobs.candidates.fixed_point import Integers, firsts

_OF_USERS = ("signals", "n_days", "last_days", "gaps", "owned", "blocked")
ARRAYS = ("item_ids", *_OF_USERS)
"""Arrays of `rec_histories` that candidates are counted from."""
ITEM_COLUMNS = (
    "item_id", "available", "category_id", "author_key", "first_day", "n_users_30d",
    "popularity_10d",
)  # fmt: skip
"""Columns of `rec_items` that candidates are counted from."""


@dataclass(frozen=True)
class Entries:
    """What users have to do with items."""

    users: pa.StringArray
    """(U,)"""
    user: Integers
    """(E,) ascending."""
    ids: pa.StringArray
    """(E,) ids of the items, ascending within a user."""
    signals: Integers
    n_days: Integers
    last_days: Integers
    gaps: Integers
    owned: Integers
    blocked: Integers
    """(E,) each, as in `rec_histories`."""

    @classmethod
    def of(cls, table: pa.Table) -> Entries:
        """From rows of `user_key` and `ARRAYS`."""
        begin = starts(table["item_ids"])
        return cls(
            one_array(table["user_key"]),
            np.repeat(np.arange(len(begin) - 1), np.diff(begin)),
            flat(table["item_ids"]),
            *(
                flat(table[name]).to_numpy(zero_copy_only=False).astype(np.int64)
                for name in _OF_USERS
            ),
        )

    def strongest(self, among: NDArray[np.bool_], n: int) -> Integers:
        """Where the `n` entries of the strongest decayed signals of each user stand, of some; the
        strongest first, ties by id."""
        some = np.flatnonzero(among)
        return some[firsts(self.user[some], (-self.signals[some],), n)]

    @property
    def liked(self) -> NDArray[np.bool_]:
        """Those with a signal, (E,); what is blocked has none."""
        return self.signals > 0


@dataclass(frozen=True)
class Catalogue:
    """What a surface can recommend."""

    ids: pa.StringArray
    """(N,) ascending."""
    available: NDArray[np.bool_]
    categories: pa.StringArray
    """Distinct ones, ascending."""
    category: Integers
    """(N,) which of `categories` it is of; -1: of none."""
    authors: pa.StringArray
    """Distinct ones, ascending."""
    author: Integers
    """(N,) by which of `authors` it is; -1: by none."""
    first_day: Integers
    n_users_30d: Integers
    popularity_10d: Integers
    """(N,) each, as in `rec_items`."""

    @classmethod
    def of(cls, table: pa.Table) -> Catalogue:
        """From rows of `ITEM_COLUMNS`."""
        table = table.combine_chunks()
        table = table.take(pc.sort_indices(table["item_id"]))
        categories, authors = (_distinct(table[name]) for name in ("category_id", "author_key"))
        return cls(
            one_array(table["item_id"]),
            one_array(table["available"]).to_numpy(zero_copy_only=False).astype(bool),
            categories,
            numbers(one_array(table["category_id"]), categories),
            authors,
            numbers(one_array(table["author_key"]), authors),
            *(
                one_array(table[name]).to_numpy(zero_copy_only=False).astype(np.int64)
                for name in ("first_day", "n_users_30d", "popularity_10d")
            ),
        )

    @property
    def unavailable(self) -> pa.StringArray:
        """What may not be shown; ascending."""
        return self.ids.filter(pa.array(~self.available))

    def numbers_of(self, ids: pa.StringArray) -> Integers:
        """Where in `ids` each stands; -1 for what is not in the catalogue."""
        return numbers(ids, self.ids)

    def can_show(self, item: Integers) -> NDArray[np.bool_]:
        """Whether each of some numbers is of an item that may be shown."""
        shown = np.append(self.available, False)
        return shown[item]


def _distinct(column: pa.ChunkedArray) -> pa.StringArray:
    values = pc.unique(one_array(column)).drop_null()
    return values.take(pc.sort_indices(values))
