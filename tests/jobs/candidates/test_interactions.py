"""Tiles of what users did with what can be recommended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from contracts.clean_tables import CLEAN_TABLES
from contracts.recommendation_tables import INTERACTIONS
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.impressions import IMPRESSIONS
from contracts.source_tables.orders import ORDERS
from contracts.source_tables.reviews import REVIEWS
from jobs.candidates.interactions import interactions
from jobs.spark.schema import spark_schema
from tests.conftest import MakeTable, rows_of
from tests.jobs.features.worlds import World, random_world

INTERACTED = [table for table in CLEAN_TABLES if table.interactions]
TILE = ("user_key", "target_kind", "target_id", "event", "day", "landed_on")


def facts_of(spark: SparkSession, **given: DataFrame) -> dict[str, DataFrame]:
    """Clean tables, empty but for those that are given."""
    empty = {t.name: spark.createDataFrame([], spark_schema(t)) for t in INTERACTED}
    return empty | given


def shown(frame: DataFrame, *columns: str) -> list[str]:
    return [" ".join(map(str, row)) for row in rows_of(frame, *columns)]


def test_purchases_add_up_by_day_and_landing_day_apart_from_what_undoes_them(
    spark: SparkSession, table: MakeTable
) -> None:
    """Midnight starts a day, and a row that lands late makes a tile of its own."""
    orders = table(
        """
        line_id | user_key | item_id | kind         | quantity | amount_minor | occurred_at         | landed_on
        l1      | ann      | i1      | purchase     | 2        | 500          | 2025-01-31T23:59:59 | 2025-01-31
        l2      | ann      | i1      | purchase     | 1        | 250          | 2025-01-31T00:00:00 | 2025-01-31
        l3      | ann      | i1      | purchase     | 4        | 900          | 2025-02-01T00:00:00 | 2025-02-01
        l4      | ann      | i1      | purchase     | 1        | 100          | 2025-01-31T12:00:00 | 2025-02-02
        l5      | ann      | i1      | cancellation | 2        | 500          | 2025-01-31T23:59:59 | 2025-01-31
        l6      | bob      | i1      | return       | 1        | 250          | 2025-01-31T09:00:00 | 2025-01-31
        """,
        ORDERS,
    )
    tiles = interactions(facts_of(spark, orders=orders))
    assert shown(tiles, "user_key", "event", "day", "landed_on", "n", "units", "amount_minor") == [
        "ann order 2025-01-31 2025-01-31 2 3 750",
        "ann order 2025-01-31 2025-02-02 1 1 100",
        "ann order 2025-02-01 2025-02-01 1 4 900",
        "ann undo 2025-01-31 2025-01-31 1 2 0",
        "bob undo 2025-01-31 2025-01-31 1 1 0",
    ]


def test_what_has_no_user_target_or_time_and_searches_are_no_interactions(
    spark: SparkSession, table: MakeTable
) -> None:
    """Nor is what users do with themselves. An ad that was seen was shown: it is no view."""
    engagements = table(
        """
        engagement_id | user_key | verb   | target_kind | target_id | occurred_at         | landed_on
        e1            | ann      | view   | item        | i1        | 2025-01-01T08:00:00 | 2025-01-01
        e2            | ann      | view   | ad          | a1        | 2025-01-01T08:00:00 | 2025-01-01
        e3            | ann      | click  | ad          | a1        | 2025-01-01T08:00:00 | 2025-01-01
        e4            | ann      | like   | post        | p1        | 2025-01-01T08:00:00 | 2025-01-01
        e5            | ann      | share  | user        | bob       | 2025-01-01T08:00:00 | 2025-01-01
        e6            | ann      | search | item        | i1        | 2025-01-01T08:00:00 | 2025-01-01
        e7            | ann      | search | -           | -         | 2025-01-01T08:00:00 | 2025-01-01
        e8            | -        | like   | user        | bob       | 2025-01-01T08:00:00 | 2025-01-01
        e9            | ann      | view   | user        | ann       | 2025-01-01T08:00:00 | 2025-01-01
        """,
        ENGAGEMENTS,
    )
    follows = table(
        """
        follow_id | user_key | followed_key | kind     | valid_from          | occurred_at         | landed_on
        f1        | ann      | bob          | follow   | 2025-01-01T08:00:00 | 2025-01-01T08:00:00 | 2025-01-01
        f2        | ann      | bob          | unfollow | 2025-01-02T08:00:00 | 2025-01-02T08:00:00 | 2025-01-02
        f3        | ann      | cid          | follow   | 2025-01-01T00:00:00 | -                   | 2025-01-01
        """,
        FOLLOWS,
    )
    tiles = interactions(facts_of(spark, engagements=engagements, follows=follows))
    assert shown(tiles, "target_kind", "target_id", "event", "day", "n") == [
        "ad a1 ad_view 2025-01-01 1",
        "ad a1 click 2025-01-01 1",
        "item i1 view 2025-01-01 1",
        "post p1 like 2025-01-01 1",
        "user bob follow 2025-01-01 1",
        "user bob share 2025-01-01 1",
        "user bob unfollow 2025-01-02 1",
    ]


def test_positions_and_stars_add_up(spark: SparkSession, table: MakeTable) -> None:
    impressions = table(
        """
        impression_id | user_key | target_kind | target_id | position | occurred_at         | landed_on
        m1            | ann      | item        | i1        | 3        | 2025-01-01T08:00:00 | 2025-01-01
        m2            | ann      | item        | i1        | 9        | 2025-01-01T09:00:00 | 2025-01-01
        m3            | ann      | item        | i1        | -        | 2025-01-01T10:00:00 | 2025-01-01
        """,
        IMPRESSIONS,
    )
    reviews = table(
        """
        review_id | user_key | item_id | stars | occurred_at         | landed_on
        r1        | ann      | i1      | 4     | 2025-01-01T08:00:00 | 2025-01-01
        r2        | ann      | i1      | 5     | 2025-01-01T09:00:00 | 2025-01-01
        """,
        REVIEWS,
    )
    tiles = interactions(facts_of(spark, impressions=impressions, reviews=reviews))
    assert shown(tiles, "event", "n", "sum_positions", "sum_stars") == [
        "impression 3 12 0",
        "review 2 0 9",
    ]


def naive_tiles(world: World) -> dict[tuple[Any, ...], list[int]]:
    """The same, plainly."""
    said: list[tuple[str | None, str, str | None, str, dict[str, Any], list[int]]] = []
    for r in world.rows["orders"]:
        event = "order" if r["kind"] == "purchase" else "undo"
        amounts = [1, r["quantity"], r["amount_minor"] * (event == "order"), 0, 0]
        said.append((r["user_key"], "item", r["item_id"], event, r, amounts))
    for r in world.rows["reviews"]:
        said.append((r["user_key"], "item", r["item_id"], "review", r, [1, 0, 0, r["stars"], 0]))
    for r in world.rows["engagements"]:
        if r["verb"] != "search":
            seen = r["target_kind"] == "ad" and r["verb"] == "view"
            event = "ad_view" if seen else r["verb"]
            said.append(
                (r["user_key"], r["target_kind"], r["target_id"], event, r, [1, 0, 0, 0, 0])
            )
    for r in world.rows["follows"]:
        said.append((r["user_key"], "user", r["followed_key"], r["kind"], r, [1, 0, 0, 0, 0]))
    tiles: dict[tuple[Any, ...], Counter[int]] = {}
    for user, kind, target, event, row, amounts in said:
        if user and target and row["occurred_at"] and user != target:
            key = (user, kind, target, event, row["occurred_at"].date(), row["landed_on"])
            tiles.setdefault(key, Counter()).update(dict(enumerate(amounts)))
    return {key: [sums[i] for i in range(5)] for key, sums in tiles.items()}


def test_tiles_equal_the_naive_definition(spark: SparkSession) -> None:
    world = random_world(4)
    tiles = interactions(facts_of(spark, **world.frames(spark)))
    assert set(tiles.columns) == set(INTERACTIONS.names)
    got = {
        tuple(row[name] for name in TILE): [
            row.n, row.units, row.amount_minor, row.sum_stars, row.sum_positions
        ]
        for row in tiles.collect()
    }  # fmt: skip
    assert got == naive_tiles(world)
    assert len(got) > 300
