"""What users did, table by table, and the same as one stream of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.clean_tables import ACCOUNT_EVENTS, ENGAGEMENTS, FOLLOWS, ORDERS, POSTS, REVIEWS
from contracts.table import Table

FACTS: tuple[Table, ...] = (ORDERS, POSTS, ENGAGEMENTS, FOLLOWS, REVIEWS, ACCOUNT_EVENTS)
"""Clean tables of what users did. A mark of fraud is done by nobody."""

AD_VIEW = "ad_view"
"""Verb of an event that shows a user was there, but is none of the sequence."""
EVENT = ("event_micros", "event_id", "event_verb", "event_item", "event_amount_minor")


@dataclass(frozen=True)
class Facts:
    """Rows of the clean tables named in `FACTS`."""

    orders: DataFrame
    posts: DataFrame
    engagements: DataFrame
    follows: DataFrame
    reviews: DataFrame
    account_events: DataFrame

    @staticmethod
    def of(frames: Mapping[str, DataFrame]) -> Facts:
        return Facts(**{table.name: frames[table.name] for table in FACTS})

    def only(self, where: Callable[[DataFrame], DataFrame]) -> Facts:
        """The same with every table narrowed."""
        return Facts(**{table.name: where(getattr(self, table.name)) for table in FACTS})

    @property
    def done(self) -> Facts:
        """Rows of which it is known who did them, and when."""
        return self.only(
            lambda rows: rows.where("user_key is not null and occurred_at is not null")
        )


def events(facts: Facts) -> DataFrame:
    """One row per thing that a user did: user, time, landing day, and the columns of `EVENT`."""
    done = facts.done
    none, free = F.lit(""), F.lit(0).cast("bigint")
    ad = F.col("target_kind") == "ad"
    engaged = (
        F.when(ad & (F.col("verb") == "view"), AD_VIEW)
        .when(ad & (F.col("verb") == "click"), "ad_click")
        .otherwise(F.col("verb"))
    )
    of_item = F.when(F.col("target_kind") == "item", F.col("target_id")).otherwise("")
    account = F.when((F.col("kind") == "login") & ~F.col("succeeded"), "failed_login").otherwise(
        F.col("kind")
    )

    def shaped(rows: DataFrame, id_: str, verb: Column, item: Column, amount: Column) -> DataFrame:
        return rows.select(
            "user_key",
            "occurred_at",
            "landed_on",
            F.unix_micros("occurred_at").alias("event_micros"),
            F.col(id_).alias("event_id"),
            verb.alias("event_verb"),
            item.alias("event_item"),
            amount.alias("event_amount_minor"),
        )

    return reduce(
        DataFrame.unionByName,
        (
            shaped(
                done.orders,
                "line_id",
                F.when(F.col("kind") == "purchase", "order").otherwise("undo"),
                F.col("item_id"),
                F.col("amount_minor"),
            ),
            shaped(done.posts, "post_id", F.lit("post"), none, free),
            shaped(done.engagements, "engagement_id", engaged, of_item, free),
            shaped(done.follows, "follow_id", F.col("kind"), none, free),
            shaped(done.reviews, "review_id", F.lit("review"), F.col("item_id"), free),
            shaped(
                done.account_events,
                "event_id",
                account,
                none,
                F.coalesce("amount_minor", free),
            ),
        ),
    )
