"""What happens on a day, as numbers. Letters: n rows of a day and block of users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from jobs.market.traits import (
    COMMUNITY,
    N_ADS,
    N_CATEGORIES,
    PER_CATEGORY,
    RATES,
    VERBS,
    Block,
    Flags,
    Floats,
    Ints,
    Items,
    Market,
    popularity,
    season,
)

P_CANCELLED, CANCELLED_AFTER = 0.04, 2
P_UNFOLLOWED, UNFOLLOWED_AFTER = 0.08, 20
P_MARKED, MARKED_AFTER = 0.9, (7, 30)
"""Share of fraud that is ever found out, and the days it takes."""
MORE_LINES = 0.6
"""Mean order lines beyond the first."""
FRAUD_PAYMENTS, FRAUD_TRANSFERS = 1.2, 0.8
"""Mean number in one attack."""
STARS_AT, STARS_SPREAD = 3.7, 0.8
POST, ITEM, USER, AD, NOTHING = range(5)
"""Kinds of targets."""
AD_CLICK = len(VERBS)
ON_POST = np.array([0.4, 0.6, 1.0, 0.5, 0.0, 0.0, 0.0])
ON_ITEM = np.array([0.5, 0.4, 0.0, 0.5, 0.0, 1.0, 0.0])
"""Chances per verb; what is left is on users, but for searches and ads."""
BOT_ROWS = (np.log(200.0), 0.7)
"""Log mean and spread of a bot's rows on a day on which it runs."""


@dataclass(frozen=True)
class Rows:
    """Columns of equal length; a subclass per stream."""

    user: Ints
    second: Ints

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints | Flags) -> Self:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))


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
class Posts(Rows):
    number: Ints
    category: Ints
    happy: Flags
    words: Ints
    """(n, 8): chances that the words are drawn by."""
    twist: Ints
    """What else stands in it: 0 to 3 a link, a mention, an entity or an escape; above, nothing."""


@dataclass(frozen=True)
class Follows(Rows):
    number: Ints
    followed: Ints
    made_on: Ints
    """The day that the id names: for an unfollow the day of the follow."""
    undone: Flags


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


def _counts(
    market: Market, traits: Block, day: int, kind: str, what: int
) -> tuple[Ints, np.random.Generator]:
    """The users of a day's events of one kind, and chance to go on with."""
    rng = market.rng(what, traits.first, day)
    awake = np.flatnonzero(traits.awake(day))
    rate = traits.rate(kind)[awake] * season(market.day(day))
    return np.repeat(awake, rng.poisson(rate)), rng


def _seconds(rng: np.random.Generator, n: int) -> Ints:
    return rng.integers(0, 86_400, n)


def pick_items(users: Ints, traits: Block, rng: np.random.Generator) -> Ints:
    """An item per row: a category by the user's interests, then one by popularity."""
    if not len(users):
        return np.zeros(0, np.int64)
    shares = np.cumsum(traits.interests[users], axis=1)
    category = (rng.random(len(users))[:, None] > shares).sum(1).clip(max=N_CATEGORIES - 1)
    rank = np.searchsorted(np.cumsum(popularity()), rng.random(len(users)))
    return rank.clip(max=PER_CATEGORY - 1) * N_CATEGORIES + category


def pick_peers(users: Ints, traits: Block, rng: np.random.Generator, stray: float) -> Ints:
    """Another user per row: of the same community, or now and then anyone of the block."""
    start = users // COMMUNITY * COMMUNITY
    size = np.minimum(start + COMMUNITY, traits.n) - start
    near = start + (rng.random(len(users)) * size).astype(np.int64)
    far = rng.integers(0, traits.n, len(users))
    picked = np.where(rng.random(len(users)) < stray, far, near)
    return np.where(picked == users, (users + 1) % traits.n, picked)


