"""What users did, table by table, and the same as one stream of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.measures import EVENTS
from contracts.source_table import Event

Facts = Mapping[str, DataFrame]
"""Rows of the clean tables of what users did, by name: those of `EVENTS`."""

EVENT = ("event_micros", "event_id", "event_verb", "event_item", "event_amount_minor")


def narrowed(facts: Facts, where: Callable[[DataFrame], DataFrame]) -> Facts:
    """The facts alone, with every table narrowed."""
    return {name: where(facts[name]) for name in EVENTS}


def done(rows: DataFrame) -> DataFrame:
    """Rows of which it is known who did them, and when."""
    return rows.where("user_key is not null and occurred_at is not null")


def events(facts: Facts) -> DataFrame:
    """One row per thing that a user did: user, time, landing day, and the columns of `EVENT`."""
    return reduce(
        DataFrame.unionByName,
        (_events(done(facts[name]), event) for name, event in EVENTS.items()),
    )


def _events(rows: DataFrame, event: Event) -> DataFrame:
    return rows.select(
        "user_key",
        "occurred_at",
        "landed_on",
        F.unix_micros("occurred_at").alias("event_micros"),
        F.col(event.id).alias("event_id"),
        F.expr(event.verb).alias("event_verb"),
        F.expr(event.item).alias("event_item"),
        F.expr(event.amount_minor).cast("bigint").alias("event_amount_minor"),
    )
