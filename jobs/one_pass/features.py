"""The features of many days in one pass: everything that a user's rows need, brought together.

A tile counts for every as-of day from the one after it is known to the last that its window
reaches. So the rows of some users are brought to one task, which goes through the days and adds
what comes and takes away what goes (`sweep.py`), instead of reading all again for each day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.measures import WINDOWS
from contracts.tables import USER_FEATURES
from jobs.features.follow_graph import graph_changes
from jobs.features.rated_words import word_stars
from jobs.one_pass.input_rows import (
    carried_event_rows,
    event_rows,
    first_met_rows,
    graph_rows,
    item_rows,
    post_rows,
    state_rows,
    thing_rows,
    tile_rows,
    version_rows,
    word_rows,
)
from jobs.one_pass.running_aggregates import NEVER
from jobs.one_pass.sweep import sweep
from jobs.spark.parquet_writer import REPORT_SQL, DayFiles

USERS_PER_TASK, TILES_PER_TASK, THINGS_PER_TASK = 8_000, 400_000, 1_500_000
EVENTS_PER_TASK, POSTS_PER_TASK, ITEM_DAYS_PER_TASK = 800_000, 100_000, 4_000_000
"""What a task holds in memory at once, some 300 MB of each at most."""


def features_in_one_pass(
    user_state: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    users: DataFrame,
    item_features: DataFrame,
    follows: DataFrame,
    posts: DataFrame,
    reviews: DataFrame,
    events: DataFrame,
    as_ofs: Sequence[date],
    folder: str,
) -> DataFrame:
    """Reports of the files that hold `user_features` as of each of `as_ofs`.

    `user_state` is as of a day at or before the first of them, or empty; `events`, `user_days` and
    `user_item_days` hold all that became known since. The other tables are those of
    `user_features`.
    """
    rows = task_rows(
        user_state, user_days, user_item_days, users, item_features, follows, posts, reviews,
        events, as_ofs,
    )  # fmt: skip
    days = [day.toordinal() - _EPOCH for day in sorted(as_ofs)]
    since = _as_of(user_state)
    start = NEVER if since is None else since.toordinal() - _EPOCH

    def work(rows: pa.Table) -> pa.Table:
        # Several groups may be in one task, hence the group's number in the names.
        files = DayFiles(USER_FEATURES, folder, part=rows["part"][0].as_py())
        for day, features in sweep(rows, days, start):
            files.write(date.fromordinal(day + _EPOCH), features)
        return pa.Table.from_batches([files.report()])

    return rows.groupBy("part").applyInArrow(work, REPORT_SQL)


def task_rows(
    user_state: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    users: DataFrame,
    item_features: DataFrame,
    follows: DataFrame,
    posts: DataFrame,
    reviews: DataFrame,
    events: DataFrame,
    as_ofs: Sequence[date],
) -> DataFrame:
    """What every task is given, in one shape, by its number in `part`.

    The rows of its users, of items and categories only those that they met, and of the words all,
    of which there are so many and no more: a task's memory does not grow with the catalogue, nor
    with the users.
    """
    since, first, last = _as_of(user_state), min(as_ofs), max(as_ofs)
    n_tasks = _n_tasks(user_state, user_days, user_item_days, item_features, posts, events, as_ofs)
    new = F.lit(True) if since is None else F.col("known") >= F.unix_date(F.lit(since))
    in_window = F.col("day") >= F.unix_date(F.date_sub(F.lit(first), max(WINDOWS)))
    seen = F.col("known") < F.unix_date(F.lit(last))
    carried = carried_event_rows(user_state, since)
    done = event_rows(events).where(seen & new)
    met = thing_rows(user_item_days).where(seen & in_window)
    of_users = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True),
        (
            state_rows(user_state),
            carried,
            tile_rows(user_days).where(seen & (new | in_window)),
            done,
            met,
            first_met_rows(user_item_days, user_state, since, last),
            version_rows(users).where(seen),
            post_rows(posts).where(seen & in_window),
            graph_rows(graph_changes(follows, user_days, user_item_days, first, last)),
        ),
    )
    part = F.pmod(F.xxhash64("user_key"), F.lit(n_tasks)).cast("int")
    with_items = [*(e.where("thing <> ''") for e in (carried, done)), met.where("name = 'item'")]
    items = reduce(DataFrame.unionByName, with_items).select(
        part.alias("part"), F.col("thing").alias("item_id")
    )
    return (
        of_users.withColumn("part", part)
        .unionByName(item_rows(items.distinct(), item_features.where(_one_of(as_ofs)), as_ofs))
        .unionByName(word_rows(word_stars(reviews, as_ofs), n_tasks, as_ofs))
        .repartition(n_tasks, "part")
    )


def _n_tasks(
    user_state: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    item_features: DataFrame,
    posts: DataFrame,
    events: DataFrame,
    as_ofs: Sequence[date],
) -> int:
    """As many as keep what each task holds within its bounds."""
    n_tiles, n_things = user_days.count(), user_item_days.count()
    n_item_days = item_features.where(_one_of(as_ofs)).count()
    return max(
        math.ceil(user_state.count() / USERS_PER_TASK),
        math.ceil(n_tiles / TILES_PER_TASK),
        math.ceil(n_things / THINGS_PER_TASK),
        math.ceil(events.count() / EVENTS_PER_TASK),
        math.ceil(posts.count() / POSTS_PER_TASK),
        # A task has the days of no more items than its users met, nor than there are.
        math.ceil(n_things * len(as_ofs) / ITEM_DAYS_PER_TASK)
        if n_item_days > ITEM_DAYS_PER_TASK
        else 1,
        2 if n_tiles > 10_000 else 1,
    )


def _as_of(user_state: DataFrame) -> date | None:
    newest: date | None = user_state.agg(F.max("as_of")).collect()[0][0]
    return newest


def _one_of(as_ofs: Sequence[date]) -> Column:
    return F.col("as_of").isin(list(as_ofs))


_EPOCH = date(1970, 1, 1).toordinal()
