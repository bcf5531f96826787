"""The rows that one task of a sweep is given, by what they are, as NumPy arrays.

`one_pass_rows.py` makes them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.one_pass.running_aggregates import Ints

KINDS = range(11)
STATE, EVENT_ROW, TILE, THING, FIRST_MET, USER, POST, GRAPH_ROW, ITEM, CATEGORY, WORD = KINDS
"""What a row is."""


class Rows:
    """One task's rows by what they are, with users numbered in the order of their keys."""

    def __init__(self, rows: pa.Table, days: Ints):
        self.days = days
        kinds = rows["what"].to_numpy()
        self._of = {kind: rows.filter(pa.array(kinds == kind)) for kind in KINDS}
        keys = pc.unique(rows["user_key"].drop_null())
        if isinstance(keys, pa.ChunkedArray):
            keys = keys.combine_chunks()
        self.keys = keys.take(pc.sort_indices(keys))
        self.n_users = len(self.keys)

    def of(self, kind: int) -> pa.Table:
        return self._of[kind]

    def users(self, kind: int) -> Ints:
        return codes(self._of[kind]["user_key"], self.keys)

    def ints(self, kind: int, name: str) -> Ints:
        return self._of[kind][name].to_numpy().astype(np.int64)

    def enters(self, kind: int) -> Ints:
        """The place of the first day that may see each row."""
        return np.searchsorted(self.days, self.ints(kind, "known") + 1).astype(np.int64)

    def matrix(self, kind: int, width: int) -> Ints:
        """The column `numbers`, (rows, width)."""
        flat = self._of[kind]["numbers"].combine_chunks().flatten()
        return flat.to_numpy(zero_copy_only=False).astype(np.int64).reshape(-1, width)


def codes(values: pa.ChunkedArray, among: pa.Array) -> Ints:
    """The place of each value in `among`; -1 for nulls and what is not there."""
    places = pc.index_in(values, value_set=among, skip_nulls=True).fill_null(-1)
    return places.to_numpy().astype(np.int64)


def whole_numbers(column: pa.Array) -> Ints:
    """A column without nulls as an array."""
    return column.to_numpy(zero_copy_only=False).astype(np.int64)


def by_time(user: Ints, micros: Ints, rows: pa.Table, then: tuple[str, ...]) -> Ints:
    """The order by user, time, and for the few that share both, the columns of `then`."""
    order = np.lexsort((micros, user))
    u, t = user[order], micros[order]
    same = (u[1:] == u[:-1]) & (t[1:] == t[:-1])
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    if not tied.any():
        return order
    at = order[tied]
    columns = [rows[name].take(pa.array(at)).to_pylist() for name in then]
    ranked = sorted(range(len(at)), key=lambda i: tuple(c[i] for c in columns))
    rank = np.zeros(len(order), np.int64)
    rank[at[ranked]] = np.arange(len(at))
    return np.lexsort((rank, micros, user))
