"""What goes together with what the user had: decayed co-occurrence of items within users."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from contracts.recommendation_tables import NO_SUCH_DAY
from jobs.candidates.entries import Catalogue, Entries
from jobs.candidates.fixed_point import ONE, Integers, fixed
from jobs.candidates.neighbours import STRENGTH_UNIT, most_similar, pair_sums
from jobs.candidates.step_rows import LISTS, PAIRS, TASTES, World, grouped, step_rows

HALF_AGE = 30
"""Days after which a last signal counts half as much in a pair."""

SOURCE = "together"


def together(
    world: World, entries: Entries, catalogue: Catalogue, n_parts: int, n: int
) -> list[pa.Table]:
    """The `n` items of each user that count, those of the strongest decayed signals, and how often
    items are together.

    An own item counts by the square root of its decayed signal. A user's pair of items counts by
    the recency of both, and by one over the square root of how many items the user has.
    """
    met = entries.strongest(entries.liked, n)
    user, ids = entries.user[met], entries.ids.take(pa.array(met))
    weight = fixed(np.sqrt(entries.signals[met] / ONE))
    n_met = np.bincount(user, minlength=len(entries.users))[user]
    recency = _recency(world.day, entries.last_days[met]) / np.sqrt(np.sqrt(n_met))
    strength = np.floor(recency * float(STRENGTH_UNIT) + 0.5).astype(np.int64)
    item = catalogue.numbers_of(ids)
    sums = pair_sums(user, item, strength, (len(entries.users), len(catalogue.ids)), n_parts)
    pairs = step_rows(
        world, PAIRS, SOURCE, pa.repeat("", len(sums.number)), sums.begin, sums.strength,
        numbers=sums.other, number=sums.number, part=sums.part,
    )  # fmt: skip
    return [grouped(world, TASTES, SOURCE, entries.users, user, ids, weight), pairs]


def neighbours(world: World, pairs: pa.Table, catalogue: Catalogue, n: int) -> list[pa.Table]:
    """The `n` items that go together most with each item of a part."""
    item, other, score = most_similar(pairs, catalogue.available, n)
    ids = catalogue.ids.take(pa.array(other))
    return [grouped(world, LISTS, SOURCE, catalogue.ids, item, ids, score)]


def _recency(today: int, last_day: Integers) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What a last signal of that day counts; 1 where its day is not known."""
    return np.where(last_day == NO_SUCH_DAY, 1.0, HALF_AGE / (HALF_AGE + (today - last_day)))
