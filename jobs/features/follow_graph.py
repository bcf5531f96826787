"""The follow graph as of a midnight, and what those whom a user follows have been doing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.features import GRAPH
from jobs.features.point_in_time import known_on, seen_by


def edges(follows: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per `as_of`, user and user followed as of then.

    The newest fact about a pair decides. An edge without a time that counts is not there.
    """
    dated = follows.where("valid_from is not null")
    seen = seen_by(dated, F.to_date("valid_from"), as_ofs)
    return (
        seen.groupBy("as_of", "user_key", "followed_key")
        .agg(F.max_by("kind", F.struct("valid_from", "follow_id")).alias("kind"))
        .where("kind = 'follow'")
        .drop("kind")
    )


def graph(
    follows: DataFrame, windows: DataFrame, orders: DataFrame, as_ofs: Sequence[date]
) -> DataFrame:
    """One row per user and `as_of` with an edge in either direction: the columns of `GRAPH`.

    `windows` has the users' measures over windows as of the same midnights, `orders` how many
    orders they placed.
    """
    follow = edges(follows, as_ofs)
    back = follow.select(
        "as_of",
        F.col("followed_key").alias("user_key"),
        F.col("user_key").alias("followed_key"),
        F.lit(1).alias("mutual"),
    )
    theirs = windows.join(orders, ["user_key", "as_of"], "left").select(
        "as_of",
        F.col("user_key").alias("followed_key"),
        (F.col("n_events_7d") > 0).cast("bigint").alias("followed_active_7d"),
        F.col("n_orders_30d").alias("followed_orders_30d"),
        F.col("n_orders_90d").alias("followed_orders_90d"),
        F.col("spend_minor_90d").alias("followed_spend_minor_90d"),
        F.col("n_reviews_90d").alias("followed_reviews_90d"),
        F.col("sum_stars_90d").alias("followed_stars_90d"),
    )
    sums = [name for name, _, _ in GRAPH if name.startswith("followed_")]
    out = (
        follow.join(back, ["as_of", "user_key", "followed_key"], "left")
        .join(theirs, ["as_of", "followed_key"], "left")
        .groupBy("user_key", "as_of")
        .agg(
            F.count("*").alias("n_following"),
            F.count("mutual").alias("n_mutual"),
            *(F.sum(name).alias(name) for name in sums),
        )
    )
    into = follow.groupBy(F.col("followed_key").alias("user_key"), "as_of").agg(
        F.count("*").alias("n_followers")
    )
    return out.join(into, ["user_key", "as_of"], "full")


_NAMES = tuple(name for name, _, _ in GRAPH)
_PIECES: tuple[tuple[int, dict[str, str]], ...] = (
    (
        90,
        {
            "followed_spend_minor_90d": "spend_minor",
            "followed_reviews_90d": "n_reviews",
            "followed_stars_90d": "sum_stars",
        },
    ),
)
"""Windows, and what is summed over them: the column, and the measure of a tile that it adds."""
_ORDERS = {"followed_orders_30d": 30, "followed_orders_90d": 90}
"""Distinct orders, and their window."""
_ACTIVE_DAYS = 7
_FOREVER = 10_000_000
"""Days since 1970 beyond every date."""


def graph_changes(
    follows: DataFrame, tiles: DataFrame, met: DataFrame, first: date, last: date
) -> DataFrame:
    """One row per user and day from which the columns of `GRAPH` change: by how much.

    `tiles` are the users' days, `met` the things that they met on them: their orders.

    Added up over the days from `first` to a day of `[first, last]` they are what `graph` has as of
    that day. `day` is in days since 1970. An edge holds from a day to a day, and so does what a
    tile adds to a window; where both hold, the tile counts for who follows.
    """
    end = F.unix_date(F.lit(last)) + 1
    holding = _holding(follows, tiles, met, F.unix_date(F.lit(first)), end)

    def change(day: str, sign: int) -> Column:
        return F.struct(
            F.col(day).alias("day"), *((F.col(name) * sign).alias(name) for name in _NAMES)
        )

    return (
        holding.select(
            "user_key", F.explode(F.array(change("start", 1), change("end", -1))).alias("c")
        )
        .select("user_key", "c.*")
        .where(F.col("day") < end)
        .groupBy("user_key", "day")
        .agg(*(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in _NAMES))
    )


