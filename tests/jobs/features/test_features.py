"""Tiles, state and features: equal to the naive definition, and blind to what came later."""

from __future__ import annotations

import copy
import itertools
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.measures import TEXT_BUCKETS
from contracts.source_tables.account_events import ACCOUNT_EVENTS
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.orders import ORDERS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS
from contracts.tables import USER_STATE
from jobs.features.point_in_time import newest_version
from jobs.features.user_days import tiles_of_all, user_days
from tests.conftest import rows_of
from tests.jobs.features import naive
from tests.jobs.features.engines import AS_OFS, NAMES, features_of, one_pass_of, state_of
from tests.jobs.features.worlds import IDS, World, random_world


def tokens(spark: SparkSession, words: set[str]) -> dict[str, int]:
    """The hash of each word, as Spark has it."""
    frame = spark.createDataFrame([(w,) for w in sorted(words)], "word string")
    hashed = F.pmod(F.xxhash64("word"), F.lit(TEXT_BUCKETS)) + 1
    return {r.word: r.token for r in frame.select("word", hashed.alias("token")).collect()}


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_features_equal_the_naive_definition_to_the_bit(spark: SparkSession, seed: int) -> None:
    world = random_world(seed)
    got = features_of(spark, world, AS_OFS)
    expected = {(a, user): row for a in AS_OFS for user, row in naive.features(world, a).items()}
    assert got.keys() == expected.keys()
    hashes = tokens(spark, {w for row in expected.values() for w in row["text_tokens"]})
    for key, row in expected.items():
        row["text_tokens"] = [hashes[word] for word in row["text_tokens"]]
        assert got[key] == {n: row[n] for n in NAMES}, key


def test_nothing_that_happens_or_lands_later_changes_features(spark: SparkSession) -> None:
    """Rows after the cut are changed, deleted and added at random."""
    world, as_of = random_world(5), AS_OFS[2]
    before = features_of(spark, world, [as_of])
    rng = random.Random(11)
    changed, n_later = copy.deepcopy(world), 0
    for name, rows in changed.rows.items():
        kept = []
        for row in rows:
            at = row.get("valid_from") or row.get("occurred_at")
            later = row["landed_on"] >= as_of or (at is not None and at.date() >= as_of)
            n_later += later
            if later and rng.random() < 0.3:
                continue  # deleted
            if later:
                for column in ("amount_minor", "quantity", "stars", "text"):
                    n = rng.randint(1, 5)
                    if row.get(column) is not None:
                        row[column] = str(n) if column == "text" else n
                if rng.random() < 0.5 and "user_key" in row:
                    row["user_key"] = f"u{rng.randrange(6)}"
                row["landed_on"] = max(row["landed_on"], as_of) + timedelta(
                    days=rng.randrange(5) * 7
                )
            kept.append(row)
        if name in IDS:
            example = copy.deepcopy(rows[0])
            example |= {
                IDS[name]: "new",
                "landed_on": as_of,
                "occurred_at": datetime(2025, 1, 2, tzinfo=UTC),
            }
            kept.append(example)
        changed.rows[name] = kept
    assert n_later > 100
    assert len(before) > 3
    assert features_of(spark, changed, [as_of]) == before


@pytest.mark.slow
def test_state_night_by_night_is_the_state_from_the_beginning(spark: SparkSession) -> None:
    world = random_world(3)
    columns = USER_STATE.names
    whole = rows_of(state_of(spark, world, AS_OFS), *columns)
    first = state_of(spark, world, AS_OFS[:1]).persist()
    nightly, base = rows_of(first, *columns), first
    for since, as_of in itertools.pairwise(AS_OFS):
        base = state_of(spark, world, [as_of], base, since).localCheckpoint()
        nightly += rows_of(base, *columns)
    assert sorted(nightly, key=str) == whole


def orders_of(spark: SparkSession, lines: str, table) -> World:
    """A world of these order lines, and one who follows the buyer."""
    world = random_world(1)
    world.rows = {name: [] for name in world.rows}
    world.rows["orders"] = [
        r.asDict() | {"occurred_at": r.occurred_at.replace(tzinfo=UTC)}
        for r in table(lines, ORDERS).collect()
    ]
    at = datetime(2025, 1, 1, tzinfo=UTC)
    world.rows["follows"] = [
        {
            "follow_id": "f1",
            "user_key": "bob",
            "followed_key": "ann",
            "kind": "follow",
            "occurred_at": at,
            "valid_from": at,
            "landed_on": at.date(),
        }
    ]
    return world


