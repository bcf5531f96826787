"""Tiles, state and features: equal to the naive definition, and blind to what came later."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from contracts.features import FEATURES
from contracts.tables import ENGAGEMENTS, ORDERS, POSTS, REVIEWS, USER_STATE
from jobs.schema import spark_schema
from jobs.user_days import user_days, user_item_days
from jobs.user_features import user_features
from jobs.user_state import user_state
from tests.conftest import rows_of
from tests.jobs import naive
from tests.jobs.naive import START, World, random_world

AS_OFS = [START + timedelta(days=n) for n in (30, 63, 90, 119, 150)]
NAMES = [f.name for f in FEATURES]


def state_of(
    spark: SparkSession,
    world: World,
    as_ofs: Sequence[date],
    base: DataFrame | None = None,
    since: date | None = None,
) -> DataFrame:
    f = {name: world.frame(spark, name) for name in world.rows}
    empty = spark.createDataFrame([], spark_schema(USER_STATE))
    tiles = user_days(f["orders"], f["posts"], f["engagements"], f["reviews"])
    return user_state(
        empty if base is None else base,
        tiles,
        f["users"],
        f["orders"],
        f["posts"],
        f["engagements"],
        f["reviews"],
        since,
        as_ofs,
    )


def features_of(spark: SparkSession, world: World, as_ofs: Sequence[date]) -> dict[Any, Any]:
    f = {name: world.frame(spark, name) for name in world.rows}
    tiles = user_days(f["orders"], f["posts"], f["engagements"], f["reviews"])
    met = user_item_days(f["orders"], f["engagements"], f["reviews"])
    made = user_features(state_of(spark, world, as_ofs), tiles, met, f["users"], f["items"], as_ofs)
    return {(r.as_of, r.user_key): {n: r[n] for n in NAMES} for r in made.collect()}


@pytest.mark.parametrize("seed", [1, 2])
def test_features_equal_the_naive_definition_to_the_bit(spark: SparkSession, seed: int) -> None:
    world = random_world(seed)
    got = features_of(spark, world, AS_OFS)
    expected = {(a, user): row for a in AS_OFS for user, row in naive.features(world, a).items()}
    assert got.keys() == expected.keys()
    for key, row in expected.items():
        assert got[key] == {n: row[n] for n in NAMES}, key


def test_nothing_that_happens_or_lands_later_changes_features(spark: SparkSession) -> None:
    """Rows after the cut are changed, deleted and added at random."""
    world, as_of = random_world(5), AS_OFS[2]
    before = features_of(spark, world, [as_of])
    dice = random.Random(11)
    for _ in range(2):
        changed = copy.deepcopy(world)
        for name, rows in changed.rows.items():
            kept = []
            for row in rows:
                later = row["landed_on"] >= as_of or row["occurred_at"].date() >= as_of
                if later and dice.random() < 0.3:
                    continue  # deleted
                if later:
                    for column in ("amount_minor", "quantity", "stars"):
                        if column in row:
                            row[column] = dice.randint(1, 5)
                    if dice.random() < 0.5 and "user_key" in row:
                        row["user_key"] = f"u{dice.randrange(6)}"
                    row["landed_on"] = max(row["landed_on"], as_of) + timedelta(
                        days=dice.randrange(5) * 7
                    )
                kept.append(row)
            if name in naive.IDS:
                example = copy.deepcopy(rows[0])
                example |= {
                    naive.IDS[name]: "new",
                    "landed_on": as_of,
                    "occurred_at": datetime(2025, 1, 2, tzinfo=UTC),
                }
                kept.append(example)
            changed.rows[name] = kept
        assert features_of(spark, changed, [as_of]) == before


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
    made = user_days(
        table("line_id", ORDERS), table("post_id", POSTS), engagements, table("review_id", REVIEWS)
    )
    assert rows_of(made, "day", "landed_on", "n_views", "n_likes") == [
        (date(2025, 1, 31), date(2025, 1, 31), 1, 0),
        (date(2025, 1, 31), date(2025, 2, 2), 0, 1),
        (date(2025, 2, 1), date(2025, 2, 1), 1, 0),
    ]
