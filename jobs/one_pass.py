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
from pyspark.sql import Column, DataFrame, Window
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
    CATEGORY,
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
EVENTS_PER_TASK, POSTS_PER_TASK, ITEM_DAYS_PER_TASK = 800_000, 100_000, 4_000_000
"""What a task holds in memory at once, some 300 MB of each at most."""

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
    rows = task_rows(
        user_state, user_days, user_item_days, users, item_features, follows, posts, events, as_ofs
    )
    days = [day.toordinal() - _EPOCH for day in sorted(as_ofs)]
    since = _as_of(user_state)
    start = NEVER if since is None else since.toordinal() - _EPOCH

    def work(rows: pa.Table) -> pa.Table:
        # Several groups may be in one task, hence the group's number in the names.
        files = DayFiles(USER_FEATURES, folder, part=rows["part"][0].as_py())
        for day, made in sweep(rows, days, start):
            files.write(date.fromordinal(day + _EPOCH), made)
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
    events: DataFrame,
    as_ofs: Sequence[date],
) -> DataFrame:
    """What every task is given, in one shape, by its number in `part`.

    The rows of its users, and of items and categories only those that they met: a task's memory
    does not grow with the catalogue, nor with the users.
    """
    since, first, last = _as_of(user_state), min(as_ofs), max(as_ofs)
    n_tiles, n_things = user_days.count(), user_item_days.count()
    item_days = item_features.where(F.col("as_of").isin(list(as_ofs))).count()
    n_tasks = max(
        math.ceil(user_state.count() / USERS_PER_TASK),
        math.ceil(n_tiles / TILES_PER_TASK),
        math.ceil(n_things / THINGS_PER_TASK),
        math.ceil(events.count() / EVENTS_PER_TASK),
        math.ceil(posts.count() / POSTS_PER_TASK),
        # A task has the days of no more items than its users met, nor than there are.
        math.ceil(n_things * len(as_ofs) / ITEM_DAYS_PER_TASK)
        if item_days > ITEM_DAYS_PER_TASK
        else 1,
        2 if n_tiles > 10_000 else 1,
    )
    new = F.lit(True) if since is None else F.col("known") >= F.unix_date(F.lit(since))
    in_window = F.col("day") >= F.unix_date(F.date_sub(F.lit(first), max(WINDOWS)))
    seen = F.col("known") < F.unix_date(F.lit(last))
    carried = _carried(user_state, since)
    done = _events(events).where(seen & new)
    met = _things(user_item_days).where(seen & in_window)
    of_users = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True),
        (
            _states(user_state),
            carried,
            _tiles(user_days).where(seen & (new | in_window)),
            done,
            met,
            _first_met(user_item_days, user_state, since, last),
            _versions(users).where(seen),
            _posts(posts).where(seen & in_window),
            _changes(graph_changes(follows, user_days, user_item_days, first, last)),
        ),
    )
    part = F.pmod(F.xxhash64("user_key"), F.lit(n_tasks)).cast("int")
    items = (
        carried.where("thing <> ''")
        .unionByName(done.where("thing <> ''"))
        .unionByName(met.where("name = 'item'"))
        .select(part.alias("part"), F.col("thing").alias("item_id"))
        .distinct()
    )
    return (
        of_users.withColumn("part", part)
        .unionByName(_items_of(items, item_features.where(_one_of(as_ofs)), as_ofs))
        .repartition(n_tasks, "part")
    )


def _as_of(user_state: DataFrame) -> date | None:
    found: date | None = user_state.agg(F.max("as_of")).collect()[0][0]
    return found


def _one_of(as_ofs: Sequence[date]) -> Column:
    return F.col("as_of").isin(list(as_ofs))


_EPOCH = date(1970, 1, 1).toordinal()


def _row(
    rows: DataFrame, what: int, keep: tuple[str, ...] = (), **columns: Column | str
) -> DataFrame:
    """Rows in the one shape that tasks get, and `keep`; what is not given is null."""
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
        *keep,
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


def _items_of(items: DataFrame, item_features: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per task and item that its users met, and one per task and category of those.

    `items` has a row per `part` and `item_id`.
    """
    columns = tuple(FROM_ITEM.values())
    of_items = changes(item_features.select("item_id", "as_of", "category_id", *columns), as_ofs)
    of_categories = changes(
        item_features.where("category_id is not null")
        .groupBy("category_id", "as_of")
        .agg(*(F.sum(name).alias(name) for name in columns)),
        as_ofs,
    )
    theirs = items.join(of_items, "item_id")
    named = theirs.select("part", F.explode("changes.category_id").alias("category_id")).distinct()
    numbers = F.flatten(
        F.transform(
            "changes",
            lambda c: F.array(c["day"].cast("bigint"), *(c[name] for name in columns)),
        )
    )
    item_rows = _row(
        theirs,
        ITEM,
        keep=("part",),
        thing="item_id",
        numbers=numbers,
        texts=F.col("changes.category_id"),
    )
    of_theirs = named.join(of_categories, "category_id")
    category_rows = _row(of_theirs, CATEGORY, keep=("part",), thing="category_id", numbers=numbers)
    return item_rows.unionByName(category_rows)


def changes(known: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per id, the first column of `known`: the days on which what is known of it changes.

    `known` has a row per id and day of `as_ofs` on which anything is; `changes` has the days, in
    their order, with what is known from then on: nothing and zeros from a day without a row on.
    """
    id_, _, *rest = known.columns
    types = dict(known.dtypes)
    days = F.array(*(F.lit(day) for day in sorted(as_ofs)))
    by_day = Window.partitionBy(id_).orderBy("as_of")
    place = F.array_position(days, F.col("as_of")).cast("int")  # from 1
    told = F.struct(*rest)
    nothing = F.struct(
        *(
            F.lit(None if types[name] == "string" else 0).cast(types[name]).alias(name)
            for name in rest
        )
    )

    def from_day(at: Column, what: Column) -> Column:
        day = F.unix_date(F.element_at(days, at)).alias("day")
        return F.struct(day, *(what[name].alias(name) for name in rest))

    placed = known.withColumns({"place": place, "told": told})
    placed = placed.withColumns(
        {
            "before": F.lag("told").over(by_day),
            "before_place": F.coalesce(F.lag("place").over(by_day), F.lit(-1)),
            "next_place": F.coalesce(F.lead("place").over(by_day), F.lit(-1)),
        }
    )
    is_new = (F.col("before_place") != F.col("place") - 1) | ~F.col("told").eqNullSafe(
        F.col("before")
    )
    ends = (F.col("next_place") != F.col("place") + 1) & (F.col("place") < len(as_ofs))
    found = F.filter(
        F.array(
            F.when(is_new, from_day(F.col("place"), F.col("told"))),
            F.when(ends, from_day(F.col("place") + 1, nothing)),
        ),
        lambda change: change.isNotNull(),
    )
    return (
        placed.select(id_, F.explode(found).alias("change"))
        .groupBy(id_)
        .agg(F.sort_array(F.collect_list("change")).alias("changes"))
    )
