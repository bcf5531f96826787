"""Random catalogues and histories of a few users, as of two midnights."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from contracts.recommendation_tables import FIXED_POINT, REC_HISTORIES, REC_ITEMS
from contracts.surfaces import SURFACES
from contracts.table import Table
from jobs.spark.schema import spark_schema

AS_OFS = (date(2025, 3, 1), date(2025, 3, 31))
USERS = tuple(f"u{n:02}" for n in range(14))
IDS = {
    "products": tuple(f"i{n:02}" for n in range(20)),
    "ads": tuple(f"a{n}" for n in range(6)),
    "posts": tuple(f"p{n:02}" for n in range(24)),
    "people": USERS,
}
Rows = list[dict[str, Any]]


@dataclass
class World:
    """What `rec_items` and `rec_histories` say."""

    items: Rows
    histories: Rows

    def frames(self, spark: SparkSession) -> tuple[DataFrame, DataFrame]:
        """The histories and the items."""
        return frame(spark, REC_HISTORIES, self.histories), frame(spark, REC_ITEMS, self.items)


def frame(spark: SparkSession, table: Table, rows: Rows) -> DataFrame:
    return spark.createDataFrame(
        [tuple(row[name] for name in table.names) for row in rows], spark_schema(table)
    )


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - date(1970, 1, 1)).days


def item(surface: str, as_of: date, item_id: str, **values: Any) -> dict[str, Any]:
    """A row of `rec_items`, with zeros and nulls where nothing is said."""
    row: dict[str, Any] = {
        column.name: None if column.nullable else 0 for column in REC_ITEMS.columns
    }
    return (
        row
        | {
            "surface": surface,
            "as_of": as_of,
            "item_id": item_id,
            "available": True,
            "last_day": -1,
        }
        | values
    )


def history(
    surface: str, as_of: date, user: str, entries: dict[str, dict[str, int]], fold: int = 0
) -> dict[str, Any]:
    """A row of `rec_histories` from entries by item; what an entry does not say is 0, or -1."""
    row: dict[str, Any] = dict.fromkeys(REC_HISTORIES.names)
    row |= {"surface": surface, "as_of": as_of, "user_key": user, "fold": fold}
    ids = sorted(entries)
    row["item_ids"] = ids
    for name, of, default in ARRAYS:
        row[name] = [entries[i].get(of, default) for i in ids]
    return row


ARRAYS = (
    ("signals", "signal", 0),
    ("n_days", "n_days", 0),
    ("n_goals", "n_goals", 0),
    ("first_days", "first_day", -1),
    ("last_days", "last_day", -1),
    ("gaps", "gap", -1),
    ("owned", "owned", 0),
    ("blocked", "blocked", 0),
    ("n_impressions", "n_impressions", 0),
)


def random_world(seed: int) -> World:
    """Some items are out of stock, some blocked, some users have nothing, and ties are common."""
    rng = random.Random(seed)
    items, histories = [], []
    for as_of in AS_OFS:
        for surface, ids in IDS.items():
            items += [_random_item(rng, surface, as_of, i) for i in ids]
            for user in USERS:
                entries = {i: _random_entry(rng, as_of) for i in ids if rng.random() < 0.35}
                entries = {} if rng.random() < 0.1 else entries
                histories.append(history(surface, as_of, user, entries))
                if surface == "people":
                    rest = {i: e for i, e in entries.items() if rng.random() < 0.8}
                    histories.append(history(surface, as_of, user, rest, fold=1))
    rng.shuffle(histories)
    rng.shuffle(items)
    return World(items, histories)


def _random_item(rng: random.Random, surface: str, as_of: date, item_id: str) -> dict[str, Any]:
    return item(
        surface,
        as_of,
        item_id,
        category_id=rng.choice(["c0", "c1", "c2", None]) if surface != "people" else None,
        author_key=rng.choice([*USERS[:6], None]) if surface == "posts" else None,
        available=rng.random() < 0.9,
        first_day=day_number(as_of) - rng.randint(1, 9),
        n_users_30d=rng.choice([0, 1, 2, 7]),
        popularity_10d=rng.choice([0, 1, 5]) * FIXED_POINT,
    )


def _random_entry(rng: random.Random, as_of: date) -> dict[str, int]:
    n_days = rng.choice([0, 0, 1, 2, 5])
    last = as_of - timedelta(days=rng.randint(1, 60))
    entry = {
        "signal": rng.choice([0, 1, FIXED_POINT, rng.randint(1, 20 * FIXED_POINT)]),
        "n_days": n_days,
        "n_goals": n_days,
        "last_day": -1 if rng.random() < 0.1 else day_number(last),
        "gap": rng.randint(1, 40) if n_days > 1 else -1,
        "owned": int(rng.random() < 0.4),
        "blocked": int(rng.random() < 0.06),
    }
    return entry | {"signal": 0} if entry["blocked"] else entry


def surface_named(name: str) -> Any:
    (found,) = (surface for surface in SURFACES if surface.name == name)
    return found
