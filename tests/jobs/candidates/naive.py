"""The sources of candidates, written as plainly as can be, to compare the clever ones with.

A suggestion is (item, score in 2^40ths, reason); each source gives those of one user.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import numpy as np

from contracts.surfaces import Surface
from jobs.candidates import follow_walks
from jobs.candidates.caps import Caps
from jobs.candidates.sources import COUNTED
from tests.jobs.candidates.worlds import ARRAYS, World, day_number

ONE = 2**20
Suggestion = tuple[str, int, str]


def fixed(value: float) -> int:
    return math.floor(value * float(ONE) + 0.5)


class Day:
    """What is known as of one midnight, of one fold where it matters."""

    def __init__(self, world: World, as_of: date, surfaces: Iterable[Surface], caps: Caps) -> None:
        self.caps, self.as_of, self.today = caps, as_of, day_number(as_of)
        self.surfaces = {surface.name: surface for surface in surfaces}
        self.items: dict[str, dict[str, Any]] = defaultdict(dict)
        for row in world.items:
            if row["as_of"] == as_of:
                self.items[row["surface"]][row["item_id"]] = row
        self.histories: dict[tuple[str, int], dict[str, dict[str, Any]]] = defaultdict(dict)
        for row in world.histories:
            if row["as_of"] == as_of:
                self.histories[row["surface"], row["fold"]][row["user_key"]] = {
                    item_id: {of: row[name][n] for name, of, _ in ARRAYS}
                    for n, item_id in enumerate(row["item_ids"])
                }

    def shown(self, surface: str) -> dict[str, dict[str, Any]]:
        return {i: row for i, row in self.items[surface].items() if row["available"]}

    def of_target(self, target: str) -> list[str]:
        return [name for name, surface in self.surfaces.items() if surface.target == target]

    def edges(self, surface: str, fold: int) -> dict[tuple[str, str], int]:
        """Who follows whom, and the signal between them."""
        return {
            (user, other): entry["signal"]
            for user, entries in self.histories[surface, fold].items()
            for other, entry in entries.items()
            if entry["owned"] and not entry["blocked"] and user != other
        }

    def hidden(self, surface: str, user: str, fold: int) -> set[str]:
        entries = self.histories[surface, fold][user]
        repeats = self.surfaces[surface].repeats
        out = {i for i, e in entries.items() if e["blocked"] or (e["owned"] and not repeats)} | {
            user
        }
        return out | {i for i, row in self.items[surface].items() if row["author_key"] == user}


def recent(entries: dict[str, dict[str, Any]], n: int) -> dict[str, dict[str, Any]]:
    liked = {i: e for i, e in entries.items() if e["signal"] > 0}
    return {i: liked[i] for i in sorted(liked, key=lambda i: (-liked[i]["signal"], i))[:n]}


def own(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    declared = day.surfaces[surface]
    strength = float(ONE * max(declared.signals[goal] for goal in declared.goals))
    for i, e in day.histories[surface, fold][user].items():
        if e["n_days"] and not e["blocked"] and i in day.shown(surface):
            due = 1.0
            if e["gap"] > 0 and e["last_day"] != -1:
                due = min(1.0, (day.today - e["last_day"] + declared.horizon_days) / e["gap"])
            popularity = math.sqrt(1.0 + day.shown(surface)[i]["n_users_30d"])
            score = e["n_days"] * (1 + e["signal"] / strength) * popularity * due
            yield i, fixed(score) * ONE, ""


def similarities(day: Day, surface: str, fold: int) -> dict[str, dict[str, int]]:
    sums: Counter[tuple[str, str]] = Counter()
    for entries in day.histories[surface, fold].values():
        met = recent(entries, day.caps.own)
        for i, e in met.items():
            for j, f in met.items():
                strengths = [
                    (1.0 if x["last_day"] == -1 else 30 / (30 + day.today - x["last_day"]))
                    / math.sqrt(math.sqrt(len(met)))
                    for x in (e, f)
                ]
                sums[i, j] += math.prod(math.floor(s * 2.0**16 + 0.5) for s in strengths)
    out: dict[str, dict[str, int]] = defaultdict(dict)
    for (i, j), n in sums.items():
        if i != j and j in day.shown(surface):
            cosine = n / (math.sqrt(sums[i, i]) * math.sqrt(sums[j, j]))
            damped = math.sqrt(math.sqrt(math.sqrt(math.sqrt(sums[j, j] / 2.0**32))))
            out[i][j] = fixed(cosine * damped)
    return {
        i: most({j: s for j, s in scores.items() if s}, day.caps.neighbours)
        for i, scores in out.items()
    }


def most(scores: dict[str, int], n: int) -> dict[str, int]:
    return {i: scores[i] for i in sorted(scores, key=lambda i: (-scores[i], i))[:n]}


def goes_together(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    similar = similarities(day, surface, fold)
    for i, e in recent(day.histories[surface, fold][user], day.caps.own).items():
        for j, score in similar.get(i, {}).items():
            yield j, score * fixed(math.sqrt(e["signal"] / ONE)), i


def of_interest(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    liked: Counter[str] = Counter()
    for i, e in day.histories[surface, fold][user].items():
        category = day.items[surface][i]["category_id"]
        if category is not None and e["signal"] > 0:
            liked[category] += e["signal"]
    total = sum(liked.values())
    for category, signal in most(liked, day.caps.categories).items():
        inside = {i: r for i, r in day.shown(surface).items() if r["category_id"] == category}
        popular = sorted(inside, key=lambda i: (-inside[i]["popularity_10d"], i))
        new = sorted(inside, key=lambda i: (-inside[i]["first_day"], i))
        scores = {i: fixed(1 / (min(popular.index(i), new.index(i)) + 1)) for i in inside}
        for i, score in most(scores, day.caps.of_category).items():
            yield i, score * fixed(signal / total), category


def by_authors(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    for people in day.of_target("user"):
        follows = {b: s for (a, b), s in day.edges(people, 0).items() if a == user}
        for author, signal in most(follows, day.caps.authors).items():
            posts = {i: r for i, r in day.shown(surface).items() if r["author_key"] == author}
            newest = sorted(posts, key=lambda i: (-posts[i]["first_day"], i))
            for i in newest[: day.caps.posts]:
                age = day.today - posts[i]["first_day"]
                score = fixed(3 / (3 + age) * math.sqrt(1.0 + posts[i]["n_users_30d"]))
                yield i, score * fixed(math.sqrt(1 + signal / ONE)), author


def follow_back(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    edges = day.edges(surface, fold)
    back = {
        a: signal
        for (a, b), signal in edges.items()
        if b == user and (b, a) not in edges and a in day.shown(surface)
    }
    for a, signal in most(back, day.caps.followers).items():
        yield a, (1 + signal) * ONE, ""


def next_to(edges: dict[tuple[str, str], int], user: str) -> Counter[str]:
    return Counter([b for a, b in edges if a == user] + [a for a, b in edges if b == user])


def friends(caps: Caps, edges: dict[tuple[str, str], int], user: str) -> dict[str, int]:
    close = {
        friend: fixed(n / math.sqrt(len(next_to(edges, friend))))
        for friend, n in next_to(edges, user).items()
    }
    return most(close, caps.friends)


def whom(day: Day, surface: str, fold: int, friend: str) -> list[str]:
    """Whom a friend suggests: the most followed of those whom the friend follows."""
    edges = day.edges(surface, fold)
    n_followers = Counter(b for _, b in edges)
    theirs = {b: n_followers[b] for a, b in edges if a == friend and b in day.shown(surface)}
    return list(most(theirs, day.caps.followed))


def of_friends(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    for friend, score in friends(day.caps, day.edges(surface, fold), user).items():
        for other in whom(day, surface, fold, friend):
            yield other, score * ONE, friend


def walks(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    edges = day.edges(surface, fold)

    for friend, score in friends(day.caps, edges, user).items():
        for other in whom(day, surface, fold, friend):
            yield other, score * ONE, friend
        reached: Counter[str] = Counter()
        for close in friends(day.caps, edges, friend):
            chance = fixed(next_to(edges, friend)[close] / len(next_to(edges, close)))
            for other in whom(day, surface, fold, close):
                if other != friend:
                    reached[other] += chance * ONE
        for other, chance in most(+reached, day.caps.reached).items():
            yield other, score * fixed(chance / ONE / ONE * follow_walks.FAR), friend


def tastes(day: Day, surface: str, user: str, fold: int) -> Iterator[Suggestion]:
    for shop in day.of_target("item")[:1]:
        liked = {
            u: recent(entries, day.caps.liked) for u, entries in day.histories[shop, 0].items()
        }
        n_fans = Counter(i for entries in liked.values() for i in entries)
        for i in liked.get(user, {}):
            fans = {
                u: entries[i]["signal"]
                for u, entries in liked.items()
                if i in entries and u in day.shown(surface)
            }
            for u in most(fans, day.caps.fans):
                yield u, fixed(1 / math.sqrt(n_fans[i])) * ONE, i


SOURCES = {
    "own": own,
    "together": goes_together,
    "interests": of_interest,
    "followed_authors": by_authors,
    "follows_back": follow_back,
    "friends_of_friends": of_friends,
    "page_rank": walks,
    "same_tastes": tastes,
}


def candidates(day: Day, n: int) -> dict[tuple[Any, ...], tuple[list[Any], ...]]:
    """Item ids, scores and reasons by `as_of`, surface, user, fold and source."""
    out: dict[tuple[Any, ...], tuple[list[Any], ...]] = {}
    for (surface, fold), users in day.histories.items():
        for user in users:
            for name in set(COUNTED) & set(day.surfaces[surface].sources):
                sums: Counter[str] = Counter()
                reasons: dict[str, list[tuple[int, str]]] = defaultdict(list)
                gone = set() if name == "own" else day.hidden(surface, user, fold)
                for i, score, because in SOURCES[name](day, surface, user, fold):
                    if i not in gone:
                        sums[i] += score
                        reasons[i].append((-score, because))
                best = most({i: s for i, s in sums.items() if s > 0}, n)
                if best:
                    out[day.as_of, surface, user, fold, name] = (
                        list(best),
                        [float(np.float32(score / ONE**2)) for score in best.values()],
                        [min(reasons[i])[1] for i in best],
                    )
    return out
