"""What is shown to users in lists, and at which place: goods of a category, or posts.

Half of the lists are those in which something was clicked. What that was is the user's choice, and
it stood where users look: of two things that a user likes as much, the one higher up is clicked
more. The rest of a list, and the lists without a click, are what anybody is shown.
Letters: n rows, L lists, K places of a list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.market.catalogue import PER_CATEGORY, Items
from jobs.market.choices import pick_categories
from jobs.market.events import engagements_of
from jobs.market.posts import Readable
from jobs.market.rows import ITEM, POST, Rows, counts_of, seconds_of
from jobs.market.traits import N_CATEGORIES, VERBS, Block, Floats, Ints, Market

EXAMINED = (1.0, 0.6, 0.4)
"""How likely each place of a list is looked at, beside the first."""


@dataclass(frozen=True)
class Impressions(Rows):
    number: Ints
    kind: Ints
    target: Ints
    target_day: Ints
    position: Ints
    """From 1."""


def impressions_of(market: Market, traits: Block, day: int) -> Impressions:
    """Everything in the lists that users are shown."""
    clicks = engagements_of(market, traits, day)
    clicks = clicks.take(clicks.verb == VERBS.index("click"))
    user, rng = counts_of(market, traits, day, "click", 19)  # as many lists without a click
    n, m, places = len(clicks), len(clicks) + len(user), len(EXAMINED)
    readable = Readable.on(market, traits, day)
    kind = np.concatenate(
        [clicks.kind, np.where((rng.random(len(user)) < 0.5) & (len(readable) > 0), POST, ITEM)]
    )
    second = np.concatenate([clicks.second, seconds_of(rng, len(user))])
    user = np.concatenate([clicks.user, user])
    category = np.concatenate(
        [clicks.target % N_CATEGORIES, pick_categories(user[n:], traits, rng)]
    )
    target, target_day = np.zeros((m, places), np.int64), np.full((m, places), day)
    rows = np.flatnonzero(kind == ITEM)
    target[rows] = _anything(Items.of(market), category[rows], rng.random((len(rows), places)), day)
    rows = np.flatnonzero(kind == POST)
    post = (rng.random((len(rows), places)) * len(readable)).astype(np.int64)
    target[rows], target_day[rows] = readable.number[post], readable.made_on[post]
    author = np.full((m, places), -1)
    author[rows] = readable.author[post]
    place = np.searchsorted(np.cumsum(EXAMINED)[:-1] / np.sum(EXAMINED), rng.random(n), "right")
    clicked = (np.arange(n), place)
    author[clicked] = -1
    # What is clicked is there once, and nobody is shown their own posts.
    shown = author != user[:, None]
    shown[:n] &= (target[:n] != clicks.target[:, None]) | (
        target_day[:n] != clicks.target_day[:, None]
    )
    shown[clicked] = True
    target[clicked], target_day[clicked] = clicks.target, clicks.target_day
    of, position = np.nonzero(shown)
    return Impressions(
        user[of],
        second[of],
        np.arange(len(of)),
        kind[of],
        target[of, position],
        target_day[of, position],
        position + 1,
    )


def _anything(items: Items, category: Ints, chance: Floats, day: int) -> Ints:
    """Goods of a category per row that anybody may be shown, (n, K): of what is popular more, but
    not as much more as is bought."""
    weight = np.sqrt(items.weights(day)) * (items.min_age == 0)
    upto = np.cumsum(weight.reshape(PER_CATEGORY, N_CATEGORIES), axis=0)[:, category]
    picked = (upto[:, :, None] <= chance * upto[-1][:, None]).sum(axis=0)
    return picked.clip(max=PER_CATEGORY - 1) * N_CATEGORIES + category[:, None]
