"""What sources suggest to users, and how it is added up to the best of each source.

A row of suggestions is what one reason, such as an item that the user has, suggests to one user.
Scores are whole numbers, in 2^20ths, so that they add up to the same in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT
from contracts.surfaces import Surface

USER = ("as_of", "surface", "user_key", "fold")
"""What candidates of a user are told apart by."""
SUGGESTED = (*USER, "source", "because", "items")
"""Columns of suggestions; `items` are structs of `item_id` and `score`, `because` is the reason, or
empty."""
HIDDEN = (*USER, "items")
"""Columns of what users must not be shown: arrays of ids."""


def fixed(value: Column) -> Column:
    """`value` in 2^20ths: the nearest whole number, of two the greater."""
    return F.floor(value * float(FIXED_POINT) + 0.5)


def scored(item_id: Column, score: Column) -> Column:
    """An entry of `items`."""
    return F.named_struct(F.lit("item_id"), item_id, F.lit("score"), score)


def each(items: Column, score: Callable[[Column], Column]) -> Column:
    """`items` with other scores: `score` of those that they have."""
    return F.transform(items, lambda item: scored(item["item_id"], score(item["score"])))


def by_surface(surfaces: Sequence[Surface], value: Callable[[Surface], Any]) -> Column:
    """A value per surface, for rows that name theirs; null for one that is not among them."""
    pairs = [F.lit(part) for surface in surfaces for part in (surface.name, value(surface))]
    return F.element_at(F.create_map(*pairs), F.col("surface"))


def with_source(surfaces: Sequence[Surface], source: str) -> list[Surface]:
    """The surfaces that ask for a source."""
    return [surface for surface in surfaces if source in surface.sources]


def on(surfaces: Sequence[Surface]) -> Column:
    """Whether a row is of one of these surfaces."""
    return F.col("surface").isin([surface.name for surface in surfaces])


def firsts(rows: DataFrame, of: Sequence[str], by: Sequence[Column], n: int) -> DataFrame:
    """The first `n` rows by `by` within each `of`, and their `rank` from 1."""
    order = Window.partitionBy(*of).orderBy(*by)
    return rows.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= n)


def best(
    suggested: DataFrame, hidden: DataFrame, sources: Mapping[str, Sequence[str]], n: int
) -> DataFrame:
    """One row per user and source: its best `n` items, as `rec_candidates` has them.

    What several reasons suggest has the sum of their scores, and the reason that adds most to it.
    `hidden` items count for `sources`, those of each surface, alone.
    """
    return arrays(ranked(suggested, hidden, sources, n))


def ranked(
    suggested: DataFrame, hidden: DataFrame, sources: Mapping[str, Sequence[str]], n: int
) -> DataFrame:
    """One row per user, source and item among its best `n`: `score`, `because` and `rank`."""
    hiding = hidden.select(
        *USER,
        F.explode(_names(sources)).alias("source"),
        F.lit(None).cast("string").alias("because"),
        F.transform("items", lambda item: scored(item, F.lit(0).cast("bigint"))).alias("items"),
    )
    # All rows of a user move once: sums and ranks are then made where they are.
    totals = (
        suggested.select(*SUGGESTED)
        .unionByName(hiding)
        .repartition(*USER)
        .select(*USER, "source", "because", F.inline("items"))
        .groupBy(*USER, "source", "item_id")
        .agg(
            F.sum("score").alias("score"),
            F.min_by("because", F.struct(-F.col("score"), "because")).alias("because"),
            F.bool_or(F.col("because").isNull()).alias("is_hidden"),
        )
        .where("score > 0 and not is_hidden and item_id <> user_key")
    )
    return firsts(totals, (*USER, "source"), (F.col("score").desc(), F.col("item_id")), n)


def arrays(rows: DataFrame) -> DataFrame:
    """One row per user and source, from rows with `rank`, `item_id`, `score` and `because`."""
    listed = rows.groupBy(*USER, "source").agg(
        F.sort_array(F.collect_list(F.struct("rank", "item_id", "score", "because"))).alias("best")
    )
    return listed.select(
        *USER,
        "source",
        F.col("best.item_id").alias("item_ids"),
        F.transform("best.score", lambda score: (score / float(FIXED_POINT)).cast("float")).alias(
            "scores"
        ),
        F.col("best.because").alias("because"),
    )


def _names(sources: Mapping[str, Sequence[str]]) -> Column:
    pairs = [
        part
        for surface, names in sources.items()
        for part in (
            F.lit(surface),
            F.array(*(F.lit(name) for name in names)).cast("array<string>"),
        )
    ]
    return F.element_at(F.create_map(*pairs), F.col("surface"))
