"""Who follows whom: users follow back, follow friends of friends, and people like themselves.

What happens on a day depends on who follows whom by then, so a day is made from the one before;
the last few are kept. Follows stay within a block of users.
Letters: n rows, E follows, P people whom a user may meet.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.market.hidden import hidden_of
from jobs.market.rows import USER, Rows, counts_of, seconds_of
from jobs.market.traits import BLOCK, COMMUNITY, Block, Flags, Floats, Ints, Market, block

P_UNFOLLOWED, UNFOLLOWED_AFTER = 0.08, 20
BACK, OF_FRIENDS, STRAY = 0.3, 0.25, 0.05
"""Chances that a follow is of somebody who follows the user, of whom those follow whom the user
follows, and of anybody. The rest, and where there is nobody of the kind, are people alike."""
NEAR = 0.15
"""Weight of somebody of one of the two communities with the nearest interests, beside 1 of the
user's own."""
ALIKE, HEARD = 2.0, 0.5
"""What shared interests (their cosine) and a voice count in the log weight of somebody."""


@dataclass(frozen=True)
class Follows(Rows):
    number: Ints
    followed: Ints
    made_on: Ints
    """The day that the id names: for an unfollow the day of the follow."""
    undone: Flags


@dataclass(frozen=True)
class Graph:
    """Who follows whom at the end of a day, each (E,), by who follows and whom."""

    key: Ints
    """Who follows x BLOCK + whom."""
    made_on: Ints
    number: Ints
    blocked: Ints
    """Pairs, in both orders, of whom one blocks the other: one x BLOCK + the other, ascending."""

    def follows(self, user: Ints, other: Ints) -> Flags:
        """Whether each user follows the other; of any shape."""
        return _among(user * BLOCK + other, self.key)

    def out_of_question(self, user: Ints, other: Ints) -> Flags:
        """Whether each user will not follow the other: follows them, is them, or one of the two
        blocks the other; of any shape."""
        key = user * BLOCK + other
        return (user == other) | _among(key, self.key) | _among(key, self.blocked)

    def followed_by(self, users: Ints) -> tuple[Ints, Ints]:
        """(n,): where in `key` the follows of each user start and end."""
        return _span(self.key, users)

    def unreturned(self) -> Ints:
        """Follows that may be returned, by who is followed: that x BLOCK + who follows."""
        back = np.sort(self.key % BLOCK * BLOCK + self.key // BLOCK)
        return back[~self.out_of_question(back // BLOCK, back % BLOCK)]


def _among(key: Ints, keys: Ints) -> Flags:
    """Whether each is one of some that are sorted."""
    if not len(keys):
        return np.zeros(key.shape, bool)
    place = np.searchsorted(keys, key).clip(max=len(keys) - 1)
    return np.asarray(keys[place] == key)


def _span(keys: Ints, users: Ints) -> tuple[Ints, Ints]:
    """(n,): where among sorted pairs those of each user start and end."""
    return np.searchsorted(keys, users * BLOCK), np.searchsorted(keys, (users + 1) * BLOCK)


EMPTY = Graph(*(np.zeros(0, np.int64) for _ in range(4)))
_DAYS_KEPT, _BLOCKS_KEPT = 4, 256
_days: OrderedDict[tuple[Market, int], dict[int, tuple[Follows, Graph]]] = OrderedDict()


def follows_of(market: Market, traits: Block, day: int) -> Follows:
    """New follows of a day from 0 on, and follows of an earlier day undone."""
    return _day(market, traits, day)[0]


def graph_of(market: Market, traits: Block, day: int) -> Graph:
    """Who follows whom at the end of a day."""
    return _day(market, traits, day)[1] if day >= 0 else EMPTY


def _day(market: Market, traits: Block, day: int) -> tuple[Follows, Graph]:
    known = _days.setdefault((market, traits.first), {})
    _days.move_to_end((market, traits.first))
    if len(_days) > _BLOCKS_KEPT:
        _days.popitem(last=False)
    last = max((d for d in known if d <= day), default=-1)
    for d in range(last + 1, day + 1):
        known[d] = _next(market, traits, known[d - 1][1] if d else EMPTY, d)
        known.pop(d - _DAYS_KEPT, None)
    return known[day]


def _next(market: Market, traits: Block, graph: Graph, day: int) -> tuple[Follows, Graph]:
    """What happens on a day, and who follows whom after it."""
    user, rng = counts_of(market, traits, day, "follow", 6)
    followed = pick_followed(market, traits, graph, user, day, rng)
    second = seconds_of(rng, len(user))
    key, first = np.unique(user * BLOCK + followed, return_index=True)
    first = np.sort(first[~graph.out_of_question(key // BLOCK, key % BLOCK)])
    user, followed, second = user[first], followed[first], second[first]
    n = len(user)
    rng = market.rng(15, traits.first, day)
    undone = (graph.made_on == day - UNFOLLOWED_AFTER) & (rng.random(len(graph.key)) < P_UNFOLLOWED)
    gone = np.flatnonzero(undone)
    rows = Follows(
        np.concatenate([user, graph.key[gone] // BLOCK]),
        np.concatenate([second, seconds_of(rng, len(gone))]),
        np.concatenate([np.arange(n), graph.number[gone]]),
        np.concatenate([followed, graph.key[gone] % BLOCK]),
        np.concatenate([np.full(n, day), graph.made_on[gone]]),
        np.concatenate([np.zeros(n, bool), np.ones(len(gone), bool)]),
    )
    h = hidden_of(market, traits, day)
    h = h.take(h.kind == USER)
    key = np.concatenate([graph.key[~undone], user * BLOCK + followed])
    order = np.argsort(key, kind="stable")
    return rows, Graph(
        key[order],
        np.concatenate([graph.made_on[~undone], np.full(n, day)])[order],
        np.concatenate([graph.number[~undone], np.arange(n)])[order],
        np.union1d(
            graph.blocked,
            np.concatenate([h.user * BLOCK + h.target, h.target * BLOCK + h.user]),
        ),
    )


def pick_followed(
    market: Market, traits: Block, graph: Graph, users: Ints, day: int, rng: np.random.Generator
) -> Ints:
    """Whom each row follows; now and then somebody who is followed already."""
    n = len(users)
    kind, chance, second = rng.random((3, n))
    people, weights = alike(market, traits, graph, users, day)
    upto = np.cumsum(weights, axis=1)
    place = (upto <= (chance * upto[:, -1])[:, None]).sum(axis=1).clip(max=people.shape[1] - 1)
    picked = people[np.arange(n), place]
    far = (second * traits.n).astype(np.int64)
    picked = np.where((kind >= 1 - STRAY) | (upto[:, -1] == 0), far, picked)
    back = graph.unreturned()
    start, end = _span(back, users)
    rows = np.flatnonzero((kind < BACK) & (end > start))
    picked[rows] = back[_pick(start[rows], end[rows], second[rows])] % BLOCK
    rows = np.flatnonzero((kind >= BACK) & (kind < BACK + OF_FRIENDS))
    start, end = graph.followed_by(users[rows])
    rows, start, end = (of[end > start] for of in (rows, start, end))
    friend = graph.key[_pick(start, end, second[rows])] % BLOCK
    start, end = graph.followed_by(friend)
    rows, start, end = (of[end > start] for of in (rows, start, end))
    theirs = graph.key[_pick(start, end, rng.random(n)[rows])] % BLOCK
    new = ~graph.out_of_question(users[rows], theirs)
    picked[rows[new]] = theirs[new]
    return picked


def _pick(start: Ints, end: Ints, chance: Floats) -> Ints:
    """A place in each range, where a number from 0 to 1 points."""
    return start + (chance * (end - start)).astype(np.int64)


def alike(
    market: Market, traits: Block, graph: Graph, users: Ints, day: int
) -> tuple[Ints, Floats]:
    """People like each user, and how likely each is followed beside the others, each (n, P): of the
    user's community and of the two nearest, whom the user does not follow yet."""
    own = users // COMMUNITY
    groups = np.concatenate([own[:, None], _nearest(market, traits.first)[own]], axis=1)
    people = (groups[:, :, None] * COMMUNITY + np.arange(COMMUNITY)).reshape(
        len(users), groups.shape[1] * COMMUNITY
    )
    there = people < traits.n
    people = np.where(there, people, users[:, None])
    there &= traits.signed_up[people] < day
    there &= ~graph.out_of_question(users[:, None], people)
    unit = _directions(market, traits.first)
    cosine = np.einsum("npc,nc->np", unit[people], unit[users])
    weight = np.exp(ALIKE * cosine + HEARD * traits.voice[people])
    near = np.repeat([1.0, NEAR, NEAR], COMMUNITY)
    return people, weight * near * there


@lru_cache(maxsize=8)
def _directions(market: Market, first: int) -> Floats:
    """(users, C): interests as unit vectors."""
    interests = block(market, first).interests
    return interests / np.linalg.norm(interests, axis=1, keepdims=True)


@lru_cache(maxsize=8)
def _nearest(market: Market, first: int) -> Ints:
    """(communities, 2): the two others with the nearest mean interests."""
    interests = block(market, first).interests
    groups = np.arange(len(interests)) // COMMUNITY
    sums = np.zeros((groups[-1] + 1, interests.shape[1]))
    np.add.at(sums, groups, interests)
    unit = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1.0)
    order = np.argsort(-likeness, axis=1, kind="stable")
    return np.concatenate([order, order], axis=1)[:, :2]
