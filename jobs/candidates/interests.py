"""Items of the categories that interest a user."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contracts.surfaces import Surface
from jobs.candidates.own_items import own_items
from jobs.candidates.suggestions import (
    USER,
    Said,
    firsts,
    fixed,
    joined,
    lists,
    on,
    tastes,
    with_source,
)

MAX_CATEGORIES = 10
"""Categories of a user, those of the most decayed signals."""
MAX_ITEMS = 50
"""Items that a category suggests."""

_CATEGORY = ("as_of", "surface", "category_id")


def interests(histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface]) -> Said:
    """The newest and the most popular items of each category that interests the user; the reason is
    the category, and what it counts its share of the user's decayed signals."""
    asked = with_source(surfaces, "interests")
    some = items.where(on(asked) & F.col("category_id").isNotNull())
    met = own_items(histories, on(asked)).where("signal > 0 and blocked = 0")
    liked = (
        joined(met, some.select(*_CATEGORY, "item_id"), ("as_of", "surface", "item_id"))
        .groupBy(*USER, "category_id")
        .agg(F.sum("signal").alias("signal"))
        .withColumn("total", F.sum("signal").over(Window.partitionBy(*USER)))
    )
    most = firsts(liked, USER, (F.col("signal").desc(), F.col("category_id")), MAX_CATEGORIES)
    share = fixed(F.col("signal") / F.col("total"))
    return Said(
        tastes(most, "interests", F.col("category_id"), share),
        lists(
            of_categories(some), "interests", F.col("category_id"), F.col("item_id"), F.col("score")
        ),
    )


def of_categories(items: DataFrame) -> DataFrame:
    """One row per category and item of its best: `score` is one over its place by popularity
    (half-life of 10 days) or by newness, whichever is the better place."""
    popularity = (F.col("popularity_10d").desc(), F.col("item_id"))
    newness = (F.col("first_day").desc(), F.col("item_id"))
    within = Window.partitionBy(*_CATEGORY)
    places = items.where("available").select(
        *_CATEGORY,
        "item_id",
        F.row_number().over(within.orderBy(*popularity)).alias("by_popularity"),
        F.row_number().over(within.orderBy(*newness)).alias("by_newness"),
    )
    scores = places.withColumn("score", fixed(1 / F.least("by_popularity", "by_newness")))
    best = firsts(scores, _CATEGORY, (F.col("score").desc(), F.col("item_id")), MAX_ITEMS)
    return best.withColumn("fold", F.lit(0))
