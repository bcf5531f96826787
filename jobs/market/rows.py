"""What the streams of a day have in common. Letters: n rows of a day and block of users."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from jobs.market.traits import Block, Flags, Ints, Market, season

POST, ITEM, USER, AD, NOTHING = range(5)
"""Kinds of targets."""


@dataclass(frozen=True)
class Rows:
    """Columns of equal length; a subclass per stream."""

    user: Ints
    second: Ints

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints | Flags) -> Self:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))


def counts_of(
    market: Market, traits: Block, day: int, kind: str, what: int
) -> tuple[Ints, np.random.Generator]:
    """The users of a day's events of one kind, and chance to go on with."""
    rng = market.rng(what, traits.first, day)
    awake = np.flatnonzero(traits.awake(day))
    rate = traits.rate(kind)[awake] * season(market.day(day))
    return np.repeat(awake, rng.poisson(rate)), rng


def seconds_of(rng: np.random.Generator, n: int) -> Ints:
    return rng.integers(0, 86_400, n)
