"""What users choose: categories by interest, goods and ads by taste, people near them.

Letters: n rows, S goods of a category, C categories, K dimensions of taste.
"""

from __future__ import annotations

import numpy as np

from jobs.market.catalogue import N_ADS, PER_CATEGORY, Ads, Items
from jobs.market.traits import COMMUNITY, N_CATEGORIES, Block, Floats, Ints, Market

TASTE_WEIGHT, AD_TASTE_WEIGHT = 0.5, 0.8
"""What a unit of taste for a thing counts in its log weight, and in its log odds."""
_ROWS = 4096
"""Rows that are weighed at a time, which bounds memory."""


def pick_categories(users: Ints, traits: Block, rng: np.random.Generator) -> Ints:
    """A category per row, by the user's interests."""
    shares = np.cumsum(traits.interests[users], axis=1)
    return (rng.random(len(users))[:, None] > shares).sum(1).clip(max=N_CATEGORIES - 1)


def item_weights(
    users: Ints, category: Ints, traits: Block, items: Items, weights: Floats
) -> Floats:
    """(n, S): how much each user wants each of the goods of a category: their `weights`, (N,),
    times what the user's taste makes of them; 0 of what a minor may not order."""
    vectors = items.vector.reshape(PER_CATEGORY, N_CATEGORIES, -1).transpose(1, 2, 0)
    liking = (traits.taste[users, None, :] @ vectors[category])[:, 0]
    plain = weights.reshape(PER_CATEGORY, N_CATEGORIES).T
    for_all = (items.min_age == 0).reshape(PER_CATEGORY, N_CATEGORIES).T
    allowed = for_all[category] | ~traits.minor[users, None]
    return np.exp(TASTE_WEIGHT * liking) * plain[category] * allowed


def items_at(
    users: Ints, category: Ints, chance: Floats, traits: Block, items: Items, weights: Floats
) -> Ints:
    """An item per row, where a number from 0 to 1 points among the user's weights; the weights are
    of goods, (N,)."""
    picked = np.zeros(len(users), np.int64)
    for start in range(0, len(users), _ROWS):
        rows = slice(start, start + _ROWS)
        upto = np.cumsum(item_weights(users[rows], category[rows], traits, items, weights), axis=1)
        place = (upto <= (chance[rows] * upto[:, -1])[:, None]).sum(axis=1)
        picked[rows] = place.clip(max=PER_CATEGORY - 1) * N_CATEGORIES + category[rows]
    return picked


def pick_items(
    users: Ints, traits: Block, items: Items, weights: Floats, rng: np.random.Generator
) -> Ints:
    """An item per row: a category by the user's interests, then one by popularity and taste."""
    category = pick_categories(users, traits, rng)
    return items_at(users, category, rng.random(len(users)), traits, items, weights)


def ad_click_chances(
    market: Market, traits: Block, users: Ints, ad: Ints | slice = slice(None)
) -> Floats:
    """The chance that a user clicks an ad that is shown: (n,) for an ad per user, (n, ads) for all.

    The liking for ads as such, times what taste makes of this one: from 0 to 2.
    """
    ads = Ads.of(market)
    if isinstance(ad, slice):
        liking, taste = (
            traits.ad_liking[users, None],
            np.einsum("nk,ak->na", traits.taste[users], ads.vector),
        )
    else:
        liking = traits.ad_liking[users]
        taste = np.einsum("nk,nk->n", traits.taste[users], ads.vector[ad])
    odds = np.exp(ads.appeal[ad] + AD_TASTE_WEIGHT * taste)
    return np.minimum(liking * 2 * odds / (1 + odds), 1.0)


def ad_shares(market: Market) -> Floats:
    """(ads,): which ads are shown of a category, once it is chosen by the user's interests."""
    ads = Ads.of(market)
    return ads.budget / np.bincount(ads.category, ads.budget)[ads.category]


def pick_ads(users: Ints, traits: Block, market: Market, rng: np.random.Generator) -> Ints:
    """The ad that each row shows."""
    category = pick_categories(users, traits, rng)
    rounds = -(-N_ADS // N_CATEGORIES)
    shares = np.zeros(rounds * N_CATEGORIES)
    shares[:N_ADS] = ad_shares(market)
    upto = np.cumsum(shares.reshape(rounds, N_CATEGORIES), axis=0)
    upto[-1] = np.inf  # where the sum is below 1 by rounding
    place = (upto[:, category] <= rng.random(len(users))).sum(axis=0)
    picked = place * N_CATEGORIES + category
    return np.where(picked < N_ADS, picked, picked - N_CATEGORIES)


def pick_peers(users: Ints, traits: Block, rng: np.random.Generator, stray: float) -> Ints:
    """Another user per row: of the same community, or now and then anyone of the block."""
    start = users // COMMUNITY * COMMUNITY
    size = np.minimum(start + COMMUNITY, traits.n) - start
    near = start + (rng.random(len(users)) * size).astype(np.int64)
    far = rng.integers(0, traits.n, len(users))
    picked = np.where(rng.random(len(users)) < stray, far, near)
    return np.where(picked == users, (users + 1) % traits.n, picked)
