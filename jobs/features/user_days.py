"""Tiles: what each user did and got on each UTC day, by the day on which it landed."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.measures import ITEM_MEASURES, MEASURES
from contracts.tables import ITEM_DAYS, LATE_DATA, USER_DAYS, USER_ITEM_DAYS
from jobs.features.events import Facts

UNDOING = ("cancellation", "return")
AUTHOR_DAYS = 90
"""Days before an engagement in which the post it is with must have landed for its author to be
known: a bound on what a tile reads."""


def user_days(facts: Facts, posts: DataFrame) -> DataFrame:
    """One row per user, UTC day on which something happened, and day on which it landed.

    A row that lands late makes a tile of its own, so no earlier tile is ever rebuilt. `posts` also
    has those of the `AUTHOR_DAYS` before.
    """
    done = facts.done
    purchase, undo = F.col("kind") == "purchase", F.col("kind").isin(*UNDOING)
    verb, ad = F.col("verb"), F.coalesce(F.col("target_kind") == "ad", F.lit(False))
    kind, amount = F.col("kind"), F.coalesce("amount_minor", F.lit(0))
    every = F.count("*")

    def valued(kind_: str) -> Column:
        return F.when(kind == kind_, amount).otherwise(0)

    measured = (
        _tiles(
            done.orders,
            {
                "n_events": every,
                "n_order_lines": F.count_if(purchase),
                "n_units": F.sum(F.when(purchase, F.col("quantity")).otherwise(0)),
                "spend_minor": F.sum(F.when(purchase, F.col("amount_minor")).otherwise(0)),
                "n_undone_lines": F.count_if(undo),
                "undone_minor": F.sum(F.when(undo, F.col("amount_minor")).otherwise(0)),
            },
        ),
        _tiles(done.posts, {"n_events": every, "n_posts": every}),
        _tiles(
            done.engagements,
            {
                "n_events": every,
                "n_views": F.count_if((verb == "view") & ~ad),
                "n_likes": F.count_if(verb == "like"),
                "n_comments": F.count_if(verb == "comment"),
                "n_shares": F.count_if(verb == "share"),
                "n_searches": F.count_if(verb == "search"),
                "n_clicks": F.count_if((verb == "click") & ~ad),
                "n_ad_views": F.count_if((verb == "view") & ad),
                "n_ad_clicks": F.count_if((verb == "click") & ad),
            },
        ),
        _tiles(
            received(facts.engagements, posts),
            {
                "n_likes_received": F.count_if(verb == "like"),
                "n_replies_received": F.count_if(verb.isin("comment", "share")),
            },
        ),
        _tiles(
            done.follows,
            {
                "n_events": every,
                "n_follows": F.count_if(kind == "follow"),
                "n_unfollows": F.count_if(kind == "unfollow"),
            },
        ),
        _tiles(
            done.reviews,
            {
                "n_events": every,
                "n_reviews": every,
                "sum_stars": F.sum("stars"),
                "n_negative_reviews": F.count_if(F.col("sentiment") == "negative"),
                "n_positive_reviews": F.count_if(F.col("sentiment") == "positive"),
            },
        ),
        _tiles(
            done.account_events,
            {
                "n_events": every,
                "n_logins": F.count_if(kind == "login"),
                "n_failed_logins": F.count_if((kind == "login") & ~F.col("succeeded")),
                "n_payments": F.count_if(kind == "payment"),
                "paid_minor": F.sum(valued("payment")),
                "max_payment_minor": F.max(valued("payment")),
                "n_transfers": F.count_if(kind == "transfer"),
                "transferred_minor": F.sum(valued("transfer")),
                "max_transfer_minor": F.max(valued("transfer")),
            },
        ),
    )
    tiles = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), measured)
    return (
        tiles.groupBy("user_key", "day", "landed_on")
        .agg(
            *(
                F.coalesce((F.sum if m.combine == "sum" else F.max)(m.name), F.lit(0))
                .cast("bigint")
                .alias(m.name)
                for m in MEASURES
            )
        )
        .select(*USER_DAYS.names)
    )


def _tiles(facts: DataFrame, measures: dict[str, Column]) -> DataFrame:
    return facts.groupBy("user_key", F.to_date("occurred_at").alias("day"), "landed_on").agg(
        *(column.alias(name) for name, column in measures.items())
    )


def authored(engagements: DataFrame, posts: DataFrame) -> DataFrame:
    """One row per engagement with a post whose author is known: adds `author_key`.

    Only posts that had landed count, so a tile never changes. An id used again after months means
    the first post.
    """
    written = posts.select(
        F.col("post_id").alias("target_id"),
        F.col("user_key").alias("author_key"),
        F.col("landed_on").alias("_written"),
    )
    kept = ("engagement_id", "user_key", "verb", "occurred_at", "landed_on")
    return (
        engagements.where("target_kind = 'post'")
        .join(written, "target_id")
        .where(F.col("_written").between(F.date_sub("landed_on", AUTHOR_DAYS), F.col("landed_on")))
        .groupBy(*kept)
        .agg(F.min(F.struct("_written", "author_key")).alias("_first"))
        .select(*kept, F.col("_first.author_key"))
    )


def received(engagements: DataFrame, posts: DataFrame) -> DataFrame:
    """One row per engagement that somebody else had with a user or a user's post."""
    direct = engagements.where("target_kind = 'user'").withColumn("author_key", F.col("target_id"))
    columns = ("author_key", "user_key", "verb", "occurred_at", "landed_on")
    return (
        direct.select(*columns)
        .unionByName(authored(engagements, posts).select(*columns))
        .where("user_key is null or user_key <> author_key")
        .drop("user_key")
        .withColumnRenamed("author_key", "user_key")
    )


