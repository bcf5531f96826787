"""Labels: what happened in the window after `as_of`, as far as it is known by now.

What happens more than `LABEL_REACH` days after `as_of` (an undoing, a mark of fraud, an item's new
category) decides nothing any more, so that old labels only move with rows that land late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.days import label_is_closed
from contracts.kinds import (
    Binary,
    Count,
    Kind,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.tables import EXAMPLES, LABELS
from contracts.tasks import LABEL_REACH, OUTCOMES, SENTIMENTS, TASKS, Task
from jobs.features.point_in_time import known_on, newest_version


@dataclass(frozen=True)
class Known:
    """What labels are made of: rows that landed from the day before the first `as_of` on, and for
    items and marks of fraud all there are."""

    user_days: DataFrame
    user_item_days: DataFrame
    orders: DataFrame
    reviews: DataFrame
    account_events: DataFrame
    fraud_marks: DataFrame
    items: DataFrame


def labels(
    user_features: DataFrame,
    known: Known,
    as_ofs: Sequence[date],
    known_until: date,
    settle_days: int,
    tasks: Sequence[Task] = TASKS,
) -> DataFrame:
    """One row per known user and `as_of`; null where a window is open or a mask says no.

    Nothing that was unknown at midnight `known_until` is used. Tasks other than `tasks` are null.
    """
    aggregated = (
        outcomes(known, as_ofs, known_until, tasks)
        .groupBy("user_key", "as_of")
        .agg(
            *(_BY_KIND[type(task.kind)].aggregate(task).alias(task.name) for task in tasks),
            *(_is_given(task).alias(f"given_{task.name}") for task in tasks if task.given),
            F.lit(True).alias("_any"),
        )
    )
    everybody = user_features.where(F.col("as_of").isin(list(as_ofs)))
    joined = everybody.join(aggregated, ["user_key", "as_of"], "left")

    def label(task: Task) -> Column:
        if task not in tasks:
            return F.lit(None).cast(task.kind.label_type).alias(task.label)
        closed = [
            a for a in as_ofs if label_is_closed(a, task.closes_after, settle_days, known_until)
        ]
        asked = F.col("as_of").isin(closed) & F.expr(task.mask.sql)
        if task.given:
            asked = asked & F.coalesce(F.col(f"given_{task.name}"), F.lit(False))
        value = _BY_KIND[type(task.kind)].label(task)
        return F.when(asked, value).cast(task.kind.label_type).alias(task.label)

    return joined.select("user_key", "as_of", *(label(task) for task in TASKS)).select(
        *LABELS.names
    )


@dataclass(frozen=True)
class _Label:
    """What a kind makes of the outcomes in its window, and of none."""

    aggregate: Callable[[Task], Column]
    label: Callable[[Task], Column]


def _in_window(task: Task) -> Column:
    inside = F.col("offset") < task.horizon
    if task.target in OUTCOMES:
        return (F.col("target") == task.target) & inside
    return F.col("target").isNull() & inside & (F.col(task.target) > 0)


def _value(task: Task) -> Column:
    return F.col("value" if task.target in OUTCOMES else task.target)


def _is_given(task: Task) -> Column:
    return F.bool_or((F.col(str(task.given)) > 0) & (F.col("offset") < task.horizon))


def _binary(task: Task) -> Column:
    happens = F.coalesce(F.col(task.name), F.lit(False))
    negated = isinstance(task.kind, Binary) and task.kind.negated
    return (~happens if negated else happens).cast("int")


def _sum(task: Task) -> Column:
    return F.sum(F.when(_in_window(task), _value(task)))


def _at_least_none(task: Task) -> Column:
    return F.greatest(F.coalesce(F.col(task.name), F.lit(0)), F.lit(0))


def _first(task: Task) -> Column:
    return F.min_by(_value(task), F.when(_in_window(task), F.col("place")))


_BY_KIND: dict[type[Kind], _Label] = {
    Binary: _Label(lambda task: F.bool_or(_in_window(task)), _binary),
    Count: _Label(_sum, _at_least_none),
    Regression: _Label(_sum, lambda task: F.coalesce(F.col(task.name), F.lit(0))),
    ZeroInflatedLogNormal: _Label(_sum, _at_least_none),
    Ordinal: _Label(_first, lambda task: F.col(task.name)),
    MultiClass: _Label(_first, lambda task: F.col(task.name)),
    MultiLabel: _Label(
        lambda task: F.sort_array(F.collect_set(F.when(_in_window(task), F.col("thing")))),
        lambda task: F.coalesce(F.col(task.name), F.array().cast("array<string>")),
    ),
}
KINDS = tuple(_BY_KIND)


@dataclass(frozen=True)
class _Asked:
    """Where outcomes are looked for: in what is known, within the longest horizon of each day."""

    known: Known
    as_ofs: Sequence[date]
    known_until: date
    within: int

    def until(self, rows: DataFrame, day: Column) -> DataFrame:
        """The rows that are known."""
        return _known(rows, day, self.known_until)

    def after(self, rows: DataFrame) -> DataFrame:
        """Each row once per `as_of` after which its `day` lies."""
        return _after(rows, F.col("day"), self.as_ofs, self.within)


def outcomes(
    known: Known, as_ofs: Sequence[date], known_until: date, tasks: Sequence[Task]
) -> DataFrame:
    """One row per `as_of` and thing that happened after it, within the longest horizon.

    `target` is what it is, `offset` the days from `as_of` to it, `value` its amount, `place` its
    order in time, `thing` what it was about. Tiles have no target, but their measures.
    """
    targets = {task.target for task in tasks} & set(_OUTCOMES)
    measures = {t for task in tasks for t in (task.target, task.given) if t} - set(OUTCOMES)
    longest = max((task.horizon for task in tasks), default=1)
    asked = _Asked(known, as_ofs, known_until, longest)
    tiles = asked.after(asked.until(known.user_days, F.col("day"))).select(
        "user_key",
        "as_of",
        "day",
        F.lit(None).cast("string").alias("target"),
        *sorted(measures),
    )
    every = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True),
        (_OUTCOMES[name](asked).withColumn("target", F.lit(name)) for name in sorted(targets)),
        tiles,
    )
    named = {"value": "bigint", "thing": "string", "place": "struct<at:timestamp,id:string>"}
    for name, type_ in named.items():
        if name not in every.columns:
            every = every.withColumn(name, F.lit(None).cast(type_))
    return every.withColumn("offset", F.datediff("day", "as_of"))


def _orders(asked: _Asked) -> DataFrame:
    on = F.to_date("occurred_at")
    standing = standing_orders(asked.until(asked.known.orders, on), asked.as_ofs)
    placed = asked.after(standing.withColumnRenamed("as_of", "for").withColumn("day", on))
    return _shaped(placed.where("as_of = for"), F.lit(1), "order_id")


def _net_spend(asked: _Asked) -> DataFrame:
    tiles = asked.until(asked.known.user_days, F.col("day"))
    spent = asked.after(tiles.where("spend_minor > 0 or undone_minor > 0"))
    return _shaped(spent, F.col("spend_minor") - F.col("undone_minor"))


def _stars(asked: _Asked) -> DataFrame:
    return _reviews(asked, F.col("stars"))


def _sentiments(asked: _Asked) -> DataFrame:
    return _reviews(asked, F.array_position(F.array(*map(F.lit, SENTIMENTS)), F.col("sentiment")))


def _reviews(asked: _Asked, value: Column) -> DataFrame:
    on = F.to_date("occurred_at")
    reviews = asked.until(asked.known.reviews, on).withColumn("day", on)
    return _shaped(asked.after(reviews), value, "review_id")


def _interests(asked: _Asked) -> DataFrame:
    met = asked.until(asked.known.user_item_days.where("kind = 'item'"), F.col("day"))
    categories = _categories(asked.after(met), asked.known.items, asked.as_ofs, asked.known_until)
    return _shaped(categories, F.lit(1), thing="category_id")


def _fraud(kind: str) -> Callable[[_Asked], DataFrame]:
    def frauds(asked: _Asked) -> DataFrame:
        marked = asked.after(_frauds(asked.known, kind, asked.known_until))
        in_time = F.col("marked") < F.date_add("as_of", LABEL_REACH)
        return _shaped(marked.where(in_time), F.lit(1))

    return frauds


_OUTCOMES: dict[str, Callable[[_Asked], DataFrame]] = {
    "order": _orders,
    "net_spend_minor": _net_spend,
    "stars": _stars,
    "sentiment": _sentiments,
    "category": _interests,
    "payment_fraud": _fraud("payment"),
    "login_fraud": _fraud("login"),
    "transfer_fraud": _fraud("transfer"),
}
"""What is looked for in windows besides measures, and where it is found."""


def _after(rows: DataFrame, day: Column, as_ofs: Sequence[date], within: int) -> DataFrame:
    """Each row once per `as_of` in the `within` days after which its day lies."""
    days = F.array(*(F.lit(a) for a in sorted(as_ofs)))
    before = F.filter(days, lambda a: (a <= day) & (day < F.date_add(a, within)))
    return rows.withColumn("as_of", F.explode(before))


def _shaped(
    rows: DataFrame, value: Column, id_: str | None = None, thing: str | None = None
) -> DataFrame:
    """Rows in the shape of outcomes; those with an id are put in order by time, then id."""
    place = (
        F.struct(F.col("occurred_at").alias("at"), F.col(id_).alias("id"))
        if id_
        else F.lit(None).cast("struct<at:timestamp,id:string>")
    )
    return rows.select(
        "user_key",
        "as_of",
        "day",
        value.cast("bigint").alias("value"),
        place.alias("place"),
        (F.col(thing) if thing else F.lit(None).cast("string")).alias("thing"),
    )


def _categories(
    met: DataFrame, items: DataFrame, as_ofs: Sequence[date], known_until: date
) -> DataFrame:
    """Items that users met after an `as_of`, with the category known when its last label closes."""
    cuts = {a: min(a + timedelta(days=LABEL_REACH), known_until) for a in as_ofs}
    of_cut = newest_version(
        items.select("item_id", "category_id", "landed_on", "occurred_at"),
        "item_id",
        sorted(set(cuts.values())),
    ).select(F.col("item_id").alias("thing_id"), F.col("as_of").alias("cut"), "category_id")
    cut = F.least(F.date_add("as_of", LABEL_REACH), F.lit(known_until))
    return (
        met.withColumn("cut", cut)
        .join(of_cut, ["thing_id", "cut"])
        .where("category_id is not null")
    )


def _frauds(known: Known, kind: str, known_until: date) -> DataFrame:
    """Account events of a kind that somebody has marked by now, and the first day of a mark."""
    on = F.to_date("occurred_at")
    marks = (
        _known(known.fraud_marks, on, known_until)
        .groupBy("event_id")
        .agg(F.min(on).alias("marked"))
    )
    events = _known(known.account_events, on, known_until).where(F.col("kind") == kind)
    return events.withColumn("day", on).join(marks, "event_id")


def _known(rows: DataFrame, day: Column, known_until: date) -> DataFrame:
    return rows.where(known_on(day) < F.lit(known_until))


CLOCK_SKEW_MINUTES = 15
"""How long before its order a cancellation may be stamped: two systems have two clocks. A return
never is: one just before an order is half of an exchange."""


def standing_orders(orders: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per `as_of`, user and order placed since it of which something is left: when placed.

    What is undone is counted in units of an item. A line with a reference undoes units of that
    order and of no other, the newest lines first. Then, in order of time, a line without one undoes
    what is left of the user's orders of the item up to then, the newest first; what it has beyond
    that undoes nothing.

    What happened more than the clocks' skew before `as_of` does not matter: newest first, it is
    undone last.
    """
    bought, skew = F.col("kind") == "purchase", F.expr(f"interval {CLOCK_SKEW_MINUTES} minutes")
    referring = ~bought & F.col("undoes_order_id").isNotNull()
    lines = (
        _around(orders, skew, as_ofs)
        .withColumn(
            "order_id",
            F.when(bought, F.col("order_id")).otherwise(F.col("undoes_order_id")),
        )
        .withColumn("left", _left_by_references(bought))
        .where(~referring)
    )
    return (
        _less_what_others_undo(lines, bought, skew)
        .where(bought & (F.to_date("occurred_at") >= F.col("as_of")))
        .groupBy("as_of", "user_key", "order_id")
        .agg(F.min("occurred_at").alias("occurred_at"), F.max("left").alias("left"))
        .where("left > 0")
        .drop("left")
    )


