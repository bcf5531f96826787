"""What each surface can recommend as of a midnight, and how it fares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT, NO_SUCH_DAY, REC_ITEMS
from contracts.surfaces import HALF_LIVES, Surface
from jobs.candidates.decay import decayed
from jobs.candidates.surface_rows import (
    EDGE,
    IMPRESSION,
    USER,
    VERSION,
    follow_facts,
    of_surfaces,
    united,
)

_POPULARITY = tuple(f"popularity_{days}d" for days in HALF_LIVES)
_NEEDS_VERSION = ("post", "user")
"""Kinds of which nothing is shown that is only known from what users did with it."""


@dataclass(frozen=True)
class Known:
    """What is known of targets, all time; None where nothing can be, or no surface asks for it."""

    interactions: DataFrame
    items: DataFrame | None = None
    posts: DataFrame | None = None
    follows: DataFrame | None = None
    users: DataFrame | None = None
    """`user_features` of the as-of days."""


def rec_items(known: Known, surfaces: Sequence[Surface], as_ofs: Sequence[date]) -> DataFrame:
    """One row per surface, item and `as_of`."""
    edges = [] if known.follows is None else [follow_facts(known.follows)]
    said = united([_done(known.interactions), *_versions(known), *edges], _SAID)
    rows = of_surfaces(said.repartition("target_id"), surfaces, as_ofs)
    pairs = rows.groupBy("as_of", "surface", "target_id", "user_key").agg(*_of_pairs(rows))
    items = pairs.groupBy("as_of", "surface", "target_id").agg(*_of_items())
    made = _made()
    return items.where(_is_candidate(surfaces)).select(
        *(made.get(name, F.col(name)).alias(name) for name in REC_ITEMS.names)
    )


def _done(interactions: DataFrame) -> DataFrame:
    return interactions.select(
        "user_key", "target_kind", "target_id", "event", "day", "landed_on", "n", "units",
        "amount_minor", "sum_stars",
    )  # fmt: skip


def _versions(known: Known) -> list[DataFrame]:
    """What says what a target is: `version`, of which the greatest holds."""
    parts = []
    if known.items is not None:
        items = known.items.withColumns(
            {"order": F.unix_micros("occurred_at"), "day": F.to_date("occurred_at")}
        )
        parts.append(_version(items, "item", "item_id"))
    if known.posts is not None:  # an id used again means the first post
        posts = known.posts.withColumns(
            {
                "author_key": F.col("user_key"),
                "order": -F.unix_date("landed_on").cast("bigint"),
                "day": F.to_date("occurred_at"),
            }
        )
        parts.append(_version(posts, "post", "post_id"))
    if known.users is not None:
        first_seen = F.date_sub("as_of", F.col("days_since_first_seen"))
        users = known.users.select(
            "user_key",
            F.col("as_of").alias("only"),
            first_seen.alias("day"),
            first_seen.alias("landed_on"),
            F.lit(0).cast("bigint").alias("order"),
        )
        parts.append(_version(users, USER, "user_key"))
    return parts


_VERSION = {
    "category_id": "string",
    "author_key": "string",
    "title": "string",
    "price_minor": "bigint",
    "available": "boolean",
    "min_age": "bigint",
}

_SAID = {
    "only": "date",
    "fact": EDGE,
    "version": "struct<order: bigint, landed: date, "
    + ", ".join(f"{name}: {type_}" for name, type_ in _VERSION.items())
    + ">",
}


def _version(rows: DataFrame, kind: str, id_: str) -> DataFrame:
    """Rows that say what a target is. They hold from their `day`, the greatest `order` first."""

    def said(name: str, type_: str) -> Column:
        return (F.col(name) if name in rows.columns else F.lit(None)).cast(type_).alias(name)

    return rows.select(
        F.lit(kind).alias("target_kind"),
        F.col(id_).alias("target_id"),
        F.lit(VERSION).alias("event"),
        "day",
        "landed_on",
        F.lit(0).cast("bigint").alias("n"),
        said("only", "date"),
        F.struct(
            "order",
            F.col("landed_on").alias("landed"),
            *(said(name, type_) for name, type_ in _VERSION.items()),
        ).alias("version"),
    )


def _of_pairs(rows: DataFrame) -> list[Column]:
    """What a user, or none of them, says of an item of a surface."""
    age, n, day = F.col("age"), F.col("n"), F.unix_date("day").cast("bigint")
    event = F.col("event")
    liked = (F.col("strength") > 0) & (n > 0)
    goals = F.when(F.col("is_goal"), n).otherwise(0)

    def within(days: int, what: str, value: str = "n") -> Column:
        return F.sum(F.when((event == what) & (age <= days), F.col(value)).otherwise(0))

    aggregates = {
        "liked": F.max(liked),
        "liked_30d": F.max(liked & (age <= 30)),
        "was_met": F.max((n > 0) & (event != IMPRESSION)),
        # what holds since 1970 has no day on which it began, nor has an edge without a time
        "first_day": F.min(F.when((day > 0) & F.col("fact").isNull(), day)),
        "last_day": F.max(F.when(liked, day)),
        "n_impressions_30d": within(30, IMPRESSION),
        "n_goals_30d": F.sum(F.when(age <= 30, goals).otherwise(0)),
        "sum_stars_90d": within(90, "review", "sum_stars"),
        "n_reviews_90d": within(90, "review"),
        "units_90d": within(90, "order", "units"),
        "amount_90d": within(90, "order", "amount_minor"),
        "version": F.max("version"),
        **{
            name: F.sum(F.when(goals > 0, goals * decayed(age, days)).otherwise(0))
            for name, days in zip(_POPULARITY, HALF_LIVES, strict=True)
        },
        **_edge(),
    }
    return [aggregate.alias(name) for name, aggregate in aggregates.items()]


def _edge() -> dict[str, Column]:
    """Whether the user follows since nobody knows when: as a goal, and as a signal."""
    newest = F.max("fact")
    stands = F.coalesce(newest["stands"] & ~newest["has_time"], F.lit(False))
    is_fact = F.col("fact").isNotNull()
    return {
        "edge_is_goal": stands & F.max(F.col("is_goal") & is_fact),
        "edge_is_signal": stands & F.max((F.col("strength") > 0) & is_fact),
    }


_SUMMED = (
    "n_impressions_30d", "n_goals_30d", "sum_stars_90d", "n_reviews_90d", "units_90d", "amount_90d",
    *_POPULARITY,
)  # fmt: skip


def _of_items() -> list[Column]:
    """What all users say of an item of a surface."""
    aggregates = {
        "n_users": F.count_if(F.col("liked") | F.col("edge_is_signal")),
        "n_users_30d": F.count_if("liked_30d"),
        "n_edges": F.count_if("edge_is_goal"),
        "was_met": F.max("was_met"),
        "first_day": F.coalesce(F.min("first_day"), F.lit(0)),
        "last_day": F.coalesce(F.max("last_day"), F.lit(NO_SUCH_DAY)),
        "version": F.max("version"),
        **{name: F.sum(name) for name in _SUMMED},
    }
    return [aggregate.alias(name) for name, aggregate in aggregates.items()]


def _is_candidate(surfaces: Sequence[Surface]) -> Column:
    """Whether a surface may show an item at all."""
    shown = F.lit(True)
    for surface in surfaces:
        may = F.lit(True)
        if surface.target in _NEEDS_VERSION:
            may = F.col("version").isNotNull()
        if surface.max_age_days is not None:
            oldest = F.unix_date("as_of") - surface.max_age_days
            may = may & (F.col("was_met") | (F.col("first_day") >= oldest))
        shown = F.when(F.col("surface") == surface.name, may).otherwise(shown)
    return shown


def _price() -> Column:
    """The listed price, else the mean price of a unit, rounded half up."""
    mean = F.expr("(2 * amount_90d + units_90d) div nullif(2 * units_90d, 0)")
    return F.coalesce(F.col("version.price_minor"), mean)


def _made() -> dict[str, Column]:
    """Columns of `rec_items` that are made of others. An edge without a time counts as of today."""
    return {
        "item_id": F.col("target_id"),
        **{name: F.col(f"version.{name}") for name in ("category_id", "author_key", "title")},
        "price_minor": _price(),
        "available": F.coalesce(F.col("version.available"), F.lit(True)),
        "min_age": F.col("version.min_age").cast("int"),
        **{name: F.col(name) + F.col("n_edges") * FIXED_POINT for name in _POPULARITY},
    }