def user_item_days(facts: Facts, posts: DataFrame) -> DataFrame:
    """One row per user, thing, UTC day on which they met, and day on which it landed.

    A thing is an order placed, an item, another user (followed, paid, engaged with in person or
    through a post), or a device.
    """
    done = facts.done
    engaged = done.engagements
    met = (
        (done.orders.where("kind = 'purchase'"), "order", "order_id"),
        (done.orders.where("kind = 'purchase'"), "item", "item_id"),
        (engaged.where("target_kind = 'item'"), "item", "target_id"),
        (done.reviews, "item", "item_id"),
        (engaged.where("target_kind = 'user'"), "counterpart", "target_id"),
        (authored(engaged, posts), "counterpart", "author_key"),
        (done.follows.where("kind = 'follow'"), "counterpart", "followed_key"),
        (done.account_events, "counterpart", "counterpart_key"),
        (done.account_events, "device", "device_key"),
    )
    return (
        reduce(
            DataFrame.unionByName,
            (
                rows.where(f"{thing} is not null and {thing} <> user_key").select(
                    "user_key",
                    F.lit(kind).alias("kind"),
                    F.col(thing).alias("thing_id"),
                    F.to_date("occurred_at").alias("day"),
                    "landed_on",
                )
                for rows, kind, thing in met
            ),
        )
        .distinct()
        .select(*USER_ITEM_DAYS.names)
    )


def late_data(tiles: DataFrame) -> DataFrame:
    """One row per user, day and later day on which rows of it landed: what came late."""
    return (
        tiles.where("landed_on > day")
        .withColumn("days_late", F.datediff("landed_on", "day"))
        .select(*LATE_DATA.names)
    )


def item_days(facts: Facts) -> DataFrame:
    """One row per item, UTC day on which something happened to it, and day on which it landed."""
    done = facts.done
    one, zero = F.lit(1), F.lit(0)
    measured = (
        (done.engagements.where("target_kind = 'item'"), "target_id", {"n_engagements": one}),
        (done.orders.where("kind = 'purchase'"), "item_id", {"n_order_lines": one}),
        (done.reviews, "item_id", {"n_reviews": one, "sum_stars": F.col("stars")}),
    )
    rows = reduce(
        DataFrame.unionByName,
        (
            facts_.select(
                F.col(id_).alias("item_id"),
                F.to_date("occurred_at").alias("day"),
                "landed_on",
                *(values.get(m.name, zero).cast("bigint").alias(m.name) for m in ITEM_MEASURES),
            )
            for facts_, id_, values in measured
        ),
    )
    return (
        rows.groupBy("item_id", "day", "landed_on")
        .agg(*(F.sum(m.name).alias(m.name) for m in ITEM_MEASURES))
        .select(*ITEM_DAYS.names)
    )
