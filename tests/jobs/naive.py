"""The definitions, written as plainly as can be, to compare the clever ones with."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from contracts.features import MEASURES, SEQUENCE_LENGTH, WINDOWS
from contracts.tables import ENGAGEMENTS, ITEMS, ORDERS, POSTS, REVIEWS, USERS
from jobs.schema import spark_schema

START = date(2025, 1, 1)
FACTS = (ORDERS, POSTS, ENGAGEMENTS, REVIEWS)
IDS = {
    "orders": "line_id",
    "posts": "post_id",
    "engagements": "engagement_id",
    "reviews": "review_id",
}


@dataclass
class World:
    """Clean rows of every table, as dictionaries."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def frame(self, spark: SparkSession, name: str) -> DataFrame:
        table = next(t for t in (*FACTS, USERS, ITEMS) if t.name == name)
        values = [tuple(row[c] for c in table.names) for row in self.rows[name]]
        return spark.createDataFrame(values, spark_schema(table))

    def known(self, name: str, as_of: date) -> list[dict[str, Any]]:
        """Rows that had both happened and landed before midnight."""
        return [
            r for r in self.rows[name] if r["landed_on"] < as_of and r["occurred_at"].date() < as_of
        ]


def random_world(seed: int, n_days: int = 120, n_users: int = 6) -> World:
    """A few users over some months, with late rows and rows of clocks that run ahead."""
    dice = random.Random(seed)
    users = [f"u{i}" for i in range(n_users)]
    items = [f"i{i}" for i in range(8)]

    def times() -> dict[str, Any]:
        day = dice.randrange(n_days)
        second = dice.choice([0, 86_399, dice.randrange(86_400)])
        at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=second)
        late = dice.choice([0, 0, 0, 0, 1, 5, 40, 100, -1])
        return {"occurred_at": at, "landed_on": START + timedelta(days=day + late)}

    world = World()
    world.rows["orders"] = [
        {
            "line_id": f"l{i}",
            "order_id": f"o{i // 2}",
            "user_key": dice.choice(users),
            "item_id": dice.choice(items),
            "undoes_order_id": None,
            "kind": dice.choice(["purchase"] * 4 + ["cancellation", "return"]),
            "quantity": dice.randint(1, 3),
            "amount_minor": dice.randint(0, 900),
            **times(),
        }
        for i in range(80)
    ]
    world.rows["posts"] = [
        {"post_id": f"p{i}", "user_key": dice.choice(users), "text": "x", **times()}
        for i in range(30)
    ]
    world.rows["engagements"] = [
        {
            "engagement_id": f"e{i}",
            "user_key": dice.choice(users[:-1]),
            "verb": dice.choice(["view", "like", "comment", "share"]),
            "target_kind": (kind := dice.choice(["item", "post"])),
            "target_id": dice.choice(items) if kind == "item" else "p1",
            **times(),
        }
        for i in range(400)
    ]
    world.rows["reviews"] = [
        {
            "review_id": f"r{i}",
            "user_key": dice.choice(users),
            "item_id": dice.choice(items),
            "stars": dice.randint(1, 5),
            "text": None,
            **times(),
        }
        for i in range(40)
    ]
    world.rows["users"] = [
        {"user_key": u, "country": dice.choice(["DE", "FR", None]), "signed_up_at": None, **t}
        for u in [*users, "only-signed-up"]
        for t in _versions(times)
    ]
    world.rows["items"] = [
        {"item_id": i, "category_id": dice.choice(["c1", "c2", None]), "title": None, **t}
        for i in items
        for t in _versions(times)
    ]
    return world


def _versions(times: Any) -> list[dict[str, Any]]:
    """Two versions that land on different days."""
    found = {t["landed_on"]: t for t in (times(), times())}
    return list(found.values())


def newest(world: World, name: str, key: str, as_of: date) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(world.known(name, as_of), key=lambda r: r["landed_on"]):
        found[row[key]] = row
    return found


