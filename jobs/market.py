"""A simulated market: the raw logs of users with latent interests, activity, price sensitivity and
mood, dirt included. Deterministic from the seed, and any size in bounded memory.

Every number of a day is a function of (seed, block of users, day) alone, so that a day's file can
be written without those before it: what happens later because of an earlier day (a cancellation, a
review, a late arrival) makes that day's events again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from contracts.table import ContractError

BLOCK = 50_000
"""Users made at a time."""
SIGN_UP_DAYS = 365
"""Days over which the users who were not there before the first sign up: a market that goes on
longer begins as the shorter one does."""
SPELLS = 40
"""Turns between being awake and asleep in a user's life; 40 last some years."""
N_CATEGORIES, N_ITEMS = 12, 600
COUNTRIES = ("DE", "FR", "GB", "IT", "NL", "PL", "SE", "US")
COUNTRY_SHARES = (0.22, 0.16, 0.2, 0.1, 0.08, 0.09, 0.05, 0.1)
CANCELLED_AFTER, REVIEWED_AFTER, LATE_BY = 2, 5, 3
"""Days."""

Texts = npt.NDArray[np.str_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """How large, from when, for how long, and which of all possible markets."""

    users: int
    start: date
    days: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.days < 1:
            raise ContractError(
                f"a market needs 1 user and 1 day or more, found {self.users} users "
                f"and {self.days} days"
            )


@dataclass(frozen=True)
class Block:
    """Latent traits of some users, each (n,) or (n, categories)."""

    first: int
    signed_up: Ints
    """Day, counted from the market's start; below 0 for those who were there before."""
    views: Floats
    """Views per active day."""
    buys: Floats
    """Orders per active day."""
    sensitivity: Floats
    """How much a high price puts off, 0 to 1."""
    mood: Floats
    """Added to the stars of every review."""
    interests: Floats
    """Cumulative shares of categories, (n, categories)."""
    turns: Ints
    """(n, spells): days on which the user falls asleep or wakes up; awake before the first."""
    country: Ints

    def __len__(self) -> int:
        return len(self.signed_up)

    def active(self, day: int) -> Ints:
        """Numbers, within the block, of users who are there and awake."""
        asleep = (self.turns <= day).sum(1) % 2
        return np.flatnonzero((asleep == 0) & (self.signed_up <= day))


def block(market: Market, first: int) -> Block:
    """Traits of the users from number `first` on."""
    n = min(BLOCK, market.users - first)
    made = np.random.default_rng((market.seed, 1, first))
    before = made.random(n) < 0.6
    lengths = np.empty((n, SPELLS))
    lengths[:, 0::2] = made.gamma(1.5, made.gamma(2.0, 25.0, (n, 1)), lengths[:, 0::2].shape)
    lengths[:, 1::2] = made.gamma(1.5, made.gamma(2.0, 15.0, (n, 1)), lengths[:, 1::2].shape)
    signed_up = np.where(before, -made.integers(1, 400, n), made.integers(0, SIGN_UP_DAYS, n))
    liking = made.gamma(0.5, 1.0, (n, N_CATEGORIES)) + 1e-3
    return Block(
        first,
        signed_up,
        views=made.gamma(1.2, 0.8, n) + 0.05,
        buys=np.minimum(made.gamma(0.8, 0.06, n), 0.6),
        sensitivity=made.random(n),
        mood=made.normal(0.0, 0.8, n),
        interests=np.cumsum(liking / liking.sum(1, keepdims=True), axis=1),
        turns=(np.maximum(signed_up, -30)[:, None] + np.cumsum(lengths + 1, axis=1)).astype(
            np.int64
        ),
        country=made.choice(len(COUNTRIES), n, p=COUNTRY_SHARES),
    )


@dataclass(frozen=True)
class Items:
    """The range of goods, each (items,)."""

    category: Ints
    price: Floats
    quality: Floats

    @staticmethod
    def of(market: Market) -> Items:
        made = np.random.default_rng((market.seed, 2))
        return Items(
            np.arange(N_ITEMS) % N_CATEGORIES,
            np.round(made.lognormal(2.8, 0.7, N_ITEMS), 2),
            made.normal(0.0, 0.6, N_ITEMS),
        )


def season(day: date) -> float:
    """How much more is going on than on a plain day: weekends and the weeks before Christmas."""
    return (1.2 if day.weekday() >= 5 else 1.0) * (1.4 if (day.month, day.day) > (11, 20) else 1.0)


@dataclass(frozen=True)
class Orders:
    """Order lines of one block and day, each (n,)."""

    user: Ints
    order: Ints
    line: Ints
    item: Ints
    quantity: Ints
    second: Ints


def pick_items(users: Ints, traits: Block, items: Items, made: np.random.Generator) -> Ints:
    """An item per row: a category by the user's interests, then one by popularity."""
    category = (made.random(len(users))[:, None] > traits.interests[users]).sum(1)
    category = np.minimum(category, N_CATEGORIES - 1)
    per_category = N_ITEMS // N_CATEGORIES
    rank = np.minimum(made.zipf(1.4, len(users)) - 1, per_category - 1)
    return rank * N_CATEGORIES + category


def orders_of(market: Market, traits: Block, items: Items, day: int) -> Orders:
    """What the block's users order on a day."""
    made = np.random.default_rng((market.seed, 3, traits.first, day + 400))
    awake = traits.active(day)
    lift = season(market.start + timedelta(days=day))
    buyers = awake[made.random(len(awake)) < np.minimum(traits.buys[awake] * lift, 0.9)]
    lines = 1 + made.poisson(0.6, len(buyers))
    user = np.repeat(buyers, lines)
    order = np.repeat(np.arange(len(buyers)), lines)
    item = pick_items(user, traits, items, made)
    # A sensitive user passes over a dear item; the first line of an order stays.
    dear = items.price[item] > 30
    first = np.r_[True, order[1:] != order[:-1]] if len(order) else np.zeros(0, bool)
    kept = first | ~(dear & (made.random(len(user)) < traits.sensitivity[user]))
    second = np.repeat(made.integers(0, 86_400, len(buyers)), lines)
    quantity = 1 + made.poisson(0.4, len(user))
    return Orders(
        user[kept], order[kept], np.flatnonzero(kept), item[kept], quantity[kept], second[kept]
    )


def blocks(market: Market) -> Iterator[Block]:
    for first in range(0, market.users, BLOCK):
        yield block(market, first)
