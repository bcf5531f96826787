"""What goes together with what the user had: decayed co-occurrence of items within users."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT, NO_SUCH_DAY
from contracts.surfaces import Surface
from jobs.candidates.own_items import recent
from jobs.candidates.suggestions import (
    SUGGESTED,
    USER,
    each,
    firsts,
    fixed,
    on,
    scored,
    with_source,
)

MAX_OWN = 100
"""Items of a user that count, those of the strongest decayed signals: what a wholesaler has makes
no more pairs than that, and on Online Retail 100 are better than 200."""
MAX_NEIGHBOURS = 50
"""Items that one item suggests."""
HALF_AGE = 30
"""Days after which a last signal counts half as much in a pair."""


def together(histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """Suggestions: what goes together with each item that the user had; the reason is that item.

    An own item counts by the square root of its decayed signal.
    """
    asked = with_source(surfaces, "together")
    recently = (
        histories.where(on(asked))
        .select(*USER, recent(MAX_OWN).alias("met"))
        .where(F.size("met") > 0)
    )
    similar = neighbours(recently, items)
    return (
        recently.select(*USER, F.inline("met"))
        .join(similar, ["as_of", "surface", "fold", "item_id"])
        .select(
            *USER,
            F.lit("together").alias("source"),
            F.col("item_id").alias("because"),
            each(
                F.col("items"),
                lambda score: fixed(score * F.sqrt(F.col("signal") / _ONE) / _ONE),
            ).alias("items"),
        )
        .select(*SUGGESTED)
    )


def neighbours(recently: DataFrame, items: DataFrame) -> DataFrame:
    """One row per `as_of`, surface, fold and item: the items that go together with it most.

    `recently` has each user's items as an array `met`. A user's pair of items counts by the
    recency of both, and by one over the square root of how many items the user has; the sum of a
    pair is divided by the root of the sum of either item with itself (cosine), and popular
    neighbours are damped a little less than that.
    """
    world = ("as_of", "surface", "fold")
    weighed = recently.select(
        *world,
        (1 / F.sqrt(F.size("met"))).alias("weight"),
        F.transform(
            "met",
            lambda own: F.named_struct(
                F.lit("item_id"), own["item_id"], F.lit("recency"), _recency(own["last_day"])
            ),
        ).alias("met"),
    )
    one = weighed.select(*world, "weight", "met", F.posexplode("met").alias("place", "one"))
    alone = (
        one.groupBy(*world, F.col("one.item_id").alias("item_id"))
        .agg(
            F.sum(fixed(F.col("weight") * F.col("one.recency") * F.col("one.recency"))).alias(
                "norm"
            )
        )
        .where("norm > 0")
    )
    pairs = (
        one.select(
            *world,
            "weight",
            "one",
            F.explode(F.slice("met", F.col("place") + 2, F.size("met"))).alias("other"),
        )
        .groupBy(
            *world, F.col("one.item_id").alias("first"), F.col("other.item_id").alias("second")
        )
        .agg(
            F.sum(fixed(F.col("weight") * F.col("one.recency") * F.col("other.recency"))).alias("n")
        )
    )
    both = pairs.select(
        *world,
        "n",
        F.inline(
            F.array(
                F.struct(F.col("first").alias("item_id"), F.col("second").alias("other_id")),
                F.struct(F.col("second").alias("item_id"), F.col("first").alias("other_id")),
            )
        ),
    )
    shown = alone.join(
        items.where("available").select("as_of", "surface", "item_id"),
        ["as_of", "surface", "item_id"],
    ).select(*world, F.col("item_id").alias("other_id"), F.col("norm").alias("other_norm"))
    similar = (
        both.join(alone, [*world, "item_id"])
        .join(shown, [*world, "other_id"])
        .withColumn("score", _similarity(F.col("n"), F.col("norm"), F.col("other_norm")))
        .where("score > 0")
    )
    kept = firsts(
        similar,
        (*world, "item_id"),
        (F.col("score").desc(), F.col("other_id")),
        MAX_NEIGHBOURS,
    )
    return kept.groupBy(*world, "item_id").agg(
        F.collect_list(scored(F.col("other_id"), F.col("score"))).alias("items")
    )


_ONE = float(FIXED_POINT)


def _recency(last_day: Column) -> Column:
    """What a last signal of that day counts; 1 where its day is not known."""
    age = F.unix_date("as_of") - last_day
    return F.when(last_day == NO_SUCH_DAY, F.lit(1.0)).otherwise(HALF_AGE / (HALF_AGE + age))


def _similarity(n: Column, norm: Column, other_norm: Column) -> Column:
    """Cosine, times the sixteenth root of the norm of the neighbour.

    Square roots alone: they are exact, so that every machine finds the same.
    """
    cosine = n / (F.sqrt(norm) * F.sqrt(other_norm))
    damped = F.sqrt(F.sqrt(F.sqrt(F.sqrt(other_norm / _ONE))))
    return fixed(cosine * damped)
