"""Every item as of a midnight, and what a user's recent items say about the user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.measures import ITEM_MEASURES, ITEM_WINDOWS
from contracts.tables import ITEM_FEATURES
from jobs.features.point_in_time import newest_version, seen_by


def item_features(item_days: DataFrame, items: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per item and `as_of`: every item with a version, or met in the widest window."""
    category = newest_version(
        items.select("item_id", "category_id", "landed_on", "occurred_at"), "item_id", as_ofs
    )
    age = F.datediff("as_of", "day")
    windows = (
        seen_by(item_days, F.col("day"), as_ofs, within=max(ITEM_WINDOWS))
        .groupBy("item_id", "as_of")
        .agg(
            *(
                F.sum(F.when(age <= w, F.col(m.name)).otherwise(0)).alias(f"{m.name}_{w}d")
                for m in ITEM_MEASURES
                for w in ITEM_WINDOWS
            )
        )
    )
    return (
        category.join(windows, ["item_id", "as_of"], "full")
        .withColumns(
            {
                f"{m.name}_{w}d": F.coalesce(f"{m.name}_{w}d", F.lit(0))
                for m in ITEM_MEASURES
                for w in ITEM_WINDOWS
            }
        )
        .select(*ITEM_FEATURES.names)
    )


FROM_ITEM = {
    "engagements_30d": "n_engagements_30d",
    "order_lines_30d": "n_order_lines_30d",
    "reviews_90d": "n_reviews_90d",
    "stars_90d": "sum_stars_90d",
}
"""What is taken of an item, by the end of the features' names."""


def recent_items(user_state: DataFrame, items: DataFrame) -> DataFrame:
    """One row per user and `as_of` with an item among the last events: the columns of
    `RECENT_ITEMS`, `last_item_category`, and `categories`, a map from each item to its own."""
    named = F.when(F.col("category_id").isNotNull(), F.struct("item_id", "category_id"))
    with_items = user_state.select(
        "user_key", "as_of", F.filter("event_item", lambda x: x != "").alias("met")
    ).where(F.size("met") > 0)
    sums = (
        with_items.withColumn("item_id", F.explode(F.array_distinct("met")))
        .join(items, ["item_id", "as_of"], "left")
        .groupBy("user_key", "as_of")
        .agg(
            F.count("*").alias("n_recent_items"),
            *(F.sum(of).alias(f"recent_items_{name}") for name, of in FROM_ITEM.items()),
            F.map_from_entries(F.collect_list(named)).alias("categories"),
        )
    )
    of_category = (
        items.where("category_id is not null")
        .groupBy(F.col("category_id").alias("last_item_category"), "as_of")
        .agg(*(F.sum(of).alias(f"last_category_{name}") for name, of in FROM_ITEM.items()))
    )
    last = (
        with_items.withColumn("item_id", F.element_at("met", -1))
        .join(
            items.select("item_id", "as_of", F.col("category_id").alias("last_item_category")),
            ["item_id", "as_of"],
            "left",
        )
        .join(of_category, ["last_item_category", "as_of"], "left")
        .drop("item_id", "met")
    )
    return sums.join(last, ["user_key", "as_of"])