def _around(orders: DataFrame, skew: Column, as_ofs: Sequence[date]) -> DataFrame:
    """Each line once per `as_of` in whose reach it happens."""
    days = F.array(*(F.lit(a) for a in sorted(as_ofs)))
    last, day = F.to_date(F.col("occurred_at") + skew), F.to_date("occurred_at")
    sees = F.filter(days, lambda a: (a <= last) & (day < F.date_add(a, LABEL_REACH)))
    return orders.withColumn("as_of", F.explode(sees))


def _left_by_references(bought: Column) -> Column:
    """Units of a line that those who name its order leave."""
    same = Window.partitionBy("as_of", "user_key", "order_id", "item_id")
    newer = same.orderBy(F.desc("occurred_at"), F.desc("line_id")).rowsBetween(
        Window.unboundedPreceding, -1
    )
    undone = F.sum(F.when(~bought, F.col("quantity")).otherwise(0)).over(same)
    of_newer = F.sum(F.when(bought, F.col("quantity")).otherwise(0)).over(newer)
    taken = F.greatest(undone - F.coalesce(of_newer, F.lit(0)), F.lit(0))
    return F.greatest(F.col("quantity") - taken, F.lit(0))


def _less_what_others_undo(lines: DataFrame, bought: Column, skew: Column) -> DataFrame:
    """`left` once lines without a reference have undone theirs.

    All units that a user has of an item are a stack: an order lies on top of those before it, and
    undoing takes from the top, down to the ground. So of a line there is left what lies below the
    lowest level that the stack falls to after it.
    """
    counts_at = F.when(F.col("kind") == "cancellation", F.col("occurred_at") + skew).otherwise(
        F.col("occurred_at")
    )
    by_time = Window.partitionBy("as_of", "user_key", "item_id").orderBy(
        counts_at, ~bought, "line_id"
    )
    so_far = by_time.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    from_here = by_time.rowsBetween(Window.currentRow, Window.unboundedFollowing)
    step = F.when(bought, F.col("left")).otherwise(-F.col("quantity"))
    below_ground = F.least(F.min("total").over(so_far), F.lit(0))
    return (
        lines.withColumn("total", F.sum(step).over(so_far))
        .withColumn("level", F.col("total") - below_ground)
        .withColumn("lowest", F.min("level").over(from_here))
        .withColumn(
            "left", F.greatest(F.col("lowest") - (F.col("level") - F.col("left")), F.lit(0))
        )
    )


def examples(user_features: DataFrame, labels: DataFrame) -> DataFrame:
    """One row per known user and past `as_of` with at least one label: features and labels."""
    labelled = labels.where(reduce(Column.__or__, (F.col(t.label).isNotNull() for t in TASKS)))
    return user_features.join(labelled, ["user_key", "as_of"]).select(*EXAMPLES.names)
