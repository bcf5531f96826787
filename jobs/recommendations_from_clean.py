"""Candidates straight from clean rows, by the stages of a night, for questions that the lake's
tables do not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.days import ONE_DAY
from contracts.recommendation_tables import INTERACTIONS
from contracts.table import Table
from contracts.tables import USER_FEATURES
from jobs.candidates.interactions import interactions
from jobs.features.without_tiles import features_from_clean
from jobs.recommendation_stages import RECOMMENDATION_JOBS
from jobs.spark.files import WrittenDay, read_table, write_days
from jobs.stage import Settings

Written = dict[str, dict[date, WrittenDay]]
"""Table to what was written of each day."""


def recommendations_from_clean(
    clean: Mapping[str, DataFrame], as_ofs: Sequence[date], settings: Settings, folder: str
) -> Written:
    """Write what Spark computes of recommendations, and the features that it asks for.

    Every stage sees all rows, later ones too: nothing but its own rule of time keeps it from them.

    Args:
        clean: every clean table, all rows.
        as_ofs: midnights.
        settings: surfaces, and how many candidates a source gives.
        folder: for the files.
    """
    (session,) = {rows.sparkSession for rows in clean.values()}
    written: Written = {}
    frames = dict(clean)

    def write(table: Table, rows: DataFrame, days: Sequence[date], name: str) -> None:
        done = write_days(session, rows, table, days, f"{folder}/{name}")
        written.setdefault(table.name, {}).update(done)
        paths = {path for day in written[table.name].values() for path in day.files}
        frames[table.name] = read_table(session, table, sorted(paths))

    # No file holds tiles from before the last midnight and from after it.
    tiles = interactions(clean).persist()
    is_before = F.col("landed_on") < F.lit(max(as_ofs))
    for name, some in (("before", tiles.where(is_before)), ("later", tiles.where(~is_before))):
        write(INTERACTIONS, some, _days_of(some), f"{INTERACTIONS.name}_{name}")
    tiles.unpersist()
    write(USER_FEATURES, features_from_clean(clean, as_ofs), as_ofs, USER_FEATURES.name)
    for job in RECOMMENDATION_JOBS[1:]:
        (table,) = job.writes
        rows = job.compute(frames, as_ofs, settings).tables[table.name]
        write(table, rows, as_ofs, table.name)
    return written


def _days_of(tiles: DataFrame) -> list[date]:
    """Every day from the first on which something landed to the last."""
    first, last = tiles.agg(F.min("landed_on"), F.max("landed_on")).collect()[0]
    if first is None:
        return []
    return [first + timedelta(days=n) for n in range((last - first) // ONE_DAY + 1)]
