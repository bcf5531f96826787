"""What counting suggests for each user: all sources of all surfaces as of a midnight."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import REC_CANDIDATES
from contracts.surfaces import Surface
from jobs.candidates.caps import Caps
from jobs.candidates.entries import ARRAYS, ITEM_COLUMNS
from jobs.candidates.grouped_steps import (
    WORLD,
    Key,
    cogrouped,
    every_part,
    part_of,
    spark_columns,
)
from jobs.candidates.sources import CANDIDATES, COUNTED, Sources
from jobs.candidates.step_rows import LISTS, STEP_ROWS
from jobs.spark.schema import spark_schema

CAPS = Caps()


def rec_candidates(
    histories: DataFrame,
    items: DataFrame,
    surfaces: Sequence[Surface],
    n: int,
    caps: Caps = CAPS,
) -> DataFrame:
    """One row per surface, user, fold, `as_of` and source that suggests something to the user.

    Items that the user has (unless the surface allows repeats), that are blocked or not available,
    and users themselves are left out; `own` gives what the user has whether repeats are allowed or
    not. A source gives a user `n` items at most.

    Three steps, each of Arrow tables of one day, surface and fold: what users say, in parts of the
    users; what items suggest of it, in parts of the items; and what that adds up to for each user.
    Of days with few rows they are one task, for to hand them on would be most of the work.
    """
    if not any(source in COUNTED for surface in surfaces for source in surface.sources):
        return histories.sparkSession.createDataFrame([], spark_schema(REC_CANDIDATES))
    on = F.col("surface").isin([surface.name for surface in surfaces])
    sources = _sources(histories.where(on), items.where(on), surfaces, n, caps)
    # Of people those alone who may not be shown: each part of the users would see all the others.
    people = F.col("surface").isin([s.name for s in surfaces if s.target == "user"])
    users = histories.where(on).select(*WORLD, "user_key", *ARRAYS)
    catalogue = items.where(on & ~(people & F.col("available"))).select(
        "as_of", "surface", *ITEM_COLUMNS
    )
    if sources.is_small:
        found = cogrouped(users, catalogue, ("as_of",), sources.of_day, CANDIDATES)
    else:
        found = _in_parts(sources, users, catalogue)
    return found.select(*REC_CANDIDATES.names)


def _in_parts(sources: Sources, users: DataFrame, catalogue: DataFrame) -> DataFrame:
    """The three steps, of parts of users and items."""
    n_parts = sources.n_parts
    n_folds = 1 + max((fold for folds in sources.folds.values() for fold in folds), default=0)
    users = users.withColumn("part", part_of("user_key", n_parts))
    catalogue = catalogue.withColumn("fold", F.explode(every_part(n_folds))).withColumn(
        "part", F.explode(every_part(n_parts))
    )
    world_part = (*WORLD, "part")
    of_users = cogrouped(users, catalogue, world_part, sources.of_users, STEP_ROWS)
    of_items = cogrouped(of_users, catalogue, world_part, sources.of_items, STEP_ROWS)
    parts = F.when(F.col("kind") == LISTS, every_part(n_parts)).otherwise(
        F.array(part_of("key", n_parts))
    )

    def add_up(key: Key, rows: pa.Table) -> pa.Table:
        return sources.added_up(key, rows)

    return (
        of_items.withColumn("part", F.explode(parts))
        .groupBy(*WORLD, "source", "part")
        .applyInArrow(add_up, spark_columns(CANDIDATES))
    )


def declared_by(surface: Surface) -> list[object]:
    """What of a surface its candidates by counting depend on."""
    return [
        surface.name,
        surface.target,
        [name for name in COUNTED if name in surface.sources],
        sorted(surface.signals.items()),
        surface.goals,
        surface.repeats,
        surface.horizon_days,
    ]


def _sources(
    histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface], n: int, caps: Caps
) -> Sources:
    """How worlds are counted, by the rows that they have: a number for each is collected."""
    rows = histories.select(*WORLD).unionByName(
        items.select("as_of", "surface", F.lit(None).cast("int").alias("fold"))
    )
    counts = rows.groupBy(*WORLD).count().collect()
    folds: dict[tuple[date, str], list[int]] = {}
    for row in counts:
        if row["fold"] is not None:
            folds.setdefault((row["as_of"], row["surface"]), []).append(row["fold"])
    largest = max((row["count"] for row in counts), default=0)
    by_day = Counter[date]()
    for row in counts:
        by_day[row["as_of"]] += row["count"]
    is_small = max(by_day.values(), default=0) <= caps.rows
    n_parts = math.ceil(max(largest, 1) / caps.users)
    return Sources(surfaces, n, caps, n_parts, folds, is_small)
