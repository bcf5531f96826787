"""The follow graph as of a midnight, and what those whom a user follows have been doing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.features import GRAPH
from jobs.asof import seen_by


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


def graph(follows: DataFrame, windows: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user and `as_of` with an edge in either direction: the columns of `GRAPH`.

    `windows` has the users' measures over windows as of the same midnights.
    """
    follow = edges(follows, as_ofs)
    back = follow.select(
        "as_of",
        F.col("followed_key").alias("user_key"),
        F.col("user_key").alias("followed_key"),
        F.lit(1).alias("mutual"),
    )
    theirs = windows.select(
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
