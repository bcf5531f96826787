"""People to follow who like the same items."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.surfaces import Surface
from jobs.candidates.own_items import recent
from jobs.candidates.suggestions import SUGGESTED, USER, firsts, fixed, on, scored, with_source

MAX_ITEMS = 50
"""Items of a user that count, those of the strongest decayed signals."""
MAX_FANS = 50
"""Users whom an item suggests, those of the strongest decayed signals."""


def same_tastes(histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """Suggestions: the users who like an item that the user likes; the reason is the item.

    Items are those of the surfaces on which items are shown. One counts by one over the root of
    how many users like it: what everybody likes says little.
    """
    asked = with_source(surfaces, "same_tastes")
    shops = [surface for surface in surfaces if surface.target == "item"]
    shop = ("as_of", "shop", "liked_id")
    liked = (
        histories.where(on(shops) & (F.col("fold") == 0))
        .select("as_of", F.col("surface").alias("shop"), "user_key", F.inline(recent(MAX_ITEMS)))
        .withColumnRenamed("item_id", "liked_id")
    )
    n = liked.groupBy(*shop).agg(F.count("*").alias("n_fans"))
    shown = items.where(on(asked) & F.col("available")).select(
        "as_of", "surface", F.col("item_id").alias("user_key")
    )
    fans = firsts(
        liked.join(shown, ["as_of", "user_key"]).join(n, [*shop]),
        (*shop, "surface"),
        (F.col("signal").desc(), F.col("user_key")),
        MAX_FANS,
    )
    suggesting = fans.groupBy(*shop, "surface").agg(
        F.collect_list(scored(F.col("user_key"), fixed(1 / F.sqrt("n_fans")))).alias("items")
    )
    users = histories.where(on(asked)).select(*USER)
    return (
        liked.select(*shop, "user_key")
        .join(users, ["as_of", "user_key"])
        .join(suggesting, [*shop, "surface"])
        .select(
            *USER,
            F.lit("same_tastes").alias("source"),
            F.col("liked_id").alias("because"),
            "items",
        )
        .select(*SUGGESTED)
    )
