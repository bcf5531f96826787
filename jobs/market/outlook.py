"""What the days from a midnight on are like for the users known by then, in closed form.

Known of a user as of midnight D are the traits and whether the user was awake on the day before;
not the history. Awake and asleep follow each other as a Markov chain, and what is done while awake
has no memory, so the chance that nothing happens is a product of 2 x 2 matrices.

Letters: n users, N goods, S goods of a category, H days of a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jobs.market.catalogue import N_ITEMS, PER_CATEGORY, WEEK, Items
from jobs.market.choices import item_weights
from jobs.market.staples import Staples
from jobs.market.traits import N_CATEGORIES, Block, Floats, Ints, Market, season

LONGEST = 90
"""Days of the longest window."""


@dataclass(frozen=True)
class Outlook:
    """Users of a block that are known as of a day, (n,), bots apart."""

    market: Market
    traits: Block
    day: int
    users: Ints
    awake: Floats
    """1 for who was awake on the day before."""
    seasons: Floats
    """Of each day from D on."""

    @staticmethod
    def of(market: Market, traits: Block, day: int) -> Outlook:
        known = np.flatnonzero((traits.signed_up < day) & ~traits.bot)
        return Outlook(
            market,
            traits,
            day,
            known,
            traits.awake(day - 1)[known].astype(float),
            np.array([season(market.day(day + k)) for k in range(LONGEST)]),
        )

    def take(self, rows: slice) -> Outlook:
        """A part of the users."""
        return Outlook(
            self.market, self.traits, self.day, self.users[rows], self.awake[rows], self.seasons
        )

    def rate(self, kind: str) -> Floats:
        return self.traits.rate(kind)[self.users]

    def nothing(
        self, rate: Floats, days: int, of_day: Callable[[int], Floats] | None = None
    ) -> Floats:
        """The chance that something does not happen, (n,) or (n, C): with a rate per awake day,
        which the season changes, and where that is given a log chance of each day's own, which it
        does not."""
        shape = (slice(None), *[None] * (rate.ndim - 1))
        leave, wake = self.traits.leave[self.users][shape], self.traits.wake[self.users][shape]
        up = np.broadcast_to(self.awake[shape], rate.shape).copy()
        down = 1 - up
        for k, s in enumerate(self.seasons[:days]):
            hazard = rate * s if of_day is None else rate * s + of_day(k)
            up, down = (
                (up * (1 - leave) + down * wake) * np.exp(-hazard),
                (up * leave + down * (1 - wake)),
            )
        return up + down

    def nothing_until(self, rate: Floats, days: int) -> Floats:
        """(n, H + 1): the chance that something with a rate per awake day, (n,), has not happened
        by the start of each day."""
        leave, wake = self.traits.leave[self.users], self.traits.wake[self.users]
        up, down, columns = self.awake, 1 - self.awake, [np.ones(len(rate))]
        for s in self.seasons[:days]:
            up, down = (
                (up * (1 - leave) + down * wake) * np.exp(-rate * s),
                (up * leave + down * (1 - wake)),
            )
            columns.append(up + down)
        return np.stack(columns, axis=1)

    def days_awake(self, days: int) -> Floats:
        """(n, H): the chance to be awake on each day."""
        leave, wake = self.traits.leave[self.users], self.traits.wake[self.users]
        up, columns = self.awake, []
        for _ in range(days):
            up = up * (1 - leave) + (1 - up) * wake
            columns.append(up)
        return np.stack(columns, axis=1)

    def exposures(self, days: int) -> Floats:
        """(n, H): of each day the chance to be awake, times its season."""
        return self.days_awake(days) * self.seasons[:days]

    def goods(self, weight: Floats) -> Floats:
        """(n, N): of each item the chance to be picked on a day, summed over days that weigh
        `weight`, (n, H)."""
        items = Items.of(self.market)
        weeks, first = np.unique((self.day + np.arange(weight.shape[1])) // WEEK, return_index=True)
        of_week = np.stack([items.weights(week * WEEK) for week in weeks], axis=1)
        of_week = of_week.reshape(PER_CATEGORY, N_CATEGORIES, -1)
        weight = np.add.reduceat(weight, first, axis=1)
        picked = np.empty((len(self.users), PER_CATEGORY, N_CATEGORIES))
        for c in range(N_CATEGORIES):
            liking = self.liking(np.full(len(self.users), c))
            # No matrix products: a library's threads take longer, and may round otherwise.
            total = np.einsum("ns,sw->nw", liking, of_week[:, c])
            share = self.traits.interests[self.users, c, None] * weight / total
            picked[:, :, c] = liking * np.einsum("nw,sw->ns", share, of_week[:, c])
        return picked.reshape(len(self.users), N_ITEMS)

    def liking(self, category: Ints) -> Floats:
        """(n, S): what each user makes of the goods of a category, popularity apart."""
        items = Items.of(self.market)
        return item_weights(self.users, category, self.traits, items, np.ones(N_ITEMS))

    def staples(self, k: int, standing: float = 1.0) -> tuple[Ints, Floats]:
        """What is bought again on the k-th day, each (n, staples): the items, 0 where there is
        none, and minus the log chance that each is not; `standing` is the share that counts."""
        items, own = Items.of(self.market), Staples.of(self.market, self.traits)
        chances = own.chances(items, self.day + k)[self.users]
        return own.item[self.users].clip(min=0), -np.log1p(-standing * chances)
