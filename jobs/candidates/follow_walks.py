"""People to follow, from who follows whom: those who follow back, friends of friends, and who is
reached by walks of two and three steps.

Edges count in both directions: who follows a user says as much of the user's taste as whom the
user follows, and one who does both says it twice. On Ciao's edges this raised the nDCG@10 of
friends of friends from .096 to .110.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT
from contracts.surfaces import Surface
from jobs.candidates.own_items import own_items
from jobs.candidates.suggestions import (
    ONE,
    USER,
    WORLD,
    Said,
    added_up,
    firsts,
    fixed,
    joined,
    lists,
    on,
    tastes,
)

MAX_FRIENDS = 200
"""Users next to a user who count, the closest: with 100 friends of friends lose .003 of nDCG@10."""
MAX_FOLLOWED = 100
"""Users whom each of them suggests, the most followed of those whom they follow."""
MAX_REACHED = 50
"""Users whom each of them suggests besides, from two steps on."""
FAR = 1.4
"""What a walk of three steps counts beside one of two. On Ciao the further ones then add up to half
of the nearer ones on average, which gave more than as much, or twice as much."""

MAX_FOLLOWERS = 200
"""Users who follow a user and count, those of the strongest signals."""


def edges(histories: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """One row per user and user followed, `item_id`, with the `signal` between them."""
    rows = own_items(histories, on(surfaces)).where("owned = 1 and item_id <> user_key")
    return rows.select(*USER, "item_id", "signal")


def friends(follow: DataFrame) -> DataFrame:
    """One row per user and `friend`, either of whom follows the other, the closest of each user.

    `score` is the number of edges between them over the root of `degree`, the users next to the
    friend (Adamic and Adar damp it by its logarithm, resource allocation by itself; the root gave
    the most on Ciao).
    """
    both = follow.select(
        *WORLD,
        F.inline(
            F.array(
                F.struct(F.col("user_key"), F.col("item_id").alias("friend")),
                F.struct(F.col("item_id").alias("user_key"), F.col("user_key").alias("friend")),
            )
        ),
    )
    next_to = Window.partitionBy(*WORLD, "friend")
    close = (
        both.groupBy(*WORLD, "user_key", "friend")
        .agg(F.count("*").alias("n"))
        .withColumn("degree", F.count("*").over(next_to))
        .withColumn("score", fixed(F.col("n") / F.sqrt("degree")))
    )
    return firsts(close, USER, (F.col("score").desc(), F.col("friend")), MAX_FRIENDS).drop("rank")


def followed(follow: DataFrame, items: DataFrame) -> DataFrame:
    """One row per `friend` and `item_id`, the most followed of those whom the friend follows and
    who may be shown."""
    shown = items.where("available").select("as_of", "surface", "item_id")
    followers = Window.partitionBy(*WORLD, "item_id")
    most = firsts(
        joined(follow, shown, shown.columns).withColumn("n", F.count("*").over(followers)),
        USER,
        (F.col("n").desc(), F.col("item_id")),
        MAX_FOLLOWED,
    )
    return most.withColumnRenamed("user_key", "friend").drop("rank", "n")


def friends_of_friends(close: DataFrame, theirs: DataFrame) -> Said:
    """Whom each friend follows; the reason is the friend. `close` has friends, `theirs` whom they
    follow."""
    one = F.lit(FIXED_POINT).cast("bigint")
    return Said(
        tastes(close, "friends_of_friends", F.col("friend"), F.col("score")),
        lists(theirs, "friends_of_friends", F.col("friend"), F.col("item_id"), one),
    )


def page_rank(close: DataFrame, theirs: DataFrame, n_users: int) -> Said:
    """Whom each friend follows, and whom those follow who are next to the friend; the reason is the
    friend. These are walks of two and three steps, of which all but the last go along edges in any
    direction.

    The second of three steps goes to each friend's friend with a chance of one in how many are next
    to that one, so that walks do not all end with the best known. On Ciao the sum of both gave an
    nDCG@10 of .116, where friends of friends gave .108.
    """
    chance = fixed(F.col("n") / F.col("degree"))
    one = F.lit(FIXED_POINT).cast("bigint")
    reached = added_up(
        tastes(close, "page_rank", F.col("friend"), chance),
        lists(theirs, "page_rank", F.col("friend"), F.col("item_id"), one),
        None,
        MAX_REACHED,
        n_users,
    )
    further = reached.select(
        *WORLD,
        F.col("user_key").alias("reason"),
        F.col("item_ids").alias("far_ids"),
        F.transform("scores", lambda score: fixed(score / ONE / ONE * FAR)).alias("far_scores"),
    )
    near = lists(theirs, "page_rank", F.col("friend"), F.col("item_id"), one)
    both = near.join(further.hint("merge"), [*WORLD, "reason"], "full")
    ids, scores = F.array().cast("array<string>"), F.array().cast("array<bigint>")
    return Said(
        tastes(close, "page_rank", F.col("friend"), F.col("score")),
        both.select(
            *WORLD,
            F.lit("page_rank").alias("source"),
            "reason",
            F.concat(F.coalesce("item_ids", ids), F.coalesce("far_ids", ids)).alias("item_ids"),
            F.concat(F.coalesce("scores", scores), F.coalesce("far_scores", scores)).alias(
                "scores"
            ),
        ),
    )


def follows_back(follow: DataFrame, items: DataFrame) -> Said:
    """Who follows the user and is not followed, those of the strongest signals first; the reason is
    the user."""
    shown = items.where("available").select("as_of", "surface", F.col("item_id").alias("user_key"))
    back = follow.select(
        *WORLD, F.col("user_key").alias("item_id"), F.col("item_id").alias("user_key")
    )
    one_way = joined(follow, shown, shown.columns).join(
        back.hint("merge"), [*USER, "item_id"], "left_anti"
    )
    strongest = firsts(
        one_way,
        (*WORLD, "item_id"),
        (F.col("signal").desc(), F.col("user_key")),
        MAX_FOLLOWERS,
    )
    suggested = lists(
        strongest, "follows_back", F.col("item_id"), F.col("user_key"), 1 + F.col("signal")
    )
    return Said(
        suggested.select(
            *WORLD,
            F.col("reason").alias("user_key"),
            "source",
            F.array("reason").alias("reasons"),
            F.array(F.lit(FIXED_POINT).cast("bigint")).alias("weights"),
        ),
        suggested,
    )
