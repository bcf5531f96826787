"""What goes together with what the user had: decayed co-occurrence of items within users."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import NO_SUCH_DAY
from contracts.surfaces import Surface
from jobs.candidates.neighbours import STRENGTH_UNIT, most_similar, pair_sums
from jobs.candidates.own_items import recent
from jobs.candidates.suggestions import (
    LISTS,
    ONE,
    USER,
    WORLD,
    WORLD_SQL,
    Said,
    cogrouped,
    every_part,
    fixed,
    on,
    part_of,
    parts_of,
    with_key,
    with_source,
)

MAX_OWN = 100
"""Items of a user that count, those of the strongest decayed signals: what a wholesaler has makes
no more pairs than that, and on Online Retail 100 are better than 200."""
MAX_NEIGHBOURS = 50
"""Items that one item suggests."""
HALF_AGE = 30
"""Days after which a last signal counts half as much in a pair."""


def together(
    histories: DataFrame,
    items: DataFrame,
    surfaces: Sequence[Surface],
    n_users: int,
    n_items: int,
) -> Said:
    """What goes together with each item that the user had; the reason is that item.

    An own item counts by the square root of its decayed signal.
    """
    asked = with_source(surfaces, "together")
    recently = (
        histories.where(on(asked))
        .select(*USER, recent(MAX_OWN).alias("met"))
        .where(F.size("met") > 0)
    )
    tastes = recently.select(
        *USER,
        F.lit("together").alias("source"),
        F.col("met.item_id").alias("reasons"),
        F.transform("met", lambda own: fixed(F.sqrt(own["signal"] / ONE))).alias("weights"),
    )
    return Said(tastes, neighbours(recently, items.where(on(asked)), n_users, n_items))


def neighbours(recently: DataFrame, items: DataFrame, n_users: int, n_items: int) -> DataFrame:
    """`LISTS` of the items that go together most with each; `recently` has each user's as `met`.

    A user's pair of items counts by the recency of both, and by one over the square root of how
    many items the user has.
    """
    damping = F.sqrt(F.sqrt(F.size("met")))
    users = recently.select(
        *WORLD,
        F.col("met.item_id").alias("item_ids"),
        F.transform(
            "met",
            lambda own: F.floor(_recency(own["last_day"]) / damping * float(STRENGTH_UNIT) + 0.5),
        ).alias("strengths"),
        part_of("user_key", parts_of(n_users)),
    )
    catalogue = items.select(
        "as_of",
        "surface",
        F.explode(F.array(F.lit(0), F.lit(1))).alias("fold"),
        "item_id",
        "available",
    )
    of_users, of_items = parts_of(n_users), parts_of(n_items)
    keys = (*WORLD, "part")

    def pairs(key: tuple[pa.Scalar, ...], users: pa.Table, catalogue: pa.Table) -> pa.Table:
        return with_key(pair_sums(users, catalogue, of_items), key[:-1], WORLD)

    def similar(key: tuple[pa.Scalar, ...], sums: pa.Table, catalogue: pa.Table) -> pa.Table:
        found = most_similar(sums, catalogue, MAX_NEIGHBOURS)
        return with_key(found, (*key[:-1], pa.scalar("together")), (*WORLD, "source"))

    sums = cogrouped(
        users,
        catalogue.select("*", every_part(of_users)),
        keys,
        pairs,
        f"{WORLD_SQL}, part int, number int, others array<int>, strengths array<bigint>",
    )
    return cogrouped(
        sums,
        catalogue.select("*", every_part(of_items)),
        keys,
        similar,
        f"{WORLD_SQL}, source string, reason string, item_ids array<string>, scores array<bigint>",
    ).select(*LISTS)


def _recency(last_day: Column) -> Column:
    """What a last signal of that day counts; 1 where its day is not known."""
    age = F.unix_date("as_of") - last_day
    return F.when(last_day == NO_SUCH_DAY, F.lit(1.0)).otherwise(HALF_AGE / (HALF_AGE + age))
