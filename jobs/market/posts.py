"""What is posted, and who reads which of it.

A post lives for three days. Part of what a user reads is by those whom the user follows, the rest
is of the categories that interest the user; in both, some authors and posts are better than others.
Letters: n rows, P posts that can be read on a day, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.market.choices import pick_categories
from jobs.market.rows import Rows, counts_of, seconds_of
from jobs.market.social import Graph
from jobs.market.traits import BLOCK, N_CATEGORIES, Block, Flags, Floats, Ints, Market, block

READ_AFTER = (0.5, 0.3, 0.2)
"""Shares of what is read that was posted one day before, two, and three."""
OF_FOLLOWED = 0.5
"""Share of what is read that is by authors whom the user follows, where they posted something."""
SPARK = 0.6
"""Spread of how well the posts of an author do, as a log weight."""
_TRIES = 3
"""Times that somebody looks further who has found a post of their own."""


@dataclass(frozen=True)
class Posts(Rows):
    number: Ints
    category: Ints
    happy: Flags
    words: Ints
    """(n, 8): chances that the words are drawn by."""
    twist: Ints
    """What else stands in it: 0 to 3 a link, a mention, an entity or an escape; above, nothing."""
    appeal: Floats
    """How much it is read, beside the others of its category and day."""


def posts_of(market: Market, traits: Block, day: int) -> Posts:
    """What is posted; none before the market starts."""
    return _posts(market, traits.first, day)


@lru_cache(maxsize=64)
def _posts(market: Market, first: int, day: int) -> Posts:
    traits = block(market, first)
    user, rng = counts_of(market, traits, day, "post", 5)
    if day < 0:
        user = user[:0]
    n = len(user)
    return Posts(
        user,
        seconds_of(rng, n),
        np.arange(n),
        pick_categories(user, traits, rng),
        rng.random(n) < 1 / (1 + np.exp(-1.5 * traits.mood[user])),
        rng.integers(0, 1 << 16, (n, 8)),
        rng.integers(0, 12, n),
        np.exp(traits.voice[user] + rng.normal(0, SPARK, n)),
    )


@dataclass(frozen=True)
class Readable:
    """The posts of a block that can be read on a day, each (P,), by how long ago and category."""

    author: Ints
    number: Ints
    made_on: Ints
    category: Ints
    after: Ints
    """0 for those of the day before, 1 and 2 for older ones."""
    appeal: Floats

    @staticmethod
    def on(market: Market, traits: Block, day: int) -> Readable:
        parts = [posts_of(market, traits, day - 1 - k) for k in range(len(READ_AFTER))]
        after = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        category = np.concatenate([p.category for p in parts])
        order = np.argsort(after * N_CATEGORIES + category, kind="stable")
        return Readable(
            np.concatenate([p.user for p in parts])[order],
            np.concatenate([p.number for p in parts])[order],
            day - 1 - after[order],
            category[order],
            after[order],
            np.concatenate([p.appeal for p in parts])[order],
        )

    def __len__(self) -> int:
        return len(self.author)

    def pick(self, users: Ints, traits: Block, graph: Graph, rng: np.random.Generator) -> Ints:
        """(n,): the place of the post that each row reads. There must be some."""
        after = np.searchsorted(np.cumsum(READ_AFTER)[:-1], rng.random(len(users)), side="right")
        picked = self._by_interest(users, after, traits, rng)
        for _ in range(_TRIES):
            own = np.flatnonzero(self.author[picked] == users)
            picked[own] = self._by_interest(users[own], after[own], traits, rng)
        rows = np.flatnonzero(rng.random(len(users)) < OF_FOLLOWED)
        post = self._by_followed(users[rows], after[rows], graph, rng)
        picked[rows[post >= 0]] = post[post >= 0]
        return picked

    def _by_interest(
        self, users: Ints, after: Ints, traits: Block, rng: np.random.Generator
    ) -> Ints:
        """A post of a category by interest; of any where there is none, and else of any day."""
        category = pick_categories(users, traits, rng)
        upto = np.concatenate([[0.0], np.cumsum(self.appeal)])
        key = self.after * N_CATEGORIES + self.category
        start, end = np.zeros(len(users), np.int64), np.full(len(users), len(self))
        for first, last in (
            (after * N_CATEGORIES, (after + 1) * N_CATEGORIES),
            (after * N_CATEGORIES + category, after * N_CATEGORIES + category + 1),
        ):
            low, high = np.searchsorted(key, first), np.searchsorted(key, last)
            start, end = np.where(high > low, low, start), np.where(high > low, high, end)
        chance = upto[start] + rng.random(len(users)) * (upto[end] - upto[start])
        return np.clip(np.searchsorted(upto, chance, side="right") - 1, start, end - 1)

    def _by_followed(
        self, users: Ints, after: Ints, graph: Graph, rng: np.random.Generator
    ) -> Ints:
        """A post by somebody whom the user follows; -1 where there is none of that day."""
        order = np.argsort(self.after * BLOCK + self.author, kind="stable")
        key = (self.after * BLOCK + self.author)[order]
        upto = np.concatenate([[0.0], np.cumsum(self.appeal[order])])
        start, end = graph.followed_by(users)
        rows = np.repeat(np.arange(len(users)), end - start)
        place = np.arange(len(rows)) - np.repeat(
            np.cumsum(end - start) - (end - start), end - start
        )
        wanted = after[rows] * BLOCK + graph.key[start[rows] + place] % BLOCK
        low, high = np.searchsorted(key, wanted), np.searchsorted(key, wanted, side="right")
        rows, low, high = (of[high > low] for of in (rows, low, high))
        # Authors' weights in a row, user by user; a number from 0 to 1 points among them.
        weights = np.concatenate([[0.0], np.cumsum(upto[high] - upto[low])])
        first = np.searchsorted(rows, np.arange(len(users)))
        last = np.searchsorted(rows, np.arange(len(users)), side="right")
        chance = weights[first] + rng.random(len(users)) * (weights[last] - weights[first])
        some = last > first
        author = np.clip(np.searchsorted(weights, chance, side="right") - 1, first, last - 1)[some]
        rest = upto[low[author]] + chance[some] - weights[author]
        post = np.full(len(users), -1)
        post[some] = order[
            np.clip(np.searchsorted(upto, rest, side="right") - 1, low[author], high[author] - 1)
        ]
        return post
