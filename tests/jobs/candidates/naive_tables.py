"""Items, histories and popular lists, straight from clean rows and as plainly as can be."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

from contracts.recommendation_tables import NEW_USER_DAYS
from contracts.surfaces import HALF_LIVES, Surface
from tests.jobs.candidates.hand_made import days_since_1970, weight
from tests.jobs.features.worlds import START, World, random_world

Key = tuple[Any, ...]
LeftOut = Mapping[tuple[str, str], bool]
"""Ordered pair of users to whether an edge between them is left out of fold 1."""


@dataclass(frozen=True)
class Act:
    """Something that a user did with a target, or was shown."""

    user: str
    target: str
    event: str
    day: date
    row: Mapping[str, Any]


def world_with_recommendations(seed: int) -> World:
    """A random world with prices, categories of posts, impressions and blocks."""
    world, rng = random_world(seed), random.Random(seed + 100)
    del world.rows["content_scores"]  # nothing is recommended by what texts say
    users = sorted({row["user_key"] for row in world.rows["users"]})
    targets = {
        "item": [f"i{i}" for i in range(9)],
        "ad": ["ad1", "ad2"],
        "post": [f"p{i}" for i in range(0, 60, 5)],
        "user": users,
    }

    def times() -> dict[str, Any]:
        day = rng.randrange(120)
        at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=rng.randrange(86_400))
        return {"occurred_at": at, "landed_on": START + timedelta(days=day + rng.choice([0, 0, 9]))}

    def targeted(user: str) -> dict[str, Any]:
        kind = rng.choice([*targets])
        others = [target for target in targets[kind] if target != user]
        return {"user_key": user, "target_kind": kind, "target_id": rng.choice(others)}

    world.rows["impressions"] = [
        {
            "impression_id": f"s{i}",
            **targeted(rng.choice(users)),
            "position": rng.choice([None, 1, 7]),
            **times(),
        }
        for i in range(300)
    ]
    world.rows["blocks"] = [
        {
            "block_id": f"b{i}",
            **targeted(rng.choice(users)),
            "kind": rng.choice(["block", "block", "unblock"]),
            **times(),
        }
        for i in range(40)
    ]
    for item in world.rows["items"]:
        item["price_minor"] = rng.choice([None, 0, 999])
        item["available"] = rng.choice([None, True, True, False])
        item["min_age"] = rng.choice([None, 18])
    for user in world.rows["users"]:
        user["birth_year"] = rng.choice([None, 1990, 2012])
    for post in world.rows["posts"]:
        post["category_id"] = rng.choice([None, "news", "fun"])
    return world


def acts(world: World, kind: str, as_of: date) -> Iterator[Act]:
    """What had both happened and landed before midnight."""
    if kind == "item":
        for r in standing_orders(world, as_of):
            yield Act(r["user_key"], r["item_id"], "order", r["occurred_at"].date(), r)
        for r in world.known("reviews", as_of):
            yield Act(r["user_key"], r["item_id"], "review", r["occurred_at"].date(), r)
    if kind == "user":
        for r in world.known("follows", as_of):
            yield Act(r["user_key"], r["followed_key"], r["kind"], r["occurred_at"].date(), r)
    for r in world.known("engagements", as_of):
        is_shown = kind == "ad" and r["verb"] == "view"
        is_one = r["user_key"] and r["user_key"] != r["target_id"] and not is_shown
        if r["target_kind"] == kind and r["verb"] != "search" and is_one:
            yield Act(r["user_key"], r["target_id"], r["verb"], r["occurred_at"].date(), r)
    for r in impressions(world, kind, as_of):
        day = r["occurred_at"].date()
        yield Act(r["user_key"], r["target_id"], "impression", day, r)


def standing_orders(world: World, as_of: date) -> Iterator[dict[str, Any]]:
    """Lines of orders, but those of a user, item, day and landing day of which nothing is left:
    what is undone takes units of the newest before it, those of a day that landed last first."""
    by_tile: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for r in world.known("orders", as_of):
        undoes = r["kind"] != "purchase"
        day = r["occurred_at"].date()
        tile = (r["user_key"], r["item_id"], day, undoes, max(day, r["landed_on"]), r["landed_on"])
        by_tile[tile].append(r)
    left: dict[Key, int] = {}
    for tile in sorted(by_tile):
        units = sum(r["quantity"] for r in by_tile[tile])
        if not tile[3]:
            left[tile] = units
            continue
        for earlier in reversed([t for t in left if t[:2] == tile[:2]]):
            taken = min(units, left[earlier])
            left[earlier] -= taken
            units -= taken
    for tile, units in left.items():
        if units:
            yield from by_tile[tile]


def impressions(world: World, kind: str, as_of: date) -> Iterator[dict[str, Any]]:
    """Rows of both logs that say what was shown; what both may say, as often as the one does that
    says it more often."""
    logs: dict[Key, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    for log, name in enumerate(("impressions", "engagements")):
        for r in world.known(name, as_of):
            is_shown = name == "impressions" or (kind == "ad" and r["verb"] == "view")
            if r["target_kind"] == kind and r["user_key"] and is_shown:
                key = (r["user_key"], r["target_id"], r["occurred_at"].date())
                logs.setdefault(key, ([], []))[log].append(r)
    for both in logs.values():
        yield from max(both, key=len)


def newest(rows: list[dict[str, Any]], *by: str) -> dict[str, Any] | None:
    return max(rows, key=lambda r: tuple(r[name] for name in by), default=None)


def edges(world: World, as_of: date) -> dict[tuple[str, str], bool]:
    """Who follows whom as of midnight, and whether it has a time."""
    facts = defaultdict(list)
    for r in world.rows["follows"]:
        if r["valid_from"] and r["landed_on"] < as_of and r["valid_from"].date() < as_of:
            facts[r["user_key"], r["followed_key"]].append(r)
    last = {pair: newest(rows, "valid_from", "follow_id") for pair, rows in facts.items()}
    return {
        pair: fact["occurred_at"] is not None
        for pair, fact in last.items()
        if fact and fact["kind"] == "follow"
    }


def blocked(world: World, as_of: date) -> set[tuple[str, str, str]]:
    """User, kind and target of the blocks that hold as of midnight."""
    facts = defaultdict(list)
    for r in world.known("blocks", as_of):
        facts[r["user_key"], r["target_kind"], r["target_id"]].append(r)
    last = {of: newest(rows, "occurred_at", "block_id") for of, rows in facts.items()}
    return {of for of, fact in last.items() if fact and fact["kind"] == "block"}


def of_version(world: World, kind: str, target: str, as_of: date) -> dict[str, Any] | None:
    """What says what a target is; an id of a post that is used again means the first."""
    if kind == "item":
        rows = [r for r in world.known("items", as_of) if r["item_id"] == target]
        return newest(rows, "occurred_at", "landed_on")
    if kind == "post":
        rows = [r for r in world.known("posts", as_of) if r["post_id"] == target]
        first = min(rows, key=lambda r: r["landed_on"], default=None)
        return first and {**first, "author_key": first["user_key"]}
    return None


def items(
    world: World, surface: Surface, users: Mapping[str, int], as_of: date
) -> dict[str, dict[str, Any]]:
    """Rows of `rec_items` by item. `users`: known ones, and days since each was first seen."""
    kind, today = surface.target, days_since_1970(as_of)
    by_target: dict[str, list[Act]] = defaultdict(list)
    for act in acts(world, kind, as_of):
        by_target[act.target].append(act)
    timeless = {pair for pair, has_time in edges(world, as_of).items() if not has_time}
    targets = {"item": set(by_target), "ad": set(by_target), "user": set(users)}.get(kind, set())
    if kind in ("item", "post"):
        targets |= {r[f"{kind}_id"] for r in world.known(f"{kind}s", as_of)}
    rows = {}
    for target in targets:
        done, version = by_target[target], of_version(world, kind, target, as_of) or {}
        days = [days_since_1970(act.day) for act in done]
        if kind in ("item", "post"):
            days += [
                days_since_1970(r["occurred_at"].date())
                for r in world.known(f"{kind}s", as_of)
                if r[f"{kind}_id"] == target
            ]
        if kind == "user":
            days.append(today - users[target])
        first_day = min(days)
        is_met = any(act.event != "impression" for act in done)
        is_young = first_day >= today - (surface.max_age_days or today)
        if not is_met and not is_young:
            continue
        edges_to = {a for a, b in timeless if b == target and kind == "user"}
        rows[target] = statistics_of(surface, done, edges_to, as_of) | {
            "first_day": first_day,
            "category_id": version.get("category_id"),
            "author_key": version.get("author_key"),
            "title": None,
            "available": version.get("available") is not False and is_young,
            "min_age": version.get("min_age"),
        }
        if version.get("price_minor") is not None:
            rows[target]["price_minor"] = version["price_minor"]
    return rows


def statistics_of(
    surface: Surface, done: list[Act], edges_to: set[str], as_of: date
) -> dict[str, Any]:
    """What acts with an item, and followers since nobody knows when, add up to."""

    def within(days: int, *events: str) -> list[Act]:
        first = as_of - timedelta(days=days)
        return [act for act in done if act.event in events and act.day >= first]

    liked = [act for act in done if act.event in surface.signals]
    goals = [act for act in done if act.event in surface.goals]
    orders, reviews = within(90, "order"), within(90, "review")
    units = sum(act.row["quantity"] for act in orders)
    amount = sum(act.row["amount_minor"] for act in orders)
    return {
        "last_day": max((days_since_1970(act.day) for act in liked), default=-1),
        "n_users": len({act.user for act in liked} | edges_to),
        "n_users_30d": len({act.user for act in within(30, *surface.signals)}),
        **{f"n_new_users_{n}d": len(_new_users(liked, as_of, n) - edges_to) for n in NEW_USER_DAYS},
        "n_impressions_30d": len(within(30, "impression")),
        "n_goals_30d": len(within(30, *surface.goals)),
        "sum_stars_90d": sum(act.row["stars"] for act in reviews),
        "n_reviews_90d": len(reviews),
        "price_minor": (2 * amount + units) // (2 * units) if units else None,
        **{
            f"popularity_{h}d": 2**20 * len(edges_to)
            + sum(weight((as_of - act.day).days, h) for act in goals)
            for h in HALF_LIVES
        },
    }


def _new_users(liked: list[Act], as_of: date, days: int) -> set[str]:
    """Users none of whose acts is older than so many days."""
    first = as_of - timedelta(days=days)
    return {act.user for act in liked} - {act.user for act in liked if act.day < first}


def histories(
    world: World, surface: Surface, users: Mapping[str, int], as_of: date, left_out: LeftOut
) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of `rec_histories` by user and fold, with entries by item."""
    known = items(world, surface, users, as_of)
    people = defaultdict(list)
    for row in world.known("users", as_of):
        people[row["user_key"]].append(row)
    standing = edges(world, as_of) if surface.target == "user" else {}
    folds = (0, 1) if any(_timeless(world, as_of)) and surface.target == "user" else (0,)
    rows = {}
    for user in users:
        mine = [act for act in acts(world, surface.target, as_of) if act.user == user]
        person = newest(people[user], "occurred_at", "landed_on") or {}
        for fold in folds:
            follows = {
                b: has_time
                for (a, b), has_time in standing.items()
                if a == user and (has_time or fold == 0 or not left_out[min(a, b), max(a, b)])
            }
            entries = {
                item: entry
                for item, row in known.items()
                if (entry := _entry(world, surface, user, item, row, mine, follows, as_of))
            }
            liked: Counter[str] = Counter()
            for item, entry in entries.items():
                if known[item]["category_id"] and entry["signals"]:
                    liked[known[item]["category_id"]] += entry["signals"]
            rows[user, fold] = {
                "country": person.get("country"),
                "birth_year": person.get("birth_year"),
                "favourite_category": min(liked, key=lambda c: (-liked[c], c), default=None),
                "entries": entries,
            }
    return rows


