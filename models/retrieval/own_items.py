"""What users had, in the order in which they had it, and what came next.

Letters: U users, N entries of all of them, B ranges of entries, P entries of all ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.retrieval.histories import Histories
from models.retrieval.retrieval_model import entry_weights

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OwnItems:
    """Entries with a signal, by user, then by the day of the last one, then by item; those of user
    u are `starts[u]:starts[u + 1]`."""

    starts: Ints
    """(U + 1,)."""
    items: Ints
    """(N,): indices of items."""
    days: Ints
    """(N,): of the last signal, since 1970."""
    weights: Floats
    """(N,): halved by age."""
    is_owned: npt.NDArray[np.bool_]
    """(N,): whether the user has the item, rather than has seen it."""

    @classmethod
    def of(cls, histories: Histories, as_of_day: int) -> OwnItems:
        last = histories.entries["last_days"]
        kept = np.flatnonzero((last >= 0) & (histories.entries["blocked"] == 0))
        order = kept[np.lexsort((histories.items[kept], last[kept], histories.rows[kept]))]
        counts = np.bincount(histories.rows[kept], minlength=len(histories))
        return cls(
            np.concatenate([[0], np.cumsum(counts)]),
            histories.items[order].astype(np.int64),
            last[order],
            entry_weights(as_of_day - last[order]),
            histories.entries["owned"][order] > 0,
        )

    @property
    def rows(self) -> Ints:
        """(N,): of each entry the place of its user."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def before(self, most: int) -> Ranges:
        """(N,): of each entry those of the same user on earlier days, the latest `most` of them."""
        if not len(self.items):
            return Ranges(self.starts[:0], self.starts[:0])
        is_first = (np.diff(self.rows) != 0) | (np.diff(self.days) != 0)
        first = np.flatnonzero(np.append(True, is_first))
        ends = np.repeat(first, np.diff(np.append(first, len(self.items))))
        return Ranges(np.maximum(self.starts[:-1][self.rows], ends - most), ends)

    def latest(self, most: int) -> Ranges:
        """(U,): of each user all entries, the latest `most` of them."""
        ends = self.starts[1:]
        return Ranges(np.maximum(self.starts[:-1], ends - most), ends)

    def shares(self, ranges: Ranges) -> Floats:
        """(P,): what each entry of the ranges, none of them empty, weighs beside the others."""
        weights = self.weights[ranges.entries]
        if not len(weights):
            return weights
        totals = np.add.reduceat(weights, ranges.offsets[:-1])
        shares: Floats = weights / np.repeat(totals, ranges.lengths)
        return shares


@dataclass(frozen=True)
class Ranges:
    """(B,): ranges of entries."""

    starts: Ints
    ends: Ints

    def __getitem__(self, chosen: Ints) -> Ranges:
        return Ranges(self.starts[chosen], self.ends[chosen])

    @property
    def lengths(self) -> Ints:
        return self.ends - self.starts

    @property
    def offsets(self) -> Ints:
        """(B + 1,): where the entries of each begin among those of all."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def rows(self) -> Ints:
        """(P,): which range each entry is of."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)

    @property
    def entries(self) -> Ints:
        """(P,)."""
        offsets = self.offsets
        return np.arange(offsets[-1]) + np.repeat(self.starts - offsets[:-1], self.lengths)
