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

from contracts.features import GRAPH
from contracts.measures import LAST_MOMENTS, LIFETIME, MEASURES, TEXT_BUCKETS, WINDOWS
from contracts.tables import USER_FEATURES
from jobs.asof import known_on
from jobs.facts import EVENT
from jobs.graph import graph_changes
from jobs.item_features import FROM_ITEM
from jobs.parquet import REPORT_SQL, DayFiles
from jobs.sweep import (
    EVENT_ROW,
    FIRST_MET,
    GRAPH_ROW,
    ITEM,
    POST,
    STATE,
    THING,
    TILE,
    USER,
    sweep,
)
from jobs.sweep_parts import NEVER
from jobs.user_state import thing_hash

USERS_PER_TASK, TILES_PER_TASK, THINGS_PER_TASK = 8_000, 400_000, 1_500_000
"""What a task holds in memory at once, some 300 MB."""

_SHAPE = (
    "what int, user_key string, known int, day int, micros bigint, id string, name string, "
    "thing string, amount bigint, numbers array<bigint>, texts array<string>"
)


def features_in_one_pass(
    user_state: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    users: DataFrame,
    item_features: DataFrame,
    follows: DataFrame,
    posts: DataFrame,
    events: DataFrame,
    as_ofs: Sequence[date],
    folder: str,
) -> DataFrame:
    """Reports of the files that hold `user_features` as of each of `as_ofs`.

    `user_state` is as of a day at or before the first of them, or empty; `events`, `user_days` and
    `user_item_days` hold all that became known since. The other tables are those of
    `user_features`.
    """
    since = user_state.agg(F.max("as_of")).collect()[0][0]
    first, last = min(as_ofs), max(as_ofs)
    n_tasks = max(
        math.ceil(user_state.count() / USERS_PER_TASK),
        math.ceil((n_tiles := user_days.count()) / TILES_PER_TASK),
        math.ceil(user_item_days.count() / THINGS_PER_TASK),
        2 if n_tiles > 10_000 else 1,
    )
    new = F.lit(True) if since is None else F.col("known") >= F.unix_date(F.lit(since))
    in_window = F.col("day") >= F.unix_date(F.date_sub(F.lit(first), max(WINDOWS)))
    seen = F.col("known") < F.unix_date(F.lit(last))
    of_users = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True),
        (
            _states(user_state),
            _carried(user_state, since),
            _tiles(user_days).where(seen & (new | in_window)),
            _events(events).where(seen & new),
            _things(user_item_days).where(seen & in_window),
            _first_met(user_item_days, user_state, since, last),
            _versions(users).where(seen),
            _posts(posts).where(seen & in_window),
            _changes(graph_changes(follows, user_days, user_item_days, first, last)),
        ),
    ).withColumn("part", F.pmod(F.xxhash64("user_key"), F.lit(n_tasks)).cast("int"))
    every = _items(item_features, as_ofs).withColumn(
        "part", F.explode(F.sequence(F.lit(0), F.lit(n_tasks - 1)))
    )
    days = [day.toordinal() - _EPOCH for day in sorted(as_ofs)]
    start = NEVER if since is None else since.toordinal() - _EPOCH

    def work(rows: pa.Table) -> pa.Table:
        # Several groups may be in one task, hence the group's number in the names.
        files = DayFiles(USER_FEATURES, folder, part=rows["part"][0].as_py())
        for day, made in sweep(rows, days, start):
            files.write(date.fromordinal(day + _EPOCH), made)
        return pa.Table.from_batches([files.report()])

    return (
        of_users.unionByName(every, allowMissingColumns=True)
        .repartition(n_tasks, "part")
        .groupBy("part")
        .applyInArrow(work, REPORT_SQL)
    )


_EPOCH = date(1970, 1, 1).toordinal()


def _row(rows: DataFrame, what: int, **columns: Column | str) -> DataFrame:
    """Rows in the one shape that tasks get; what is not given is null."""
    given = {name: F.col(c) if isinstance(c, str) else c for name, c in columns.items()}
    # Not null: for each null list, Spark's Arrow writer goes over all nulls before it again.
    given = {"numbers": F.array(), "texts": F.array()} | given
    shape = dict(part.split(" ") for part in _SHAPE.split(", "))
    return rows.select(
        F.lit(what).alias("what"),
        *(
            given.get(name, F.lit(None)).cast(type_).alias(name)
            for name, type_ in shape.items()
            if name != "what"
        ),
    )


def _known(day: Column) -> Column:
    return F.unix_date(known_on(day))


def _measures() -> Column:
    return F.array(*(F.col(m.name) for m in MEASURES))


