"""People to follow, from who follows whom: those who follow back, friends of friends, and who is
reached by walks of two and three steps.

Edges count in both directions: who follows a user says as much of the user's taste as whom the
user follows, and one who does both says it twice. On Ciao's edges this raised the nDCG@10 of
friends of friends from .096 to .110.

Letters of shapes: N people, G edges, C pairs of a user and a friend, F pairs of a friend and whom
the friend suggests.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.recommendation_tables import FIXED_POINT
from jobs.candidates.add_up import Lists, Tastes, best_sums
from jobs.candidates.arrow_lists import flat, numbers, one_array, starts
from jobs.candidates.caps import Caps
from jobs.candidates.entries import Entries
from jobs.candidates.fixed_point import ONE, Integers, among, firsts, fixed
from jobs.candidates.step_rows import FOLLOWS, LISTS, TASTES, World, grouped

FAR = 1.4
"""What a walk of three steps counts beside one of two. On Ciao the further ones then add up to half
of the nearer ones on average, which gave more than as much, or twice as much."""

FOLLOWS_BACK, FRIENDS_OF_FRIENDS, PAGE_RANK = "follows_back", "friends_of_friends", "page_rank"
SOURCES = (FOLLOWS_BACK, FRIENDS_OF_FRIENDS, PAGE_RANK)


def follows_of(entries: Entries) -> NDArray[np.bool_]:
    """Entries in which a user follows somebody, of users and people; unless either has blocked the
    other, who then suggests nothing and explains nothing."""
    people = numbers(entries.ids, entries.users)
    return (entries.owned == 1) & (entries.blocked == 0) & (people != entries.user)


def follows(world: World, entries: Entries) -> list[pa.Table]:
    """Whom each user follows, for the walks."""
    some = np.flatnonzero(follows_of(entries))
    ids = entries.ids.take(pa.array(some))
    user, signal = entries.user[some], entries.signals[some]
    return [grouped(world, FOLLOWS, "", entries.users, user, ids, signal)]


@dataclass(frozen=True)
class Graph:
    """Who follows whom."""

    names: pa.StringArray
    """(N,) ascending."""
    available: NDArray[np.bool_]
    """(N,) who may be shown."""
    user: Integers
    """(G,) who follows."""
    followed: Integers
    """(G,) whom."""
    signal: Integers
    """(G,) the signal between them."""

    @classmethod
    def of(cls, rows: pa.Table, unavailable: pa.StringArray) -> Graph:
        """From rows of `FOLLOWS`, and the users who may not be shown."""
        keys, ids = one_array(rows["key"]), flat(rows["ids"])
        names = pc.unique(pa.concat_arrays([keys, ids]))
        names = names.take(pc.sort_indices(names))
        lengths = np.diff(starts(rows["ids"]))
        return cls(
            names,
            numbers(names, unavailable) < 0,
            np.repeat(numbers(keys, names), lengths),
            numbers(ids, names),
            flat(rows["amounts"]).to_numpy(zero_copy_only=False),
        )


def walks(
    world: World,
    rows: pa.Table,
    unavailable: pa.StringArray,
    sources: Collection[str],
    caps: Caps,
) -> list[pa.Table]:
    """Tastes and lists of those of `SOURCES` that are asked for; `rows` say who follows whom."""
    graph = Graph.of(rows, unavailable)
    tables = _follows_back(world, graph, caps.followers) if FOLLOWS_BACK in sources else []
    if FRIENDS_OF_FRIENDS in sources or PAGE_RANK in sources:
        close, near = friends(graph, caps.friends), followed(graph, caps.followed)
        of_friends = {FRIENDS_OF_FRIENDS: near}
        if PAGE_RANK in sources:
            of_friends[PAGE_RANK] = _with_further(close, near, len(graph.names), caps.reached)
        for source in sources:
            if source in of_friends:
                tables += _of_friends(world, graph, source, close, of_friends[source])
    return tables


def _follows_back(world: World, graph: Graph, most: int) -> list[pa.Table]:
    """Who follows the user and is not followed, those of the strongest signals first; the reason is
    the user."""
    n = len(graph.names)
    back = np.sort(graph.followed * n + graph.user)
    one_way = ~among(graph.user * n + graph.followed, back) & graph.available[graph.user]
    some = np.flatnonzero(one_way)
    some = some[firsts(graph.followed[some], (-graph.signal[some], graph.user[some]), most)]
    to, ids = graph.followed[some], graph.names.take(pa.array(graph.user[some]))
    users = np.unique(to)
    names = graph.names.take(pa.array(users))
    once = np.full(len(users), FIXED_POINT, np.int64)
    return [
        grouped(world, LISTS, FOLLOWS_BACK, graph.names, to, ids, 1 + graph.signal[some]),
        grouped(world, TASTES, FOLLOWS_BACK, graph.names, users, names, once),
    ]


@dataclass(frozen=True)
class Friends:
    """Who is next to whom: either of them follows the other. Of each user the closest friends."""

    user: Integers
    """(C,) ascending."""
    friend: Integers
    """(C,)"""
    score: Integers
    """(C,) number of edges between them over the root of how many are next to the friend. Adamic
    and Adar damp it by its logarithm, resource allocation by itself; the root gave most on Ciao."""
    chance: Integers
    """(C,) the same without the root."""


@dataclass(frozen=True)
class Suggested:
    """Whom friends suggest."""

    friend: Integers
    """(F,) ascending."""
    item: Integers
    """(F,)"""
    score: Integers
    """(F,)"""


def friends(graph: Graph, most: int) -> Friends:
    """The `most` closest friends of each user."""
    n = len(graph.names)
    ways = (graph.user * n + graph.followed, graph.followed * n + graph.user)
    pair, n_edges = np.unique(np.concatenate(ways), return_counts=True)
    user, friend = np.divmod(pair, max(n, 1))
    degree = np.bincount(friend, minlength=n)[friend]
    score = fixed(n_edges / np.sqrt(degree))
    close = firsts(user, (-score, friend), most)
    chance = fixed(n_edges[close] / degree[close])
    return Friends(user[close], friend[close], score[close], chance)


def followed(graph: Graph, most: int) -> Suggested:
    """Whom each friend suggests: the `most` most followed of those whom the friend follows and who
    may be shown."""
    n_followers = np.bincount(graph.followed, minlength=len(graph.names))
    some = np.flatnonzero(graph.available[graph.followed])
    user, item = graph.user[some], graph.followed[some]
    first = firsts(user, (-n_followers[item], item), most)
    once = np.full(len(first), FIXED_POINT, np.int64)
    return Suggested(user[first], item[first], once)


def _with_further(close: Friends, near: Suggested, n: int, most: int) -> Suggested:
    """Besides whom each friend follows, `most` of whom those follow who are next to the friend.

    These are walks of two and three steps, of which all but the last go along edges in any
    direction.

    The second of three steps goes to each friend's friend with a chance of one in how many are next
    to that one, so that walks do not all end with the best known. On Ciao the sum of both gave an
    nDCG@10 of .116, where friends of friends gave .108.
    """
    everybody = np.arange(n)
    lists = Lists(n, np.searchsorted(near.friend, np.arange(n + 1)), near.item, near.score)
    order = np.lexsort((close.friend, close.user))
    begin = np.searchsorted(close.user, np.arange(n + 1))
    tastes = Tastes(begin, close.friend[order], close.chance[order])
    oneself = everybody * n + everybody
    user, item, score, _ = best_sums(tastes, lists, oneself, most)
    friend = np.concatenate([near.friend, user])
    order = np.argsort(friend, kind="stable")
    return Suggested(
        friend[order],
        np.concatenate([near.item, item])[order],
        np.concatenate([near.score, fixed(score / ONE / ONE * FAR)])[order],
    )


def _of_friends(
    world: World, graph: Graph, source: str, close: Friends, suggested: Suggested
) -> list[pa.Table]:
    """What friends suggest to users; the reason is the friend."""
    names = graph.names
    reasons, items = (names.take(pa.array(n)) for n in (close.friend, suggested.item))
    return [
        grouped(world, TASTES, source, names, close.user, reasons, close.score),
        grouped(world, LISTS, source, names, suggested.friend, items, suggested.score),
    ]
