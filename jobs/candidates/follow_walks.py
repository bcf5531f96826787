"""People to follow, from who follows whom: those who follow back, friends of friends, and who is
reached by walks of three steps.

Edges count in both directions: who follows a user says as much of the user's taste as whom the
user follows, and one who does both says it twice. On Ciao's edges this raised the nDCG@10 of
friends of friends from .096 to .110.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT
from contracts.surfaces import Surface
from jobs.candidates.own_items import own_items
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

MAX_FRIENDS = 200
"""Users next to a user who count, the closest: with 100 friends of friends lose .003 of nDCG@10."""
MAX_FOLLOWED = 100
"""Users whom each of them suggests, the most followed of those whom they follow."""
MAX_REACHED = 200
"""Users reached in two steps from whom the third is taken."""

_WORLD = ("as_of", "surface", "fold")
_ONE = float(FIXED_POINT)


def edges(histories: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """One row per user and user followed, `item_id`, with the `signal` between them."""
    rows = own_items(histories, on(surfaces)).where("owned = 1 and item_id <> user_key")
    return rows.select(*USER, "item_id", "signal", "last_day")


def friends(follow: DataFrame) -> DataFrame:
    """One row per user and `friend`, either of whom follows the other, the closest of each user.

    `score` is the number of edges between them over the root of `degree`, the users next to the
    friend (Adamic and Adar damp it by its logarithm, resource allocation by itself; the root gave
    the most on Ciao).
    """
    both = follow.select(
        *_WORLD,
        F.inline(
            F.array(
                F.struct(F.col("user_key"), F.col("item_id").alias("friend")),
                F.struct(F.col("item_id").alias("user_key"), F.col("user_key").alias("friend")),
            )
        ),
    )
    pairs = both.groupBy(*_WORLD, "user_key", "friend").agg(F.count("*").alias("n"))
    degrees = pairs.groupBy(*_WORLD, F.col("user_key").alias("friend")).agg(
        F.count("*").alias("degree")
    )
    close = pairs.join(degrees, [*_WORLD, "friend"]).withColumn(
        "score", fixed(F.col("n") / F.sqrt("degree"))
    )
    return firsts(close, USER, (F.col("score").desc(), F.col("friend")), MAX_FRIENDS).drop("rank")


def followed(follow: DataFrame, items: DataFrame) -> DataFrame:
    """One row per `friend`: the most followed of those whom they follow and who may be shown."""
    shown = items.where("available").select("as_of", "surface", "item_id")
    known = follow.join(shown, ["as_of", "surface", "item_id"])
    n = follow.groupBy(*_WORLD, "item_id").agg(F.count("*").alias("n_followers"))
    most = firsts(
        known.join(n, [*_WORLD, "item_id"]),
        USER,
        (F.col("n_followers").desc(), F.col("item_id")),
        MAX_FOLLOWED,
    )
    return most.groupBy(*_WORLD, F.col("user_key").alias("friend")).agg(
        F.collect_list(scored(F.col("item_id"), F.lit(FIXED_POINT).cast("bigint"))).alias("items")
    )


def friends_of_friends(
    close: DataFrame, lists: DataFrame, surfaces: Sequence[Surface]
) -> DataFrame:
    """Suggestions: whom each friend follows; the reason is the friend."""
    asked = with_source(surfaces, "friends_of_friends")
    return _suggested("friends_of_friends", close.where(on(asked)), lists, F.col("score"))


def page_rank(close: DataFrame, lists: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """Suggestions: whom walks of three steps from the user reach, the first two along edges in any
    direction; the reason is the last user on the way.

    A step goes to each friend with a chance of one in that friend's number of friends, so that
    walks do not all end with the best known. Who is reached in two steps by few ways is left out.
    """
    asked = with_source(surfaces, "page_rank")
    step = close.where(on(asked)).select(
        *USER, "friend", "degree", fixed(F.col("score") / _ONE / F.sqrt("degree")).alias("chance")
    )
    onwards = step.groupBy(*_WORLD, F.col("user_key").alias("friend")).agg(
        F.collect_list(scored(F.col("friend"), F.col("chance"))).alias("items")
    )
    reached = (
        step.join(onwards, [*_WORLD, "friend"])
        .select(*USER, F.col("chance").alias("first"), F.inline("items"))
        .groupBy(*USER, F.col("item_id").alias("friend"))
        .agg(F.sum(fixed(F.col("first") / _ONE * F.col("score") / _ONE)).alias("chance"))
        .where("chance > 0")
    )
    last = firsts(reached, USER, (F.col("chance").desc(), F.col("friend")), MAX_REACHED)
    return _suggested("page_rank", last, lists, F.col("chance"))


def follows_back(follow: DataFrame, items: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """Suggestions: who follows the user, those of the strongest signals first."""
    asked = with_source(surfaces, "follows_back")
    shown = items.where("available").select("as_of", "surface", F.col("item_id").alias("user_key"))
    return (
        follow.where(on(asked))
        .join(shown, ["as_of", "surface", "user_key"])
        .select(
            *_WORLD,
            F.col("item_id").alias("user_key"),
            F.lit("follows_back").alias("source"),
            F.lit("").alias("because"),
            F.array(scored(F.col("user_key"), 1 + F.col("signal"))).alias("items"),
        )
        .select(*SUGGESTED)
    )


def _suggested(source: str, friends: DataFrame, lists: DataFrame, weight: Column) -> DataFrame:
    return (
        friends.withColumn("weight", weight)
        .join(lists, [*_WORLD, "friend"])
        .select(
            *USER,
            F.lit(source).alias("source"),
            F.col("friend").alias("because"),
            each(F.col("items"), lambda score: fixed(score / _ONE * F.col("weight") / _ONE)).alias(
                "items"
            ),
        )
        .select(*SUGGESTED)
    )