def _timeless(world: World, as_of: date) -> Iterator[bool]:
    for r in world.rows["follows"]:
        if r["valid_from"] and r["landed_on"] < as_of and r["valid_from"].date() < as_of:
            yield r["occurred_at"] is None


def _entry(
    world: World,
    surface: Surface,
    user: str,
    item: str,
    row: Mapping[str, Any],
    mine: list[Act],
    follows: Mapping[str, bool],
    as_of: date,
) -> dict[str, int] | None:
    """What an item is to a user; None where there is nothing that counts."""
    done = [act for act in mine if act.target == item]
    goals = [act for act in done if act.event in surface.goals]
    days = sorted({act.day for act in goals})
    gaps = [(b - a).days for a, b in itertools.pairwise(days)]
    liked = [act for act in done if act.event in surface.signals]
    counted = [act for act in liked if act.event != "follow" or item in follows]
    is_timeless = item in follows and not follows[item]
    acted = max((act.day for act in done if act.event != "impression"), default=date.min)
    shown = [act for act in done if act.event == "impression" and act.day > acted]
    entry = {
        "signals": sum(
            surface.signals[act.event] * weight((as_of - act.day).days, 30) for act in counted
        )
        + (surface.signals["follow"] * 2**20 if is_timeless else 0),
        "n_days": len(days),
        "n_goals": len(goals) + is_timeless,
        "first_days": min((days_since_1970(act.day) for act in liked), default=-1),
        "last_days": max((days_since_1970(act.day) for act in liked), default=-1),
        "gaps": int(median(gaps)) if gaps else -1,
        "owned": int(
            item in follows or any(act.event in surface.owned_by for act in done
                                   if act.event != "follow")
        ),
        "blocked": int(_is_blocked(world, surface.target, user, item, row, as_of)),
        "n_impressions": sum((as_of - act.day).days <= 30 for act in shown),
    }  # fmt: skip
    if entry["blocked"]:
        entry["signals"] = 0
    says = ("signals", "n_goals", "owned", "blocked", "n_impressions")
    return entry if any(entry[name] for name in says) else None