@pytest.mark.slow
def test_an_order_is_one_on_however_many_days_its_lines_happen_or_land(
    spark: SparkSession, table, tmp_path: Path
) -> None:
    """In every engine, for the buyer and for who follows the buyer, over windows and all time."""
    world = orders_of(
        spark,
        """
        line_id | order_id | user_key | item_id | kind     | undoes_order_id | occurred_at         | landed_on
        l1      | late     | ann      | i1      | purchase | -               | 2025-01-31T10:00:00 | 2025-01-31
        l2      | late     | ann      | i2      | purchase | -               | 2025-01-31T10:00:00 | 2025-02-01
        l3      | split    | ann      | i1      | purchase | -               | 2025-01-20T10:00:00 | 2025-01-20
        l4      | split    | ann      | i3      | purchase | -               | 2025-02-01T10:00:00 | 2025-02-01
        """,
        table,
    )  # fmt: skip
    days = [date(2025, 2, day) for day in (1, 2, 3)]
    names = ("n_orders_1d", "n_orders_7d", "n_orders_30d", "n_orders_all")
    expected = {  # on 1 February neither l2 nor l4 had landed
        date(2025, 2, 1): (1, 1, 2, 2),
        date(2025, 2, 2): (1, 2, 2, 2),
        date(2025, 2, 3): (0, 2, 2, 2),
    }
    engines = (
        features_of(spark, world, days),
        one_pass_of(spark, world, days, tmp_path),
        one_pass_of(spark, world, days, tmp_path, date(2025, 2, 1)),
        {(a, user): row for a in days for user, row in naive.features(world, a).items()},
    )
    for rows in engines:
        assert {a: tuple(rows[a, "ann"][n] for n in names) for a in days} == expected
        assert {rows[a, "bob"]["followed_orders_30d"] for a in days} == {2}


def test_the_newest_version_is_the_one_of_the_latest_time_in_whatever_order_they_land(
    spark: SparkSession, table
) -> None:
    items = table(
        """
        item_id | category_id | occurred_at         | landed_on
        i1      | new         | 2025-01-05T00:00:00 | 2025-01-05
        i1      | old         | 2025-01-02T00:00:00 | 2025-01-08
        i2      | first       | 2025-01-03T00:00:00 | 2025-01-03
        i2      | said later  | 2025-01-03T00:00:00 | 2025-01-07
        i3      | ahead       | 2025-01-09T00:00:00 | 2025-01-08
        i3      | -           | 2025-01-04T00:00:00 | 2025-01-06
        """,
        ITEMS,
    )
    days = [date(2025, 1, day) for day in (6, 7, 8, 9, 10)]
    versions = newest_version(items, "item_id", days).select("item_id", "as_of", "category_id")
    assert {(r.item_id, r.as_of.day): r.category_id for r in versions.collect()} == {
        **{("i1", day): "new" for day in (6, 7, 8, 9, 10)},
        **{("i2", day): "first" for day in (6, 7)},
        **{("i2", day): "said later" for day in (8, 9, 10)},
        **{("i3", day): None for day in (7, 8, 9)},  # a newer one without a category has none
        ("i3", 10): "ahead",
    }


def test_midnight_starts_a_day_and_a_late_row_makes_its_own_tile(spark, table) -> None:
    engagements = table(
        """
        engagement_id | user_key | verb | target_kind | occurred_at         | landed_on
        e1            | ann      | view | post        | 2025-01-31T23:59:59 | 2025-01-31
        e2            | ann      | view | post        | 2025-02-01T00:00:00 | 2025-02-01
        e3            | ann      | like | post        | 2025-01-31T12:00:00 | 2025-02-02
        """,
        ENGAGEMENTS,
    )
    none = {"line_id": ORDERS, "post_id": POSTS, "follow_id": FOLLOWS, "review_id": REVIEWS}
    facts = {
        "engagements": engagements,
        "account_events": table("event_id", ACCOUNT_EVENTS),
        **{contract.name: table(id_, contract) for id_, contract in none.items()},
    }
    tiles = user_days(tiles_of_all(facts))
    assert rows_of(tiles, "day", "landed_on", "n_views", "n_likes") == [
        (date(2025, 1, 31), date(2025, 1, 31), 1, 0),
        (date(2025, 1, 31), date(2025, 2, 2), 0, 1),
        (date(2025, 2, 1), date(2025, 2, 1), 1, 0),
    ]
