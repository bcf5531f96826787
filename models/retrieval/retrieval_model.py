"""What models that retrieve candidates are fitted on, and what they give users.

Letters: U users, I items, N entries of histories, k candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from contracts.days import EPOCH
from contracts.ranking_config import RankingConfig
from contracts.surfaces import Surface
from models.data.label_layout import as_numpy
from models.retrieval.exact_search import Best
from models.retrieval.histories import Histories

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ENTRIES = ("signals", "last_days", "owned", "blocked")
"""Columns of entries of histories that models and what is hidden from users are made of."""
HALF_LIFE = 90
"""Days after which an entry weighs half as much, down to `LEAST_WEIGHT`."""
LEAST_WEIGHT = 0.01


class LeftOut(Exception):
    """Why a source gives no candidates."""


@dataclass(frozen=True)
class SurfaceDay:
    """What a surface can show as of a day, and the histories that models learn from."""

    surface: Surface
    as_of: date
    items: pa.Table
    """(I,): rows of `rec_items`."""
    histories: Histories
    config: RankingConfig

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """(U, I): the weights of what the users had to do with."""
        return weights(self.histories, self.items.num_rows, self.as_of)

    @cached_property
    def unavailable(self) -> Ints:
        """Items that may not be shown."""
        return np.flatnonzero(~as_numpy(self.items["available"]).astype(bool))


def weights(histories: Histories, n_items: int, as_of: date) -> sparse.csr_array:
    """(U, I): of each entry with a signal a weight up to 1, by the age of the last one; 1 where its
    time is not known. What a user has blocked is no taste of theirs, and explains nothing."""
    last_days = histories.entries["last_days"]
    has_day = last_days >= 0
    has_signal = has_day | (histories.entries["signals"] > 0)
    has_signal &= histories.entries["blocked"] == 0
    age = np.where(has_day, (as_of - EPOCH).days - last_days, 0)[has_signal]
    values = entry_weights(age)
    starts = np.concatenate([[0], np.cumsum(has_signal)])[histories.starts]
    shape = (len(histories), n_items)
    return sparse.csr_array((values, histories.items[has_signal], starts), shape=shape)


def entry_weights(ages: Ints) -> Floats:
    """(N,): what entries weigh, up to 1, by the days since the last signal."""
    return np.maximum(2.0 ** (-ages / HALF_LIFE), LEAST_WEIGHT).astype(np.float32)


@dataclass(frozen=True)
class Candidates:
    """What a source gives users."""

    best: Best
    because: Ints
    """(U, k): of each candidate the own item that explains it most; -1: none does."""

    @classmethod
    def of_some(cls, users: Ints, best: Best, because: Ints, n_users: int) -> Candidates:
        """Of `users` among `n_users`, of whom the others get nothing."""
        shape = (n_users, best.items.shape[1])
        spread = cls(
            Best(np.full(shape, -1), np.full(shape, -np.inf, np.float32)), np.full(shape, -1)
        )
        spread.best.items[users] = best.items
        spread.best.scores[users] = best.scores
        spread.because[users] = because
        return spread


class RetrievalModel(Protocol):
    """A fitted model."""

    def candidates(self, histories: Histories, hidden: sparse.csr_array) -> Candidates:
        """The best items for users but those that are `hidden` (U, I) from them; none for users of
        whom it knows nothing."""