def engagements_of(market: Market, traits: Block, day: int) -> Engagements:
    """Views, likes, comments, shares, searches, clicks, ads seen and clicked, and what bots do."""
    rng = market.rng(4, traits.first, day)
    awake = np.flatnonzero(traits.awake(day))
    columns = np.array([list(RATES).index(verb) for verb in VERBS])
    counts = rng.poisson(traits.rates[np.ix_(awake, columns)] * season(market.day(day)))
    user = np.repeat(np.repeat(awake, len(VERBS)), counts.ravel())
    verb = np.repeat(np.tile(np.arange(len(VERBS)), len(awake)), counts.ravel())
    bots = np.flatnonzero(traits.bot & (traits.signed_up <= day))
    bots = bots[rng.random(len(bots)) < 0.5]
    n_bot = np.exp(rng.normal(*BOT_ROWS, len(bots))).astype(np.int64)
    user = np.concatenate([user, np.repeat(bots, n_bot)])
    verb = np.concatenate([verb, np.zeros(n_bot.sum(), np.int64)])
    n = len(user)
    chance = rng.random(n)
    kind = np.where(
        chance < ON_POST[verb], POST, np.where(chance < (ON_POST + ON_ITEM)[verb], ITEM, USER)
    )
    kind = np.where(verb == VERBS.index("search"), NOTHING, kind)
    kind = np.where(verb == VERBS.index("ad_view"), AD, kind)
    back = rng.integers(1, 3, n)
    n_posts = np.array([0, *(len(posts_of(market, traits, day - k)) for k in (1, 2))])[back]
    kind = np.where((kind == POST) & (n_posts == 0), ITEM, kind)
    target = pick_items(user, traits, rng)
    target = np.where(kind == POST, (rng.random(n) * n_posts).astype(np.int64), target)
    peers = kind == USER
    target[peers] = pick_peers(user[peers], traits, rng, 0.2)
    target = np.where(kind == AD, rng.integers(0, N_ADS, n), target)
    second = _seconds(rng, n)
    clicked = np.flatnonzero((kind == AD) & (rng.random(n) < traits.ad_liking[user]))
    rows = np.concatenate([np.arange(n), clicked])
    verb = np.concatenate([verb, np.full(len(clicked), AD_CLICK)])
    return Engagements(
        user[rows],
        second[rows],
        np.arange(len(rows)),
        verb,
        kind[rows],
        target[rows],
        day - back[rows],
        traits.bot[user[rows]],
    )


def posts_of(market: Market, traits: Block, day: int) -> Posts:
    """What is posted; none before the market starts."""
    user, rng = _counts(market, traits, day, "post", 5)
    if day < 0:
        user = user[:0]
    n = len(user)
    shares = np.cumsum(traits.interests[user], axis=1)
    category = (rng.random(n)[:, None] > shares).sum(1).clip(max=N_CATEGORIES - 1)
    happy = rng.random(n) < 1 / (1 + np.exp(-1.5 * traits.mood[user]))
    return Posts(
        user,
        _seconds(rng, n),
        np.arange(n),
        category,
        happy,
        rng.integers(0, 1 << 16, (n, 8)),
        rng.integers(0, 12, n),
    )


def follows_of(market: Market, traits: Block, day: int) -> Follows:
    """New follows, and follows of an earlier day undone."""
    new, old = (
        _new_follows(market, traits, day),
        _new_follows(market, traits, day - UNFOLLOWED_AFTER),
    )
    rng = market.rng(15, traits.first, day)
    gone = old.take(rng.random(len(old)) < (P_UNFOLLOWED if day >= UNFOLLOWED_AFTER else 0))
    both = [
        np.concatenate([getattr(part, f.name) for part in (new, gone)]) for f in fields(Follows)
    ]
    both[-1][len(new) :] = True
    return Follows(*both)


def _new_follows(market: Market, traits: Block, day: int) -> Follows:
    user, rng = _counts(market, traits, day, "follow", 6)
    n = len(user)
    return Follows(
        user,
        _seconds(rng, n),
        np.arange(n),
        pick_peers(user, traits, rng, 0.2),
        np.full(n, day),
        np.zeros(n, bool),
    )


def reviews_of(market: Market, traits: Block, items: Items, day: int) -> Reviews:
    """Reviews of goods: quality, mood and chance make the stars."""
    user, rng = _counts(market, traits, day, "review", 7)
    n, item = len(user), pick_items(user, traits, rng)
    level = STARS_AT + traits.mood[user] + items.quality[item] + rng.normal(0, STARS_SPREAD, n)
    stars = np.clip(np.round(level), 1, 5).astype(np.int64)
    return Reviews(
        user, _seconds(rng, n), np.arange(n), item, stars, rng.integers(0, 1 << 16, (n, 4))
    )


def orders_of(market: Market, traits: Block, day: int) -> Orders:
    """What is ordered, line by line."""
    buyer, rng = _counts(market, traits, day, "order", 8)
    lines = 1 + rng.poisson(MORE_LINES, len(buyer))
    user, order = np.repeat(buyer, lines), np.repeat(np.arange(len(buyer)), lines)
    n = len(user)
    return Orders(
        user,
        np.repeat(_seconds(rng, len(buyer)), lines),
        np.arange(n),
        order,
        pick_items(user, traits, rng),
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


def account_events_of(market: Market, traits: Block, day: int) -> AccountEvents:
    """Logins, payments and transfers of users, and of those who attack them."""
    parts = [frauds_of(market, traits, day)]
    for kind, name in enumerate(("login", "payment", "transfer")):
        user, rng = _counts(market, traits, day, name, 9 + kind)
        n = len(user)
        parts.append(
            AccountEvents(
                user,
                _seconds(rng, n),
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
