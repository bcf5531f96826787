"""People to follow who like the same items."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT
from contracts.surfaces import Surface
from jobs.candidates.own_items import recent
from jobs.candidates.suggestions import (
    USER,
    WORLD,
    Said,
    firsts,
    fixed,
    joined,
    lists,
    on,
    with_source,
)

MAX_ITEMS = 50
"""Items of a user that count, those of the strongest decayed signals."""
MAX_FANS = 50
"""Users whom an item suggests, those of the strongest decayed signals."""


def same_tastes(histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface]) -> Said:
    """The users who like an item that the user likes; the reason is the item.

    Items are those of the first surface on which items are shown. One counts by one over the root
    of how many users like it: what everybody likes says little.
    """
    asked = with_source(surfaces, "same_tastes")
    shop = [surface for surface in surfaces if surface.target == "item"][:1]
    liked = histories.where(on(shop) & (F.col("fold") == 0)).select(
        "as_of", "user_key", recent(MAX_ITEMS).alias("met")
    )
    people = histories.where(on(asked)).select(*USER)
    likers = joined(people, liked.where(F.size("met") > 0), ("as_of", "user_key"))
    tastes = likers.select(
        *USER,
        F.lit("same_tastes").alias("source"),
        F.col("met.item_id").alias("reasons"),
        F.array_repeat(F.lit(FIXED_POINT).cast("bigint"), F.size("met")).alias("weights"),
    )
    item = (*WORLD, "item_id")
    shown = items.where(on(asked) & F.col("available")).select(
        "as_of", "surface", F.col("item_id").alias("user_key")
    )
    fans = likers.select(*USER, F.inline("met")).withColumn(
        "n_fans", F.count("*").over(Window.partitionBy(*item))
    )
    strongest = firsts(
        joined(fans, shown, shown.columns),
        item,
        (F.col("signal").desc(), F.col("user_key")),
        MAX_FANS,
    )
    score = fixed(1 / F.sqrt("n_fans"))
    return Said(tastes, lists(strongest, "same_tastes", F.col("item_id"), F.col("user_key"), score))
