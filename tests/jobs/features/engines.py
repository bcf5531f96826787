"""Features of a small world, day by day and in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from contracts.features import FEATURES
from contracts.tables import USER_FEATURES, USER_STATE
from jobs.features.events import events
from jobs.features.item_features import item_features
from jobs.features.user_days import item_days, tiles_of_all, user_days, user_item_days
from jobs.features.user_features import user_features
from jobs.features.user_state import user_state
from jobs.one_pass.features import features_in_one_pass
from jobs.spark.files import collected
from jobs.spark.schema import spark_schema
from tests.jobs.features.worlds import START, World

AS_OFS = [START + timedelta(days=n) for n in (30, 63, 90, 119, 150)]
NAMES = [f.name for f in FEATURES]


def state_of(
    spark: SparkSession,
    world: World,
    as_ofs: Sequence[date],
    base: DataFrame | None = None,
    since: date | None = None,
) -> DataFrame:
    facts = world.frames(spark)
    empty = spark.createDataFrame([], spark_schema(USER_STATE))
    tiles = user_days(tiles_of_all(facts)).localCheckpoint()
    return user_state(
        empty if base is None else base,
        tiles,
        user_item_days(facts, facts["posts"]),
        facts["users"],
        events(facts),
        since,
        as_ofs,
    )


def tables_of(facts: dict[str, DataFrame], as_ofs: Sequence[date]) -> list[DataFrame]:
    """What features are made of, besides the state."""
    return [
        user_days(tiles_of_all(facts)).localCheckpoint(),
        user_item_days(facts, facts["posts"]).localCheckpoint(),
        facts["users"],
        item_features(item_days(facts), facts["items"], as_ofs).localCheckpoint(),
        facts["follows"],
        facts["posts"],
        facts["reviews"],
    ]


def features_of(spark: SparkSession, world: World, as_ofs: Sequence[date]) -> dict[Any, Any]:
    facts = world.frames(spark)
    features = user_features(
        state_of(spark, world, as_ofs).localCheckpoint(),
        *tables_of(facts, as_ofs),
        as_ofs,
    )
    return {(r.as_of, r.user_key): {n: r[n] for n in NAMES} for r in features.collect()}


def read_in_one_pass(facts: dict[str, DataFrame], as_ofs: Sequence[date]) -> list[Any]:
    """What one pass reads besides the state that it starts from, and its days."""
    return [
        *tables_of(facts, as_ofs),
        events(facts),
        as_ofs,
    ]


def one_pass_of(
    spark: SparkSession,
    world: World,
    as_ofs: Sequence[date],
    folder: Path,
    since: date | None = None,
) -> dict[Any, Any]:
    base = (
        spark.createDataFrame([], spark_schema(USER_STATE))
        if since is None
        else state_of(spark, world, [since]).localCheckpoint()
    )
    reports = features_in_one_pass(
        base,
        *read_in_one_pass(world.frames(spark), as_ofs),
        str(folder),
    ).collect()
    collected(spark, USER_FEATURES, reports, as_ofs)  # breaks no contract
    rows = pa.concat_tables([pq.read_table(r.path) for r in reports]).to_pylist()
    assert len(rows) == sum(r.rows for r in reports)
    return {(r["as_of"], r["user_key"]): {n: r[n] for n in NAMES} for r in rows}