def features(world: World, as_of: date) -> dict[str, dict[str, Any]]:
    """Features of every known user, straight from the clean rows."""
    known = {t.name: world.known(t.name, as_of) for t in FACTS}
    categories = {i: r["category_id"] for i, r in newest(world, "items", "item_id", as_of).items()}
    countries = {u: r["country"] for u, r in newest(world, "users", "user_key", as_of).items()}
    midnight = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC)
    everybody = {r["user_key"] for rows in known.values() for r in rows} | {
        r["user_key"] for r in world.known("users", as_of)
    }
    made = {}
    for user in everybody:
        mine = {n: [r for r in rows if r["user_key"] == user] for n, rows in known.items()}
        row: dict[str, Any] = {}
        for window in (*WINDOWS, None):
            inside = {
                n: [
                    r
                    for r in rows
                    if window is None or r["occurred_at"].date() >= as_of - timedelta(days=window)
                ]
                for n, rows in mine.items()
            }
            suffix = "all" if window is None else f"{window}d"
            for name, value in measures(inside).items():
                row[f"{name}_{suffix}"] = value
            if window is not None:
                met = (
                    {r["item_id"] for r in inside["orders"] if r["kind"] == "purchase"}
                    | {r["target_id"] for r in inside["engagements"] if r["target_kind"] == "item"}
                    | {r["item_id"] for r in inside["reviews"]}
                )
                row[f"n_distinct_items_{suffix}"] = len(met)
                row[f"n_distinct_categories_{suffix}"] = len(
                    {categories[i] for i in met if categories.get(i) is not None}
                )
            if window in (30, 90, None):
                for name, over, under in (
                    ("spend_per_order", "spend_minor", "n_orders"),
                    ("undone_share", "undone_minor", "spend_minor"),
                    ("mean_stars", "sum_stars", "n_reviews"),
                    ("orders_per_view", "n_orders", "n_views"),
                ):
                    below = row[f"{under}_{suffix}"]
                    row[f"{name}_{suffix}"] = row[f"{over}_{suffix}"] / below if below else None
        events = sorted(
            (r["occurred_at"], r[IDS[n]], verb(n, r), item(n, r), r.get("amount_minor", 0))
            for n, rows in mine.items()
            for r in rows
        )
        signed_up = [r["occurred_at"] for r in world.known("users", as_of) if r["user_key"] == user]

        def since(times: list[datetime]) -> int | None:
            return (as_of - times[0].date()).days if times else None

        row["days_since_first_seen"] = since([min([*(e[0] for e in events), *signed_up])])
        row["days_since_last_seen"] = since([events[-1][0]] if events else [])
        row["days_since_last_order"] = since([e[0] for e in events if e[2] == "order"][-1:])
        row["days_since_last_review"] = since([e[0] for e in events if e[2] == "review"][-1:])
        row["country"] = countries.get(user)
        last = events[-SEQUENCE_LENGTH:]
        with_item = [e[3] for e in last if e[3]]
        row["last_item_category"] = categories.get(with_item[-1]) if with_item else None
        row["seq_verb"] = [e[2] for e in last]
        row["seq_item"] = [e[3] for e in last]
        row["seq_hours"] = [int((midnight - e[0]).total_seconds() // 3600) for e in last]
        row["seq_amount_minor"] = [e[4] for e in last]
        made[user] = row
    return made


def measures(rows: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """The measures of `user_days`, over rows of any stretch of time."""
    bought = [r for r in rows["orders"] if r["kind"] == "purchase"]
    undone = [r for r in rows["orders"] if r["kind"] != "purchase"]
    tiles = {(r["order_id"], r["occurred_at"].date(), r["landed_on"]) for r in bought}
    made = {
        "n_orders": len(tiles),
        "n_order_lines": len(bought),
        "n_units": sum(r["quantity"] for r in bought),
        "spend_minor": sum(r["amount_minor"] for r in bought),
        "n_undone_lines": len(undone),
        "undone_minor": sum(r["amount_minor"] for r in undone),
        **{
            f"n_{v}s": sum(r["verb"] == v for r in rows["engagements"])
            for v in ("view", "like", "comment", "share")
        },
        "n_posts": len(rows["posts"]),
        "n_reviews": len(rows["reviews"]),
        "sum_stars": sum(r["stars"] for r in rows["reviews"]),
    }
    assert set(made) == {m.name for m in MEASURES}
    return made


def verb(table: str, row: dict[str, Any]) -> str:
    if table == "orders":
        return "order" if row["kind"] == "purchase" else "undo"
    return row["verb"] if table == "engagements" else {"posts": "post", "reviews": "review"}[table]


def item(table: str, row: dict[str, Any]) -> str:
    if table == "engagements":
        return row["target_id"] if row["target_kind"] == "item" else ""
    return row.get("item_id", "")
