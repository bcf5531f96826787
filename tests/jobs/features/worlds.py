"""Random clean rows of every table, with late rows and rows of clocks that run ahead."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from contracts.tables import table_named
from jobs.spark.schema import spark_schema
from tests.jobs.features.scored_texts import content_scores

START = date(2025, 1, 1)
IDS = {
    "orders": "line_id",
    "posts": "post_id",
    "engagements": "engagement_id",
    "reviews": "review_id",
    "follows": "follow_id",
    "account_events": "event_id",
}


@dataclass
class World:
    """Clean rows of every table, as dictionaries."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def frame(self, spark: SparkSession, name: str) -> DataFrame:
        table = table_named(name)
        # What may be missing is missing where nothing is said of it.
        values = [
            tuple(row.get(c.name) if c.nullable else row[c.name] for c in table.columns)
            for row in self.rows[name]
        ]
        return spark.createDataFrame(values, spark_schema(table))

    def frames(self, spark: SparkSession) -> dict[str, DataFrame]:
        return {name: self.frame(spark, name) for name in self.rows}

    def known(self, name: str, as_of: date) -> list[dict[str, Any]]:
        """Rows that had both happened and landed before midnight."""
        return [
            r
            for r in self.rows[name]
            if r["landed_on"] < as_of and r["occurred_at"] and r["occurred_at"].date() < as_of
        ]


def random_world(seed: int, n_days: int = 120, n_users: int = 6) -> World:
    """A few users over some months."""
    rng = random.Random(seed)
    users = [f"u{i}" for i in range(n_users)]
    items = [f"i{i}" for i in range(8)]
    words = ["a", "b", "c", "d", "e", "f"]

    def times() -> dict[str, Any]:
        day = rng.randrange(n_days)
        second = rng.choice([0, 86_399, rng.randrange(86_400)])
        at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=second)
        late = rng.choice([0, 0, 0, 0, 1, 5, 40, 100, -1])
        return {"occurred_at": at, "landed_on": START + timedelta(days=day + late)}

    buyers = [rng.choice(users) for _ in range(30)]
    world = World()
    world.rows["orders"] = [  # some orders have lines of several days, or two users
        {
            "line_id": f"l{i}",
            "order_id": f"o{i // 3}",
            "user_key": rng.choice([*[buyers[i // 3]] * 4, rng.choice(users)]),
            "item_id": rng.choice(items),
            "undoes_order_id": None,
            "kind": rng.choice(["purchase"] * 4 + ["cancellation", "return"]),
            "quantity": rng.randint(1, 3),
            "amount_minor": rng.randint(0, 900),
            **times(),
        }
        for i in range(80)
    ]
    world.rows["posts"] = [
        {
            "post_id": f"p{i}",
            "user_key": rng.choice(users[:3]),
            "text": rng.choice([None, " ".join(rng.choices(words, k=rng.randint(1, 9)))]),
            "category_id": None,
            **times(),
        }
        for i in range(60)
    ]
    world.rows["engagements"] = [_engagement(i, rng, users, items, times) for i in range(400)]
    world.rows["follows"] = [
        {
            "follow_id": f"f{i}",
            "user_key": (who := rng.choice(users)),
            "followed_key": rng.choice([u for u in [*users, "never-seen"] if u != who]),
            "kind": rng.choice(["follow", "follow", "unfollow"]),
            **(t := times()),
            "valid_from": t["occurred_at"],
        }
        for i in range(40)
    ]
    for follow in world.rows["follows"][:6]:  # edges without a time
        follow["occurred_at"] = None
        follow["valid_from"] = rng.choice([None, follow["valid_from"]])
    world.rows["reviews"] = [
        {
            "review_id": f"r{i}",
            "user_key": rng.choice(users),
            "item_id": rng.choice(items),
            "stars": (stars := rng.randint(1, 5)),
            "sentiment": "negative" if stars < 3 else "neutral" if stars == 3 else "positive",
            "text": rng.choice([None, " ".join(rng.choices([*words[2:], "g"], k=2))]),
            **times(),
        }
        for i in range(40)
    ]
    world.rows["account_events"] = [
        {
            "event_id": f"a{i}",
            "user_key": rng.choice(users),
            "kind": (kind := rng.choice(["login", "login", "payment", "transfer"])),
            "succeeded": rng.random() < 0.7,
            "device_key": rng.choice([None, "d1", "d2", "d3"]),
            "counterpart_key": rng.choice(users) if kind == "transfer" else None,
            "amount_minor": None if kind == "login" else rng.randint(1, 999),
            **times(),
        }
        for i in range(80)
    ]
    for i, event in enumerate(world.rows["account_events"][:9]):  # bursts of failed logins
        same = world.rows["account_events"][i // 4 * 4]
        event |= {
            "user_key": same["user_key"],
            "kind": "login",
            "succeeded": False,
            "amount_minor": None,
            "counterpart_key": None,
            "occurred_at": same["occurred_at"],
            "landed_on": same["landed_on"],
        }
    world.rows["fraud_marks"] = [
        {"mark_id": f"m{i}", "event_id": f"a{rng.randrange(80)}", **times()} for i in range(20)
    ]
    world.rows["users"] = [
        {
            "user_key": u,
            "country": rng.choice(["DE", "FR", None]),
            "signed_up_at": None,
            "birth_year": None,
            "attributes": rng.choice([None, ["age=30"], ["age=40", "band=low"]]),
            **t,
        }
        for u in [*users, "only-signed-up"]
        for t in _versions(times)
    ]
    world.rows["items"] = [
        {
            "item_id": i,
            "category_id": rng.choice(["c1", "c2", None]),
            "title": None,
            "price_minor": None,
            "available": None,
            "min_age": None,
            **t,
        }
        for i in [*items[:-1], "never-met"]
        for t in _versions(times)
    ]
    world.rows["content_scores"] = content_scores(seed, world.rows["posts"])
    return world


def _engagement(
    i: int,
    rng: random.Random,
    users: list[str],
    items: list[str],
    times: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    kind = rng.choice(["item", "post", "post", "ad", "user"])
    target = {
        "item": rng.choice(items),
        "post": f"p{rng.randrange(70)}",  # some are of no known post
        "ad": "ad1",
        "user": rng.choice([*users, "only-dealt-with"]),
    }[kind]
    verb = rng.choice(["view", "like", "comment", "share", "search", "click"])
    return {
        "engagement_id": f"e{i}",
        "user_key": None if kind == "user" and rng.random() < 0.5 else rng.choice(users[:-1]),
        "verb": verb,
        "target_kind": None if verb == "search" and kind == "ad" else kind,
        "target_id": None if verb == "search" and kind == "ad" else target,
        "text": None,
        **times(),
    }


def _versions(times: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """Versions that land on different days, in any order; some are of one time."""
    by_landing_day = {t["landed_on"]: t for t in (times(), times(), times())}
    first, *rest = by_landing_day.values()
    for version in rest[1:]:
        landed = max(first["occurred_at"].date(), version["landed_on"])
        if landed not in by_landing_day:
            version |= {"occurred_at": first["occurred_at"], "landed_on": landed}
    return [first, *rest]
