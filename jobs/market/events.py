"""What happens on a day, as numbers. Letters: n rows of a day and block of users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.market.catalogue import Items
from jobs.market.choices import (
    ad_click_chances,
    pick_ads,
    pick_categories,
    pick_items,
    pick_peers,
)
from jobs.market.posts import Readable
from jobs.market.rows import AD, ITEM, NOTHING, POST, USER, Rows, counts_of, seconds_of
from jobs.market.social import graph_of
from jobs.market.staples import Staples
from jobs.market.traits import RATES, VERBS, Block, Flags, Ints, Market, block, season

P_CANCELLED, CANCELLED_AFTER = 0.04, 2
MORE_LINES = 0.6
"""Mean order lines beyond the first; what is bought again is ordered alone."""
STARS_AT, STARS_SPREAD = 3.7, 0.8
AD_CLICK = len(VERBS)
ON_POST = np.array([0.4, 0.6, 1.0, 0.5, 0.0, 0.0, 0.0])
ON_ITEM = np.array([0.5, 0.4, 0.0, 0.5, 0.0, 1.0, 0.0])
"""Chances per verb; what is left is on users, but for searches and ads."""
BOT_ROWS = (np.log(200.0), 0.7)
"""Log mean and spread of a bot's rows on a day on which it runs."""


@dataclass(frozen=True)
class Engagements(Rows):
    number: Ints
    """Among the day's events: the id."""
    verb: Ints
    kind: Ints
    target: Ints
    target_day: Ints
    bot: Flags


@dataclass(frozen=True)
class Reviews(Rows):
    number: Ints
    item: Ints
    stars: Ints
    words: Ints


@dataclass(frozen=True)
class Orders(Rows):
    number: Ints
    """The line, among the day's."""
    order: Ints
    item: Ints
    quantity: Ints


def engagements_of(market: Market, traits: Block, day: int) -> Engagements:
    """Views, likes, comments, shares, searches, clicks, ads seen and clicked, and what bots do."""
    return _engagements(market, traits.first, day)


@lru_cache(maxsize=8)  # the lists of the day ask for it too
def _engagements(market: Market, first: int, day: int) -> Engagements:
    traits = block(market, first)
    rng = market.rng(4, traits.first, day)
    user, verb = _who_does_what(market, traits, day, rng)
    n = len(user)
    chance = rng.random(n)
    kind = np.where(
        chance < ON_POST[verb], POST, np.where(chance < (ON_POST + ON_ITEM)[verb], ITEM, USER)
    )
    kind = np.where(verb == VERBS.index("search"), NOTHING, kind)
    kind = np.where(verb == VERBS.index("ad_view"), AD, kind)
    target, target_day = np.zeros(n, np.int64), np.full(n, day)
    readable = Readable.on(market, traits, day)
    if len(readable):
        rows = kind == POST
        post = readable.pick(user[rows], traits, graph_of(market, traits, day - 1), rng)
        target[rows], target_day[rows] = readable.number[post], readable.made_on[post]
    else:
        kind = np.where(kind == POST, ITEM, kind)
    rows = kind == ITEM
    items = Items.of(market)
    target[rows] = pick_items(user[rows], traits, items, items.weights(day), rng)
    rows = kind == NOTHING
    target[rows] = pick_categories(user[rows], traits, rng)
    rows = kind == USER
    target[rows] = pick_peers(user[rows], traits, rng, 0.2)
    rows = kind == AD
    target[rows] = pick_ads(user[rows], traits, market, rng)
    second = seconds_of(rng, n)
    seen = np.flatnonzero(rows)
    likes = ad_click_chances(market, traits, user[seen], target[seen])
    clicked = seen[rng.random(len(seen)) < likes]
    rows = np.concatenate([np.arange(n), clicked])
    verb = np.concatenate([verb, np.full(len(clicked), AD_CLICK)])
    return Engagements(
        user[rows],
        second[rows],
        np.arange(len(rows)),
        verb,
        kind[rows],
        target[rows],
        target_day[rows],
        traits.bot[user[rows]],
    )


def _who_does_what(
    market: Market, traits: Block, day: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Users and verbs of a day, (n,) each: bots view."""
    awake = np.flatnonzero(traits.awake(day))
    columns = np.array([list(RATES).index(verb) for verb in VERBS])
    counts = rng.poisson(traits.rates[np.ix_(awake, columns)] * season(market.day(day)))
    user = np.repeat(np.repeat(awake, len(VERBS)), counts.ravel())
    verb = np.repeat(np.tile(np.arange(len(VERBS)), len(awake)), counts.ravel())
    bots = np.flatnonzero(traits.bot & (traits.signed_up <= day))
    bots = bots[rng.random(len(bots)) < 0.5]
    n_bot = np.exp(rng.normal(*BOT_ROWS, len(bots))).astype(np.int64)
    return (
        np.concatenate([user, np.repeat(bots, n_bot)]),
        np.concatenate([verb, np.zeros(n_bot.sum(), np.int64)]),
    )


def reviews_of(market: Market, traits: Block, day: int) -> Reviews:
    """Reviews of goods: quality, mood and chance make the stars."""
    user, rng = counts_of(market, traits, day, "review", 7)
    items = Items.of(market)
    n, item = len(user), pick_items(user, traits, items, items.weights(day), rng)
    level = STARS_AT + traits.mood[user] + items.quality[item] + rng.normal(0, STARS_SPREAD, n)
    stars = np.clip(np.round(level), 1, 5).astype(np.int64)
    return Reviews(
        user, seconds_of(rng, n), np.arange(n), item, stars, rng.integers(0, 1 << 16, (n, 4))
    )


def orders_of(market: Market, traits: Block, day: int) -> Orders:
    """What is ordered, line by line: what the user comes upon, then what is bought again."""
    return _orders(market, traits.first, day)


@lru_cache(maxsize=64)  # what is cancelled some days later asks for it too
def _orders(market: Market, first: int, day: int) -> Orders:
    traits = block(market, first)
    buyer, rng = counts_of(market, traits, day, "order", 8)
    items, staples = Items.of(market), Staples.of(market, traits)
    again, staple = staples.bought(items, day, traits.awake(day), rng)
    lines = np.concatenate([1 + rng.poisson(MORE_LINES, len(buyer)), np.ones(len(again), int)])
    buyer = np.concatenate([buyer, again])
    user, order = np.repeat(buyer, lines), np.repeat(np.arange(len(buyer)), lines)
    n, found = len(user), len(user) - len(again)
    item = pick_items(user[:found], traits, items, items.weights(day), rng)
    return Orders(
        user,
        np.repeat(seconds_of(rng, len(buyer)), lines),
        np.arange(n),
        order,
        np.concatenate([item, staples.item[again, staple]]),
        1 + rng.poisson(traits.basket[user]),
    )


def cancelled_of(market: Market, traits: Block, day: int) -> Orders:
    """Lines of whole orders of an earlier day that are cancelled."""
    if day < CANCELLED_AFTER:
        return orders_of(market, traits, day).take(np.zeros(0, np.int64))
    old = orders_of(market, traits, day - CANCELLED_AFTER)
    rng = market.rng(18, traits.first, day)
    n_orders = int(old.order.max()) + 1 if len(old) else 0
    return old.take((rng.random(n_orders) < P_CANCELLED)[old.order])
