"""What users use up and buy again: consumables, each with a gap and a phase of its own.

Whether one is bought on a day is chance, likeliest when it is due, and has no memory: like all that
a user does, it happens while awake, and what will be bought has a closed form.
Letters: n users, S staples of a user.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.market.catalogue import Items
from jobs.market.choices import items_at
from jobs.market.traits import BLOCK, N_CATEGORIES, Block, Flags, Floats, Ints, Market, block

MOST = 3
"""Staples that a user may have."""
DUE, BESIDE = 0.6, 0.15
"""Chance to buy a staple on the day on which it is due, and on the day before and after."""


@dataclass(frozen=True)
class Staples:
    """Each (n, S)."""

    item: Ints
    """-1 for none."""
    period: Ints
    """Days from one due day to the next."""
    phase: Ints

    @staticmethod
    def of(market: Market, traits: Block) -> Staples:
        """Of the users of a block; who orders often has more."""
        return _staples(market, traits.first)

    def chances(self, items: Items, day: int) -> Floats:
        """(n, S): the chance to order each on a day while awake."""
        since = (day - self.phase) % self.period
        due = np.where(since == 0, DUE, np.where(np.minimum(since, self.period - since) == 1,
                                                 BESIDE, 0.0))  # fmt: skip
        return due * (self.item >= 0) * items.available(day)[self.item]

    def bought(self, items: Items, day: int, awake: Flags, rng: np.random.Generator) -> Ints:
        """Pairs of user and staple, (2, bought), that are ordered on a day."""
        happens = rng.random(self.item.shape) < self.chances(items, day)
        return np.stack(np.nonzero(happens & awake[:, None]))


@lru_cache(maxsize=8)
def _staples(market: Market, first: int) -> Staples:
    traits, items, rng = block(market, first), Items.of(market), market.rng(17, first, 0)
    shape = (BLOCK, MOST)  # of a whole block, so that a market with more users begins as a smaller
    which, chance = (rng.random(shape)[: traits.n] for _ in range(2))
    own_gap, phase = rng.normal(0, 0.15, shape)[: traits.n], rng.random(shape)[: traits.n]
    number = rng.poisson(np.ones(BLOCK))[: traits.n]
    number = (number * (0.4 + 12 * traits.rate("order"))).astype(np.int64)
    shares = np.cumsum(traits.interests, axis=1)
    used_up = items.share * (items.gap > 0) * (items.launched < 0)
    columns: list[Ints] = []
    for s in range(MOST):
        category = (which[:, s, None] > shares).sum(1).clip(max=N_CATEGORIES - 1)
        item = items_at(np.arange(traits.n), category, chance[:, s], traits, items, used_up)
        seen = np.any([item == before for before in columns], axis=0) if columns else False
        columns.append(np.where((number > s) & ~np.asarray(seen), item, -1))
    item = np.stack(columns, axis=1)
    period = np.maximum(np.round(items.gap[item] * np.exp(own_gap)), 4).astype(np.int64)
    return Staples(item, period, (phase * period).astype(np.int64))
