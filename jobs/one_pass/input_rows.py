"""Every table as rows of the one shape that the tasks of a pass over many days are given.

What each kind of row holds; `one_pass.py` chooses which rows, and `sweep_rows.py` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.features import GRAPH
from contracts.measures import LIFETIME, MEASURES, MOMENTS
from jobs.features.events import EVENT
from jobs.features.item_features import FROM_ITEM
from jobs.features.point_in_time import known_on
from jobs.features.rated_words import tokens
from jobs.features.user_state import thing_hash
from jobs.one_pass.running_aggregates import NEVER
from jobs.one_pass.task_rows import (
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
    WORD,
)

_SHAPE = (
    "what int, user_key string, known int, day int, micros bigint, id string, name string, "
    "thing string, amount bigint, numbers array<bigint>, texts array<string>"
)


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


def state_rows(state: DataFrame) -> DataFrame:
    """One row per user that the state has: last moments, measures of all time, distinct counts."""
    moments = (
        F.coalesce(F.unix_date(F.to_date(m.name)), F.lit(NEVER)).cast("bigint") for m in MOMENTS
    )
    lifetimes = F.array(*(F.size(d.hashes).cast("bigint") for d in LIFETIME))
    return _row(
        state,
        STATE,
        user_key="user_key",
        numbers=F.concat(F.array(*moments), _measures(), lifetimes),
    )


def carried_event_rows(state: DataFrame, since: date | None) -> DataFrame:
    """One row per event that the state has."""
    events = state.select("user_key", F.explode(F.arrays_zip(*EVENT)).alias("e")).select(
        "user_key", "e.*"
    )
    before = F.lit(NEVER) if since is None else F.unix_date(F.lit(since)) - 1
    return _rows_of_events(events, before)


def event_rows(events: DataFrame) -> DataFrame:
    """One row per event."""
    return _rows_of_events(events, _known(F.to_date("occurred_at")))


def _rows_of_events(events: DataFrame, known: Column) -> DataFrame:
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


def tile_rows(tiles: DataFrame) -> DataFrame:
    """One row per tile of `user_days`."""
    return _row(
        tiles,
        TILE,
        user_key="user_key",
        known=_known(F.col("day")),
        day=F.unix_date("day"),
        numbers=_measures(),
    )


def thing_rows(met: DataFrame) -> DataFrame:
    """One row per row of `user_item_days`: a thing that a user met on a day."""
    return _row(
        met,
        THING,
        user_key="user_key",
        known=_known(F.col("day")),
        day=F.unix_date("day"),
        name="kind",
        thing="thing_id",
    )


def first_met_rows(met: DataFrame, state: DataFrame, since: date | None, last: date) -> DataFrame:
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


def version_rows(users: DataFrame) -> DataFrame:
    """One row per version of a user.

    `micros` and `day` are when the version is of and when it landed, by which versions are
    ordered; `amount` is the day from which the user is known.
    """
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


def post_rows(posts: DataFrame) -> DataFrame:
    """One row per post with a text; `numbers` are its hashed words."""
    return _row(
        posts.where("text is not null"),
        POST,
        user_key="user_key",
        known=_known(F.to_date("occurred_at")),
        day=F.unix_date(F.to_date("occurred_at")),
        micros=F.unix_micros("occurred_at"),
        id="post_id",
        numbers=tokens(F.col("text")),
    )


def graph_rows(changes: DataFrame) -> DataFrame:
    """One row per row of `graph_changes`."""
    return _row(
        changes,
        GRAPH_ROW,
        user_key="user_key",
        day="day",
        numbers=F.array(*(F.col(name) for name, _, _ in GRAPH)),
    )


def item_rows(items: DataFrame, item_features: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
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
    of_items_met = _row(
        theirs,
        ITEM,
        keep=("part",),
        thing="item_id",
        numbers=numbers,
        texts=F.col("changes.category_id"),
    )
    of_theirs = named.join(of_categories, "category_id")
    category_rows = _row(of_theirs, CATEGORY, keep=("part",), thing="category_id", numbers=numbers)
    return of_items_met.unionByName(category_rows)


def word_rows(word_stars: DataFrame, n_tasks: int, as_ofs: Sequence[date]) -> DataFrame:
    """One row per task and word that is rated on any of the days; there are no more words than
    buckets, and every task is given all of them."""
    rated = word_stars.select("token", "as_of", F.lit(1).alias("rated"), "above")
    numbers = F.flatten(
        F.transform(
            "changes",
            lambda c: F.array(c["day"].cast("bigint"), c["rated"].cast("bigint"), c["above"]),
        )
    )
    parts = F.explode(F.sequence(F.lit(0), F.lit(n_tasks - 1))).alias("part")
    return _row(
        changes(rated, as_ofs).select("*", parts),
        WORD,
        keep=("part",),
        amount="token",
        numbers=numbers,
    )


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
    known_then = F.struct(*rest)
    nothing = F.struct(
        *(
            F.lit(None if types[name] == "string" else 0).cast(types[name]).alias(name)
            for name in rest
        )
    )

    def from_day(at: Column, what: Column) -> Column:
        day = F.unix_date(F.element_at(days, at)).alias("day")
        return F.struct(day, *(what[name].alias(name) for name in rest))

    placed = known.withColumns({"place": place, "told": known_then})
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
    changed = F.filter(
        F.array(
            F.when(is_new, from_day(F.col("place"), F.col("told"))),
            F.when(ends, from_day(F.col("place") + 1, nothing)),
        ),
        lambda change: change.isNotNull(),
    )
    return (
        placed.select(id_, F.explode(changed).alias("change"))
        .groupBy(id_)
        .agg(F.sort_array(F.collect_list("change")).alias("changes"))
    )
