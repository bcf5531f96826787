"""Tiles: what each user did on each UTC day, by the day on which it landed."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.features import MEASURES
from contracts.tables import USER_DAYS, USER_ITEM_DAYS

UNDOING = ("cancellation", "return")


def user_days(
    orders: DataFrame, posts: DataFrame, engagements: DataFrame, reviews: DataFrame
) -> DataFrame:
    """One row per user, UTC day on which something happened, and day on which it landed.

    A row that lands late makes a tile of its own, so no earlier tile is ever rebuilt.
    """
    purchase = F.col("kind") == "purchase"
    undo = F.col("kind").isin(*UNDOING)
    measured = (
        _tiles(
            orders,
            {
                "n_orders": F.count_distinct(F.when(purchase, F.col("order_id"))),
                "n_order_lines": F.count_if(purchase),
                "n_units": F.sum(F.when(purchase, F.col("quantity")).otherwise(0)),
                "spend_minor": F.sum(F.when(purchase, F.col("amount_minor")).otherwise(0)),
                "n_undone_lines": F.count_if(undo),
                "undone_minor": F.sum(F.when(undo, F.col("amount_minor")).otherwise(0)),
            },
        ),
        _tiles(posts, {"n_posts": F.count("*")}),
        _tiles(
            engagements,
            {
                f"n_{verb}s": F.count_if(F.col("verb") == verb)
                for verb in ("view", "like", "comment", "share")
            },
        ),
        _tiles(reviews, {"n_reviews": F.count("*"), "sum_stars": F.sum("stars")}),
    )
    every = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), measured)
    return (
        every.groupBy("user_key", "day", "landed_on")
        .agg(
            *(F.coalesce(F.sum(m.name), F.lit(0)).cast("bigint").alias(m.name) for m in MEASURES),
        )
        .select(*USER_DAYS.names)
    )


def _tiles(facts: DataFrame, measures: dict[str, Column]) -> DataFrame:
    return facts.groupBy(
        "user_key",
        F.to_date("occurred_at").alias("day"),
        "landed_on",
    ).agg(*(column.alias(name) for name, column in measures.items()))


def user_item_days(orders: DataFrame, engagements: DataFrame, reviews: DataFrame) -> DataFrame:
    """One row per user, item, UTC day on which they met, and day on which it landed."""
    met = (
        orders.where(F.col("kind") == "purchase"),
        engagements.where(F.col("target_kind") == "item").withColumnRenamed("target_id", "item_id"),
        reviews,
    )
    return (
        reduce(
            DataFrame.unionByName,
            (
                rows.select(
                    "user_key", "item_id", F.to_date("occurred_at").alias("day"), "landed_on"
                )
                for rows in met
            ),
        )
        .distinct()
        .select(*USER_ITEM_DAYS.names)
    )