def _states(state: DataFrame) -> DataFrame:
    moments = (
        F.coalesce(F.unix_date(F.to_date(moment)), F.lit(NEVER)).cast("bigint")
        for moment, _ in LAST_MOMENTS
    )
    lifetimes = F.array(*(F.size(d.hashes).cast("bigint") for d in LIFETIME))
    return _row(
        state,
        STATE,
        user_key="user_key",
        numbers=F.concat(F.array(*moments), _measures(), lifetimes),
    )


def _carried(state: DataFrame, since: date | None) -> DataFrame:
    """The events that the state has, as rows of their own."""
    events = state.select("user_key", F.explode(F.arrays_zip(*EVENT)).alias("e")).select(
        "user_key", "e.*"
    )
    before = F.lit(NEVER) if since is None else F.unix_date(F.lit(since)) - 1
    return _event_rows(events, before)


def _events(events: DataFrame) -> DataFrame:
    return _event_rows(events, _known(F.to_date("occurred_at")))


def _event_rows(events: DataFrame, known: Column) -> DataFrame:
    return _row(
        events,
        EVENT_ROW,
        user_key="user_key",
        known=known,
        micros="event_micros",
        id="event_id",
        name="event_verb",
        thing="event_item",
        amount="event_amount_minor",
    )


def _tiles(tiles: DataFrame) -> DataFrame:
    return _row(
        tiles,
        TILE,
        user_key="user_key",
        known=_known(F.col("day")),
        day=F.unix_date("day"),
        numbers=_measures(),
    )


def _things(met: DataFrame) -> DataFrame:
    return _row(
        met,
        THING,
        user_key="user_key",
        known=_known(F.col("day")),
        day=F.unix_date("day"),
        name="kind",
        thing="thing_id",
    )


def _first_met(met: DataFrame, state: DataFrame, since: date | None, last: date) -> DataFrame:
    """One row per user and thing that is counted over all time and the state has not: `known` is
    when it became so."""
    new = F.lit(True) if since is None else F.col("known") >= F.unix_date(F.lit(since))
    rows = (
        met.where(F.col("kind").isin(*(d.kind for d in LIFETIME)))
        .withColumn("known", _known(F.col("day")))
        .where(new & (F.col("known") < F.unix_date(F.lit(last))))
        .groupBy("user_key", "kind", "thing_id")
        .agg(F.min("known").alias("known"))
    )
    if since is not None:
        counted = reduce(
            DataFrame.unionByName,
            (
                state.select(
                    "user_key",
                    F.lit(d.kind).alias("kind"),
                    F.explode(d.hashes).alias("hash"),
                )
                for d in LIFETIME
            ),
        )
        rows = rows.withColumn("hash", thing_hash()).join(
            counted, ["user_key", "kind", "hash"], "left_anti"
        )
    return _row(rows, FIRST_MET, user_key="user_key", known="known", name="kind")


def _versions(users: DataFrame) -> DataFrame:
    """`micros` and `day` are when the version is of and when it landed, by which versions are
    ordered; `amount` is the day from which the user is known."""
    seen = F.least(F.coalesce("signed_up_at", "occurred_at"), F.col("occurred_at"))
    return _row(
        users,
        USER,
        user_key="user_key",
        known=_known(F.to_date("occurred_at")),
        day=F.unix_date("landed_on"),
        micros=F.unix_micros("occurred_at"),
        name="country",
        texts=F.coalesce("attributes", F.array().cast("array<string>")),
        amount=F.unix_date(F.to_date(seen)),
    )


def _posts(posts: DataFrame) -> DataFrame:
    words = F.transform(
        F.split("text", " "), lambda word: F.pmod(F.xxhash64(word), F.lit(TEXT_BUCKETS)) + 1
    )
    return _row(
        posts.where("text is not null"),
        POST,
        user_key="user_key",
        known=_known(F.to_date("occurred_at")),
        day=F.unix_date(F.to_date("occurred_at")),
        micros=F.unix_micros("occurred_at"),
        id="post_id",
        numbers=words,
    )


def _changes(changes: DataFrame) -> DataFrame:
    return _row(
        changes,
        GRAPH_ROW,
        user_key="user_key",
        day="day",
        numbers=F.array(*(F.col(name) for name, _, _ in GRAPH)),
    )


def _items(item_features: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per item: its statistics and category as of each day, day by day."""
    numbers = F.array(
        F.unix_date("as_of").cast("bigint"), *(F.col(of) for of in FROM_ITEM.values())
    )
    days = (
        item_features.where(F.col("as_of").isin(list(as_ofs)))
        .groupBy("item_id")
        .agg(F.collect_list(F.struct(numbers.alias("n"), "category_id")).alias("days"))
    )
    return _row(
        days,
        ITEM,
        thing="item_id",
        numbers=F.flatten(F.transform("days", lambda d: d["n"])),
        texts=F.transform("days", lambda d: d["category_id"]),
    )
