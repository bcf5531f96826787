"""What the item tower is told of items, as numbers.

Letters: I items, A ages in days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from models.data.label_layout import as_numpy
from models.retrieval.own_items import OwnItems

MIN_ENTRIES = 3
"""Entries of histories that an item or an author must have for a vector of its own."""
MAX_KNOWN = 50_000
"""Items, and authors, with a vector of their own, at most: those with most entries."""
HALF_LIFE = 90
"""Days after which somebody who had an item counts half as much for how popular it is."""
SMOOTHING = 5
"""Entries that an item is taken to have besides, as many as the mean item of its age has."""
MAX_AGE = 4096
"""Days; what is older counts as old."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ItemInputs:
    """Codes are 0 where there is none, and are the same whatever order files have."""

    ids: Tensor
    """(I,): codes of items with a vector of their own."""
    categories: Tensor
    """(I,): codes."""
    authors: Tensor
    """(I,): codes of authors with a vector of their own."""
    numbers: Tensor
    """(I, 3): price, its square, and whether it is known."""
    popularity: Tensor
    """(I,): logarithm of how many had the item, beside the mean of items of its age."""
    first_days: Ints
    """(I,): since 1970."""

    @classmethod
    def of(cls, items: pa.Table, own: OwnItems, as_of_day: int) -> ItemInputs:
        """Of rows of `rec_items`."""
        n_items = items.num_rows
        n_entries = np.bincount(own.items, minlength=n_items)
        first_days = as_numpy(items["first_day"]).astype(np.int64)
        return cls(
            torch.from_numpy(_with_most(np.arange(1, n_items + 1), n_entries)),
            torch.from_numpy(_codes(items["category_id"])),
            torch.from_numpy(_with_most(_codes(items["author_key"]), n_entries)),
            torch.from_numpy(_prices(items["price_minor"])),
            torch.from_numpy(_popularity(own, first_days, as_of_day)),
            first_days,
        )


def liking(own: OwnItems, as_of_day: int) -> Doubles:
    """(N,): how much each entry says of what is liked now: less for having seen an item than for
    having it, where there are any who have."""
    is_more = own.is_owned if own.is_owned.any() else True
    strength = np.where(is_more, 1.0, SEEN)
    weights: Doubles = strength * 2.0 ** (-(as_of_day - own.days) / HALF_LIFE)
    return weights


SEEN = 0.1
"""What having seen an item counts beside having it."""


def of_ages(ages: Ints) -> Floats:
    """(3, ...): what ages in days weigh with in a score: a curve over their logarithm, and a step
    for what is of yesterday."""
    return _OF_AGES.take(ages.clip(0, MAX_AGE - 1), axis=1)


_LOGS = np.log2(np.arange(MAX_AGE) + 1)
_OF_AGES = np.stack([_LOGS / 2, _LOGS**2 / 24, 4 / (1 + np.arange(MAX_AGE))]).astype(np.float32)


def _popularity(own: OwnItems, first_days: Ints, as_of_day: int) -> Floats:
    """Of an item that is new nothing is known yet: it counts as the mean one."""
    had = np.bincount(own.items, liking(own, as_of_day), len(first_days))
    exposed = 1 - 2.0 ** (-np.maximum(as_of_day - first_days, 0) / HALF_LIFE)
    expected = exposed * (had.sum() / max(exposed.sum(), 1e-9))
    return np.log((had + SMOOTHING) / (expected + SMOOTHING)).astype(np.float32)


def _codes(column: pa.ChunkedArray) -> Ints:
    """(I,): from 1 on, in the order of the texts; 0 of null."""
    different = pc.unique(column).drop_null().sort()
    at = pc.index_in(column, value_set=different)
    return as_numpy(pc.fill_null(at, -1)).astype(np.int64) + 1


def _with_most(codes: Ints, n_entries: Ints) -> Ints:
    """(I,): the codes, from 1 on, of those alone that have enough entries."""
    n = np.bincount(codes, n_entries, int(codes.max(initial=0)) + 1)
    n[0] = 0
    known = np.flatnonzero(n >= MIN_ENTRIES)
    known = np.sort(known[np.argsort(-n[known], kind="stable")[:MAX_KNOWN]])
    renamed = np.zeros(len(n), np.int64)
    renamed[known] = np.arange(1, len(known) + 1)
    return renamed[codes]


def _prices(column: pa.ChunkedArray) -> Floats:
    logs = np.log1p(as_numpy(pc.cast(column, pa.float64())).astype(np.float64))
    known = ~np.isnan(logs)
    spread = max(float(logs[known].std()), 1e-6) if known.any() else 1.0
    mean = float(logs[known].mean()) if known.any() else 0.0
    scaled = np.where(known, (np.where(known, logs, 0) - mean) / spread, 0).clip(-3, 3)
    return np.stack([scaled, scaled**2 / 3, known], axis=1).astype(np.float32)
