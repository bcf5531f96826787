"""What sources say, and how it is added up to the best items of each user.

A source gives tastes, the reasons that each user has (such as items that the user bought) with
their weights, and lists, what each reason suggests (items that go together with it) with scores. A
candidate's score is the sum, over the user's reasons, of weight times score. Both are whole
numbers, in 2^20ths, so that sums are exact in whatever order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT
from contracts.surfaces import Surface
from jobs.candidates.add_up import add_up

WORLD = ("as_of", "surface", "fold")
"""What candidates of one are never mixed with those of another."""
WORLD_SQL = "as_of date, surface string, fold int"
USER = (*WORLD, "user_key")
TASTES = (*USER, "source", "reasons", "weights")
"""Columns of tastes, one row per user and source: arrays of ids, and of their weights."""
LISTS = (*WORLD, "source", "reason", "item_ids", "scores")
"""Columns of lists, one row per source and reason."""
HIDDEN = (*USER, "items")
"""Columns of what users must not be shown: arrays of ids."""
MAX_USERS = 20_000
"""Users, about, whose candidates are added up in one task: its memory grows with them."""
ONE = float(FIXED_POINT)


class Said(NamedTuple):
    """What a source says."""

    tastes: DataFrame
    lists: DataFrame


def fixed(value: Column) -> Column:
    """`value` in 2^20ths: the nearest whole number, of two the greater."""
    return F.floor(value * ONE + 0.5)


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


def joined(left: DataFrame, right: DataFrame, on: Sequence[str]) -> DataFrame:
    """An inner join that sorts both sides.

    Arrays that fill a megabyte of Parquet may unfold into a gigabyte of rows, and Spark, which
    counts the megabyte, would send them to every task.
    """
    return left.join(right.hint("merge"), [*on])


def firsts(rows: DataFrame, of: Sequence[str], by: Sequence[Column], n: int) -> DataFrame:
    """The first `n` rows by `by` within each `of`, and their `rank` from 1."""
    order = Window.partitionBy(*of).orderBy(*by)
    return rows.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= n)


def tastes(rows: DataFrame, source: str, reason: Column, weight: Column) -> DataFrame:
    """`TASTES`, from one row per user and reason."""
    pairs = F.collect_list(F.struct(reason.alias("reason"), weight.alias("weight")))
    return (
        rows.groupBy(*USER)
        .agg(pairs.alias("pairs"))
        .select(
            *USER,
            F.lit(source).alias("source"),
            F.col("pairs.reason").alias("reasons"),
            F.col("pairs.weight").alias("weights"),
        )
    )


def lists(
    rows: DataFrame, source: str, reason: Column, item_id: Column, score: Column
) -> DataFrame:
    """`LISTS`, from one row per reason and item."""
    pairs = F.collect_list(F.struct(item_id.alias("item_id"), score.alias("score")))
    return (
        rows.groupBy(*WORLD, reason.alias("reason"))
        .agg(pairs.alias("pairs"))
        .select(
            *WORLD,
            F.lit(source).alias("source"),
            "reason",
            F.col("pairs.item_id").alias("item_ids"),
            F.col("pairs.score").alias("scores"),
        )
    )


def added_up(
    tastes: DataFrame, lists: DataFrame, hidden: DataFrame | None, n: int, n_users: int
) -> DataFrame:
    """One row per user and source that suggests something: the best `n` items, best first.

    `item_ids`, `scores` in 2^40ths, and `because`, the reason that adds most to each. What is in
    `hidden` of a user and source is left out, and so are users themselves. Where a world has more
    than `MAX_USERS` of `n_users`, it is computed in parts, each with all lists.
    """
    n_parts = parts_of(n_users)
    rows = tastes.select(*TASTES)
    if hidden is not None:
        rows = rows.unionByName(hidden.select(*TASTES))
    keys = (*WORLD, "source", "part")

    def add(key: tuple[pa.Scalar, ...], rows: pa.Table, lists: pa.Table) -> pa.Table:
        is_taste = pc.greater(pc.list_value_length(rows["weights"]), 0)
        best = add_up(rows.filter(is_taste), rows.filter(pc.invert(is_taste)), lists, n)
        return with_key(best, key[:-1], keys)

    return cogrouped(
        rows.select("*", part_of("user_key", n_parts)),
        lists.select(*LISTS, every_part(n_parts)),
        keys,
        add,
        f"{WORLD_SQL}, source string, user_key string, item_ids array<string>, "
        "scores array<bigint>, because array<string>",
    )


def hidden_rows(hidden: DataFrame, sources: Column) -> DataFrame:
    """`HIDDEN` of each of an array of sources, in the shape of tastes: without weights."""
    return hidden.select(
        *USER,
        F.explode(sources).alias("source"),
        F.col("items").alias("reasons"),
        F.array().cast("array<bigint>").alias("weights"),
    )


def cogrouped(
    left: DataFrame,
    right: DataFrame,
    keys: Sequence[str],
    compute: Callable[[tuple[pa.Scalar, ...], pa.Table, pa.Table], pa.Table],
    schema: str,
) -> DataFrame:
    """What `compute` makes of the rows of both sides that agree in `keys`.

    Both may be made of the same table, of which Spark must not take one for the other: hence the
    other names of the keys on the right.
    """
    renamed = right.withColumnsRenamed({key: f"right_{key}" for key in keys})
    right_groups = renamed.groupBy(*(f"right_{key}" for key in keys))
    return left.groupBy(*keys).cogroup(right_groups).applyInArrow(compute, schema)


def parts_of(n: int) -> int:
    """Into how many parts so many users or items go."""
    return math.ceil(max(n, 1) / MAX_USERS)


def every_part(n_parts: int) -> Column:
    """The number of each of the parts, a row for each."""
    return F.explode(F.array(*(F.lit(number) for number in range(n_parts)))).alias("part")


def part_of(id_: str, n_parts: int) -> Column:
    """The number of the part to which an id belongs."""
    return F.pmod(F.xxhash64(id_), F.lit(n_parts)).cast("int").alias("part")


def with_key(rows: pa.Table, key: Sequence[pa.Scalar], names: Sequence[str]) -> pa.Table:
    """`rows` behind columns that are the same in all of them."""
    for at, (name, value) in enumerate(zip(names, key, strict=False)):
        rows = rows.add_column(at, name, pa.repeat(value, len(rows)))
    return rows
