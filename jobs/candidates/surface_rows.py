"""Rows about targets, once per surface that recommends such, and per as-of day that sees them.

What is said of a target or of a user comes from several tables. They are put below one another
first, so that they are shuffled by target or user once, however many surfaces and days there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import INTERACTION_EVENTS
from contracts.surfaces import Surface
from jobs.features.point_in_time import seen_by

FOLLOW, IMPRESSION, VERSION, BLOCK = "follow", "impression", "version", "block"
"""Events: the first two of `INTERACTION_EVENTS`; the others say what a target is, or is to a
user."""
USER = "user"
ANY = "any"
"""For `target_kind`: said of the user, whatever the surface."""


EDGE = "struct<valid_from: timestamp, follow_id: string, stands: boolean, has_time: boolean>"
"""A fact about an edge, of which the greatest holds."""


def united(parts: Sequence[DataFrame], columns: Mapping[str, str]) -> DataFrame:
    """Rows of several tables; what one does not say is null. `columns`: what some of them may say,
    with its type."""
    rows = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)
    absent = {name: type_ for name, type_ in columns.items() if name not in rows.columns}
    return rows.withColumns({name: F.lit(None).cast(type_) for name, type_ in absent.items()})


def follow_facts(follows: DataFrame) -> DataFrame:
    """One row per fact about an edge that features may see: `fact` decides whether it is there.

    `n` is 0, since events are counted elsewhere. Of an edge without a time `valid_from` is no day
    on which something happened.
    """
    return follows.where("valid_from is not null and user_key <> followed_key").select(
        "user_key",
        F.lit(USER).alias("target_kind"),
        F.col("followed_key").alias("target_id"),
        F.lit(FOLLOW).alias("event"),
        F.to_date("valid_from").alias("day"),
        "landed_on",
        F.lit(0).cast("bigint").alias("n"),
        F.struct(
            "valid_from",
            "follow_id",
            (F.col("kind") == FOLLOW).alias("stands"),
            F.col("occurred_at").isNotNull().alias("has_time"),
        ).alias("fact"),
    )


def of_surfaces(rows: DataFrame, surfaces: Sequence[Surface], as_ofs: Sequence[date]) -> DataFrame:
    """Each row once per surface and `as_of` that may see it: adds `surface`, `strength` of the
    event as a signal, `is_goal`, `owns` and `age`, in days.

    A row with `only` is seen as of that day alone. Events that a surface knows nothing of count for
    nothing there.
    """
    on = F.explode(F.try_element_at(_rules(surfaces), F.concat_ws(" ", "target_kind", "event")))
    shown = seen_by(rows.withColumn("_on", on), F.col("day"), as_ofs)
    age = F.datediff("as_of", "day").alias("age")
    return shown.where("only is null or only = as_of").select("*", "_on.*", age).drop("_on")


def _rules(surfaces: Sequence[Surface]) -> Column:
    """A map from kind of target and event to what the event is to each surface of that kind."""
    entries: dict[str, list[Column]] = {}
    for surface in surfaces:
        for event in (*INTERACTION_EVENTS, VERSION, BLOCK):
            rule = F.struct(
                F.lit(surface.name).alias("surface"),
                F.lit(surface.signals.get(event, 0)).cast("bigint").alias("strength"),
                F.lit(event in surface.goals).alias("is_goal"),
                F.lit(event in surface.owned_by).alias("owns"),
            )
            entries.setdefault(f"{surface.target} {event}", []).append(rule)
            if event == VERSION:
                entries.setdefault(f"{ANY} {event}", []).append(rule)
    pairs = ((F.lit(key), F.array(*rules)) for key, rules in entries.items())
    return F.create_map(*(part for pair in pairs for part in pair))