def _holding(
    follows: DataFrame, tiles: DataFrame, met: DataFrame, first: Column, end: Column
) -> DataFrame:
    """One row per stretch `[start, end)` of as-of days on which something adds to columns of
    `GRAPH`: what it adds."""
    held = _held(follows, first, end)
    back = held.select(
        F.col("followed_key").alias("user_key"),
        F.col("user_key").alias("followed_key"),
        F.col("start").alias("start_"),
        F.col("end").alias("end_"),
    )
    one = F.lit(1)
    parts = [
        held.select("user_key", "start", "end", one.alias("n_following")),
        held.select(F.col("followed_key").alias("user_key"), "start", "end",
                    one.alias("n_followers")),
        _overlapping(held.join(back, ["user_key", "followed_key"])).select(
            "user_key", "start", "end", one.alias("n_mutual")
        ),
    ]  # fmt: skip
    pieces = _pieces(tiles, met.where("kind = 'order'"), first, end).select(
        F.col("user_key").alias("followed_key"),
        F.col("start").alias("start_"),
        F.col("end").alias("end_"),
        *_FOLLOWED,
    )
    parts.append(
        _overlapping(held.join(pieces, "followed_key")).select(
            "user_key", "start", "end", *_FOLLOWED
        )
    )
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)


_FOLLOWED = tuple(name for name in _NAMES if name.startswith("followed_"))


def _held(follows: DataFrame, first: Column, end: Column) -> DataFrame:
    """One row per pair and stretch `[start, end)` of as-of days on which one follows the other."""
    pair = Window.partitionBy("user_key", "followed_key").orderBy("known")
    facts = (
        follows.where("valid_from is not null")
        .withColumn("known", F.unix_date(known_on(F.to_date("valid_from"))))
        .where(F.col("known") + 1 < end)
        .groupBy("user_key", "followed_key", "known")
        .agg(F.max(F.struct("valid_from", "follow_id", "kind")).alias("fact"))
        .withColumn("newest", F.max("fact").over(pair))
        .withColumn("next", F.coalesce(F.lead("known").over(pair), F.lit(_FOREVER)))
        .where("newest.kind = 'follow'")
    )
    return _clipped(facts, F.col("known") + 1, F.col("next") + 1, first, end).select(
        "user_key", "followed_key", "start", "end"
    )


def _pieces(tiles: DataFrame, orders: DataFrame, first: Column, end: Column) -> DataFrame:
    """One row per stretch of as-of days on which something of a user is in a window."""

    def shown_from(rows: DataFrame) -> DataFrame:
        known = F.unix_date(known_on(F.col("day"))) + 1
        return rows.withColumns({"on": F.unix_date("day"), "known": known})

    shown = shown_from(tiles)
    parts = []
    for window, columns in _PIECES:
        some = reduce(Column.__or__, (F.col(of) > 0 for of in columns.values()))
        parts.append(
            _clipped(shown.where(some), F.col("known"), F.col("on") + window + 1, first, end)
            .select("user_key", "start", "end",
                    *(F.col(of).alias(name) for name, of in columns.items()))
        )  # fmt: skip
    one, active = F.lit(1), shown.where("n_events > 0")
    parts.append(
        _united(active, ["user_key"], _ACTIVE_DAYS, first, end).select(
            "user_key", "start", "end", one.alias("followed_active_7d")
        )
    )
    lines = shown_from(orders)
    for name, window in _ORDERS.items():
        parts.append(
            _united(lines, ["user_key", "thing_id"], window, first, end).select(
                "user_key", "start", "end", one.alias(name)
            )
        )
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)


def _united(shown: DataFrame, of: list[str], window: int, first: Column, end: Column) -> DataFrame:
    """The stretches of as-of days on which something of each of `of` is in the window.

    They are cut where they overlap: disjoint, and together their union, exactly.
    """
    before = (
        Window.partitionBy(*of).orderBy("known", "on").rowsBetween(Window.unboundedPreceding, -1)
    )
    covered = F.coalesce(F.max("on").over(before) + window + 1, F.lit(0))
    return _clipped(
        shown.withColumn("covered", covered),
        F.greatest("known", "covered"),
        F.col("on") + window + 1,
        first,
        end,
    )


def _clipped(rows: DataFrame, start: Column, stop: Column, first: Column, end: Column) -> DataFrame:
    return rows.withColumns({"start": F.greatest(start, first), "end": F.least(stop, end)}).where(
        F.col("start") < F.col("end")
    )


def _overlapping(rows: DataFrame) -> DataFrame:
    """Rows in which `[start, end)` and `[start_, end_)` meet, narrowed to where they do."""
    return rows.withColumns(
        {"start": F.greatest("start", "start_"), "end": F.least("end", "end_")}
    ).where(F.col("start") < F.col("end"))
