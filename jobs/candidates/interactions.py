"""Tiles of what users did with what can be recommended, or were shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES
from contracts.recommendation_tables import INTERACTIONS
from contracts.source_table import Interaction
from jobs.features.events import done

_SUMMED = ("n", "units", "amount_minor", "sum_stars", "sum_positions")


def interactions(facts: Mapping[str, DataFrame]) -> DataFrame:
    """One row per user, target, event, UTC day on which it happened, and day on which it landed.

    Nobody interacts with themselves. `facts` are rows of the clean tables that declare some.
    """
    rows = reduce(
        DataFrame.unionByName,
        (
            _rows_of(done(facts[table.name]), interaction)
            for table in CLEAN_TABLES
            for interaction in table.interactions
        ),
    )
    return (
        rows.groupBy(*INTERACTIONS.grain)
        .agg(*(F.sum(name).alias(name) for name in _SUMMED))
        .select(*INTERACTIONS.names)
    )


def _rows_of(rows: DataFrame, interaction: Interaction) -> DataFrame:
    """What each row adds to the tile of its user and target."""
    some = rows if interaction.where is None else rows.where(interaction.where)
    sums = (
        "1",
        interaction.units,
        interaction.amount_minor,
        interaction.stars,
        interaction.position,
    )
    target = interaction.target
    return some.where(f"{target} is not null and {target} <> user_key").select(
        "user_key",
        F.expr(interaction.kind).alias("target_kind"),
        F.col(target).alias("target_id"),
        F.expr(interaction.event).alias("event"),
        F.to_date("occurred_at").alias("day"),
        "landed_on",
        *(F.expr(sql).cast("bigint").alias(n) for n, sql in zip(_SUMMED, sums, strict=True)),
    )
