"""What is popular as of a midnight: over all users, by country and by category; and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT, REC_POPULAR
from contracts.surfaces import HALF_LIVES, POPULARITY, Surface
from jobs.candidates.decay import decayed, last_age
from jobs.candidates.surface_rows import of_surfaces
from jobs.features.point_in_time import newest_version

POPULAR_DAYS = last_age(max(HALF_LIVES))
"""Days before a midnight from which something counts in what is popular."""
NEW_DAYS, NEW_USERS = 30, 9
"""New is what is known for at most so many days, and has a signal of at most so many users."""
LISTED_PER_CANDIDATE = 3
"""Items of a list for each that a user may get of it: the user may have some of them already."""

ALL, NEW, IN_SEGMENT = "all", "new", "_in_segment"
_COLUMNS = tuple(f"popularity_{days}d" for days in HALF_LIVES)
_LIST = ("as_of", "surface", "segment", "source")


def rec_popular(
    items: DataFrame,
    interactions: DataFrame,
    users: DataFrame | None,
    surfaces: Sequence[Surface],
    as_ofs: Sequence[date],
    n_candidates: int,
) -> DataFrame:
    """One row per surface, segment, source and `as_of`: those that have an item.

    Args:
        items: `rec_items` of the as-of days.
        interactions: of the `POPULAR_DAYS` before them.
        users: the clean table; None where countries are not known.
        surfaces: the surfaces that are on.
        as_ofs: midnights.
        n_candidates: items that a source may give a user.
    """
    shown = items.where("available").select(
        "as_of", "surface", "item_id", "category_id", "first_day", "n_users", *_COLUMNS
    )
    popular = _in_all_and_category(shown)
    if users is not None:
        popular = popular.unionByName(_in_country(shown, interactions, users, surfaces, as_ofs))
    scored = popular.select(
        "as_of", "surface", "segment", "item_id", F.explode(_sources()).alias("_of")
    ).select("as_of", "surface", "segment", "item_id", "_of.*")
    scored = scored.unionByName(_new(shown)).where("score > 0").where(_is_source(surfaces))
    best = Window.partitionBy(*_LIST).orderBy(F.desc("score"), "item_id")
    place = F.row_number().over(best)
    listed = scored.withColumn("place", place).where(
        F.col("place") <= n_candidates * LISTED_PER_CANDIDATE
    )
    entry = F.struct("place", "item_id", (F.col("score") / FIXED_POINT).cast("float").alias("s"))
    return (
        listed.groupBy(*_LIST)
        .agg(F.array_sort(F.collect_list(entry)).alias("entries"))
        .select(*_LIST, F.col("entries.item_id").alias("item_ids"),
                F.col("entries.s").alias("scores"))
        .select(*REC_POPULAR.names)
    )  # fmt: skip


def _in_all_and_category(shown: DataFrame) -> DataFrame:
    category = F.when(F.col("category_id").isNotNull(), F.concat(F.lit("category="), "category_id"))
    segments = F.array_compact(F.array(F.lit(ALL), category))
    return shown.select(
        "as_of", "surface", F.explode(segments).alias("segment"), "item_id", *_COLUMNS
    )


def _in_country(
    shown: DataFrame,
    interactions: DataFrame,
    users: DataFrame,
    surfaces: Sequence[Surface],
    as_ofs: Sequence[date],
) -> DataFrame:
    """How popular items are with the users of each country."""
    done = interactions.select(
        "user_key", "target_kind", F.col("target_id").alias("item_id"), "event", "day", "landed_on",
        "n", F.lit(None).cast("date").alias("only"),
    )  # fmt: skip
    goals = of_surfaces(done, surfaces, as_ofs).where("is_goal")
    sums = {
        name: F.sum(F.col("n") * decayed(F.col("age"), days))
        for name, days in zip(_COLUMNS, HALF_LIVES, strict=True)
    }
    by_user = goals.groupBy("as_of", "surface", "item_id", "user_key").agg(
        *(total.alias(name) for name, total in sums.items())
    )
    country = newest_version(
        users.select("user_key", "country", "landed_on", "occurred_at"), "user_key", as_ofs
    ).where("country is not null")
    return (
        by_user.join(country, ["user_key", "as_of"])
        .groupBy("as_of", "surface", F.concat(F.lit("country="), "country").alias("segment"),
                 "item_id")
        .agg(*(F.sum(name).alias(name) for name in _COLUMNS))
        .join(shown.select("as_of", "surface", "item_id"), ["as_of", "surface", "item_id"])
    )  # fmt: skip


def _sources() -> Column:
    """The measures of popularity of a row, as sources with a score."""
    end = F.when(F.col("segment") == ALL, "").otherwise(IN_SEGMENT)
    return F.array(
        *(
            F.struct(F.concat(F.lit(source), end).alias("source"), F.col(name).alias("score"))
            for source, name in zip(POPULARITY, _COLUMNS, strict=True)
        )
    )


def _new(shown: DataFrame) -> DataFrame:
    """Items that few have met so far, the newest first: they score by age like what is popular."""
    age = F.unix_date("as_of") - F.col("first_day")
    return shown.where((age <= NEW_DAYS) & (F.col("n_users") <= NEW_USERS)).select(
        "as_of",
        "surface",
        F.lit(ALL).alias("segment"),
        "item_id",
        F.lit(NEW).alias("source"),
        decayed(age, NEW_DAYS).alias("score"),
    )


def _is_source(surfaces: Sequence[Surface]) -> Column:
    """Whether a row's surface asks for its source."""
    asked = F.lit(False)
    for surface in surfaces:
        asked = F.when(
            F.col("surface") == surface.name, F.col("source").isin(*surface.sources)
        ).otherwise(asked)
    return asked
