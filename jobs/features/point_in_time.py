"""Spread rows over the as-of days that may see them: the one rule of point in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def known_on(day: Column) -> Column:
    """The day by whose end a row has both happened and landed; later midnights may see it."""
    return F.greatest(F.col("landed_on"), day)


def seen_by(
    rows: DataFrame, day: Column, as_ofs: Sequence[date], within: int | None = None
) -> DataFrame:
    """Each row once per `as_of` that may see it: known before it, and not older than `within` days.

    `day` is when it happened.
    """
    sees = lambda a: a > known_on(day)  # noqa: E731
    if within is None:
        days = F.filter(_days(as_ofs), sees)
    else:
        days = F.filter(_days(as_ofs), lambda a: sees(a) & (a <= F.date_add(day, within)))
    return rows.withColumn("as_of", F.explode(days))


def newest_version(dimension: DataFrame, id_: str, as_ofs: Sequence[date]) -> DataFrame:
    """One row per id and `as_of`: the newest of the versions that are known before it.

    The newest is the one of the latest `occurred_at`, in whatever order they land; of several of
    one time, the one that landed last. An id has one version per landing day.
    """
    seen = seen_by(dimension, F.to_date("occurred_at"), as_ofs)
    rest = [c for c in dimension.columns if c not in (id_, "landed_on", "occurred_at")]
    return (
        seen.groupBy(id_, "as_of")
        .agg(
            F.max_by(F.struct(*rest), F.struct("occurred_at", "landed_on")).alias("_newest"),
        )
        .select(id_, "as_of", "_newest.*")
    )


def _days(as_ofs: Sequence[date]) -> Column:
    return F.array(*(F.lit(day) for day in sorted(as_ofs)))