def _is_blocked(
    world: World, kind: str, user: str, item: str, row: Mapping[str, Any], as_of: date
) -> bool:
    blocks, author = blocked(world, as_of), row["author_key"]
    return bool(
        {
            (user, kind, item),
            (user, "user", author),
            (author, "user", user),
            *({(item, "user", user)} if kind == "user" else set()),
        }
        & blocks
    )


def popular(
    world: World, surface: Surface, users: Mapping[str, int], as_of: date, n: int
) -> dict[tuple[str, str], list[str]]:
    """Items of `rec_popular` by segment and source."""
    known = {i: r for i, r in items(world, surface, users, as_of).items() if r["available"]}
    scores: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    people = defaultdict(list)
    for row in world.known("users", as_of):
        people[row["user_key"]].append(row)
    country = {
        u: (newest(p, "occurred_at", "landed_on") or {})["country"] for u, p in people.items()
    }
    for h in HALF_LIVES:
        for item, row in known.items():
            scores["all", f"popular_{h}d"][item] = row[f"popularity_{h}d"]
            if row["category_id"]:
                of_category = scores[f"category={row['category_id']}", f"popular_{h}d_in_segment"]
                of_category[item] = row[f"popularity_{h}d"]
        for act in acts(world, surface.target, as_of):
            if act.event in surface.goals and act.target in known and country.get(act.user):
                of = scores[f"country={country[act.user]}", f"popular_{h}d_in_segment"]
                of[act.target] = of.get(act.target, 0) + weight((as_of - act.day).days, h)
    for item, row in known.items():
        age = days_since_1970(as_of) - row["first_day"]
        if age <= 30 and row["n_users"] <= 9:
            scores["all", "new"][item] = weight(age, 30)
    return {
        of: best
        for of, values in scores.items()
        if of[1] in surface.sources
        and (
            best := sorted((i for i in values if values[i]), key=lambda i: (-values[i], i))[: 3 * n]
        )
    }
