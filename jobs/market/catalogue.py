"""What can be bought and what is advertised: goods with prices, stock and launches, and ads.

Letters: N goods, S goods of a category, K dimensions of taste.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from jobs.market.traits import N_CATEGORIES, TASTES, Flags, Floats, Ints, Market

N_FIRST_ITEMS, N_LAUNCHED, N_ADS = 600, 120, 200
"""Goods on the first day, goods that are launched later, and ads."""
N_ITEMS = N_FIRST_ITEMS + N_LAUNCHED
PER_CATEGORY = N_ITEMS // N_CATEGORIES
WEEK = 7
"""Days from one change of the range to the next: launches, what runs out and what is back."""
ADULT = 18
NEVER = 2**30


@dataclass(frozen=True)
class Items:
    """The range of goods, each (N,) unless it says otherwise. Item i is of category i modulo the
    number of categories."""

    category: Ints
    price: Floats
    quality: Floats
    vector: Floats
    """(N, K): whose taste it is to; unit variance in each dimension."""
    share: Floats
    """Popularity before anything else: Zipf's law over the goods of a category."""
    swing: Floats
    """(N, 2): length in days and phase of the fashions that it goes with."""
    launched: Ints
    """Day from which it is sold; -1 for those of the first day."""
    turns: Ints
    """(N, spells): days on which it goes out of stock and is back, in turn."""
    withdrawn: Ints
    """Day from which it is sold no more."""
    min_age: Ints
    """Years that a buyer must have; 0 for most."""
    gap: Floats
    """Typical days until it is used up and bought again; 0 where it is bought once."""
    _weights: dict[int, Floats] = field(default_factory=dict, repr=False)

    @staticmethod
    @lru_cache(maxsize=4)
    def of(market: Market) -> Items:
        rng = market.rng(2, 0, 0)
        n = np.arange(N_ITEMS)
        new = np.arange(N_LAUNCHED)
        rank = np.concatenate(
            [1 + n[:N_FIRST_ITEMS] // N_CATEGORIES, rng.integers(2, 25, N_LAUNCHED)]
        )
        launched = np.full(N_ITEMS, -1)
        launched[N_FIRST_ITEMS:] = WEEK * (1 + new // 2)
        weeks = np.empty((N_ITEMS, 32), np.int64)
        weeks[:, 0::2] = rng.geometric(1 / 36, (N_ITEMS, 16))
        weeks[:, 1::2] = rng.geometric(1 / 2, (N_ITEMS, 16))
        first = np.maximum(launched, 0)
        gone = first + WEEK * rng.integers(8, 120, N_ITEMS)
        adult = rng.random(N_ITEMS) < 0.04
        used_up = (rng.random(N_ITEMS) < 0.3) & ~adult
        return Items(
            n % N_CATEGORIES,
            np.round(rng.lognormal(2.8, 0.7, N_ITEMS), 2),
            rng.normal(0.0, 0.6, N_ITEMS),
            rng.normal(0.0, 1.0, (N_ITEMS, TASTES)),
            rank**-1.1,
            np.stack([rng.uniform(60, 240, N_ITEMS), rng.random(N_ITEMS)], axis=1),
            launched,
            first[:, None] + WEEK * np.cumsum(weeks, axis=1),
            np.where(rng.random(N_ITEMS) < 0.06, gone, NEVER),
            np.where(adult, ADULT, 0),
            np.where(used_up, np.exp(rng.uniform(np.log(7), np.log(45), N_ITEMS)), 0.0),
        )

    def available(self, day: int) -> Flags:
        """(N,): what can be ordered on a day: launched, in stock and not withdrawn."""
        return self.weights(day) > 0

    def weights(self, day: int) -> Floats:
        """(N,): popularity on a day within a category, up to a factor: 0 of what cannot be ordered.

        The same all week: goods come and go with fashions, and a new one becomes known over a
        month.
        """
        week = day // WEEK
        if week not in self._weights:
            day = week * WEEK
            fashion = np.exp(0.6 * np.sin(2 * np.pi * (day / self.swing[:, 0] + self.swing[:, 1])))
            age = np.where(self.launched < 0, NEVER, day - self.launched)
            known = 1 - 0.8 * np.exp(-np.maximum(age, 0) / 20)
            sold = (self.launched <= day) & (self.withdrawn > day)
            sold &= (self.turns <= day).sum(axis=1) % 2 == 0  # in stock
            self._weights[week] = self.share * fashion * known * sold
        return self._weights[week]


@dataclass(frozen=True)
class Ads:
    """What is advertised, each (ads,) unless it says otherwise."""

    category: Ints
    budget: Floats
    """How much it is shown, beside the others of its category."""
    appeal: Floats
    vector: Floats
    """(ads, K): whose taste it is to."""

    @staticmethod
    @lru_cache(maxsize=4)
    def of(market: Market) -> Ads:
        rng = market.rng(3, 0, 0)
        n = np.arange(N_ADS)
        return Ads(
            n % N_CATEGORIES,
            np.asarray((1.0 + n // N_CATEGORIES) ** -1.0),
            rng.normal(-0.2, 1.0, N_ADS),
            rng.normal(0.0, 1.0, (N_ADS, TASTES)),
        )
