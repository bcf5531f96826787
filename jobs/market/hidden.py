"""What users do not want to be shown again: people whom they block, goods and ads that they hide.

Letters: n rows of a day and block of users.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.market.catalogue import Items
from jobs.market.choices import ad_click_chances, pick_ads, pick_items, pick_peers
from jobs.market.rows import AD, ITEM, USER, Rows, seconds_of
from jobs.market.traits import Block, Ints, Market, block

PER_DAY = 0.004
"""Mean number on a day awake."""
OF_USERS, OF_ITEMS = 0.5, 0.3
"""Shares that are of people and of goods; the rest is of ads."""
_LOOKS = 3
"""Ads and goods among which the one is hidden that suits the user least."""


@dataclass(frozen=True)
class Hidden(Rows):
    number: Ints
    kind: Ints
    target: Ints


def hidden_of(market: Market, traits: Block, day: int) -> Hidden:
    """What is hidden on a day."""
    return _hidden(market, traits.first, day)


@lru_cache(maxsize=8)  # who follows whom asks for it too
def _hidden(market: Market, first: int, day: int) -> Hidden:
    traits = block(market, first)
    rng = market.rng(13, traits.first, day)
    awake = np.flatnonzero(traits.awake(day))
    user = awake[rng.random(len(awake)) < PER_DAY]
    n, chance = len(user), rng.random(len(user))
    kind = np.where(chance < OF_USERS, USER, np.where(chance < OF_USERS + OF_ITEMS, ITEM, AD))
    target = pick_peers(user, traits, rng, 0.7)
    looks, items = np.repeat(user, _LOOKS), Items.of(market)
    seen = pick_items(looks, traits, items, items.weights(day), rng)
    liking = np.einsum("nk,nk->n", traits.taste[looks], items.vector[seen])
    shown = pick_ads(looks, traits, market, rng)
    appeal = ad_click_chances(market, traits, looks, shown)
    for of, things, worth in ((ITEM, seen, liking), (AD, shown, appeal)):
        least = np.argmin(worth.reshape(n, _LOOKS), axis=1) if n else np.zeros(0, np.int64)
        target = np.where(kind == of, things.reshape(n, _LOOKS)[np.arange(n), least], target)
    return Hidden(user, seconds_of(rng, n), np.arange(n), kind, target)
