"""Logins, payments and transfers of a day, and attacks on accounts.

Letters: n rows of a day and block of users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from jobs.market.choices import pick_peers
from jobs.market.events import Rows, counts_of, seconds_of
from jobs.market.traits import Block, Flags, Floats, Ints, Market, block

P_MARKED, MARKED_AFTER = 0.9, (7, 30)
"""Share of fraud that is ever found out, and the days it takes."""
FRAUD_PAYMENTS, FRAUD_TRANSFERS = 1.2, 0.8
"""Mean number in one attack."""


@dataclass(frozen=True)
class AccountEvents(Rows):
    number: Ints
    kind: Ints
    """0 login, 1 payment, 2 transfer."""
    succeeded: Flags
    device: Ints
    """A user's own devices count from 0; those of attackers are above 100."""
    counterpart: Ints
    cents: Ints
    marked_after: Ints
    """Days until a mark of fraud; 0 for none."""


def account_events_of(market: Market, traits: Block, day: int) -> AccountEvents:
    """Logins, payments and transfers of users, and of those who attack them."""
    parts = [frauds_of(market, traits, day)]
    for kind, name in enumerate(("login", "payment", "transfer")):
        user, rng = counts_of(market, traits, day, name, 9 + kind)
        n = len(user)
        parts.append(
            AccountEvents(
                user,
                seconds_of(rng, n),
                np.zeros(n, np.int64),
                np.full(n, kind),
                rng.random(n) > (0.04 if kind == 0 else 0.01),
                (rng.random(n) * (1 + user % 3)).astype(np.int64),
                pick_peers(user, traits, rng, 0.1),
                _cents(traits.wealth[user], rng, n),
                np.zeros(n, np.int64),
            )
        )
    return _numbered(parts)


def _numbered(parts: list[AccountEvents]) -> AccountEvents:
    columns = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(AccountEvents)
    }
    return AccountEvents(**columns | {"number": np.arange(len(columns["user"]))})


def _cents(mean: Floats, rng: np.random.Generator, n: int) -> Ints:
    return np.maximum(100 * mean * np.exp(rng.normal(0, 0.5, n)), 1).astype(np.int64)


def frauds_of(market: Market, traits: Block, day: int) -> AccountEvents:
    """Attacks: a burst of failed logins, one that succeeds, then payments and transfers.

    They come first among the day's account events, so their numbers do not depend on the rest.
    """
    return _frauds(market, traits.first, day)


@lru_cache(maxsize=8 * (MARKED_AFTER[1] + 2))  # the marks of a month ask for those of each day
def _frauds(market: Market, first: int, day: int) -> AccountEvents:
    traits = block(market, first)
    rng = market.rng(12, traits.first, day)
    hit = rng.random(traits.n) < traits.vulnerability
    victims = np.flatnonzero(hit & (traits.signed_up <= day) & ~traits.bot)
    n = len(victims)
    counts = np.stack(
        [
            3 + rng.poisson(4, n),
            np.ones(n, np.int64),
            rng.poisson(FRAUD_PAYMENTS, n),
            rng.poisson(FRAUD_TRANSFERS, n),
        ],
        axis=1,
    )
    user = np.repeat(np.repeat(victims, 4), counts.ravel())
    step = np.repeat(np.tile(np.arange(4), n), counts.ravel())
    m = len(user)
    start = np.repeat(rng.integers(0, 80_000, n), counts.sum(1))
    marked = (step > 0) & (rng.random(m) < P_MARKED)
    return AccountEvents(
        user,
        start + step * 1200 + rng.integers(0, 600, m),
        np.arange(m),
        np.maximum(step - 1, 0),
        step > 0,
        100 + np.repeat(rng.integers(0, 1 << 20, n), counts.sum(1)),
        pick_peers(user, traits, rng, 1.0),
        _cents(4 * traits.wealth[user], rng, m),
        np.where(marked, rng.integers(MARKED_AFTER[0], MARKED_AFTER[1] + 1, m), 0),
    )


def marks_of(market: Market, traits: Block, day: int) -> Iterator[tuple[int, AccountEvents]]:
    """Frauds of the weeks before that are found out on a day, with the day they happened on."""
    for delay in range(MARKED_AFTER[0], MARKED_AFTER[1] + 1):
        if day >= delay:
            frauds = frauds_of(market, traits, day - delay)
            yield day - delay, frauds.take(frauds.marked_after == delay)
