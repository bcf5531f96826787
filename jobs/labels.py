"""Labels: what happened in the window after `as_of`, as far as it is known by now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.days import label_is_closed
from contracts.tables import EXAMPLES, LABELS
from contracts.tasks import TASKS, Binary, Kind, Ordinal, Task, ZeroInflatedLogNormal
from jobs.asof import known_on
from jobs.user_days import UNDOING


def labels(
    user_features: DataFrame,
    user_days: DataFrame,
    orders: DataFrame,
    reviews: DataFrame,
    as_ofs: Sequence[date],
    known_until: date,
    settle_days: int,
    enabled: Sequence[str],
) -> DataFrame:
    """One row per known user and `as_of`; null where a window is open or a mask says no.

    Nothing that was unknown at midnight `known_until` is used. Tables must hold what landed from
    the day before the first of `as_ofs` on.
    """
    happened = outcomes(user_days, orders, reviews, as_ofs, known_until)
    aggregated = happened.groupBy("user_key", "as_of").agg(
        *(_BY_KIND[type(task.kind)].aggregate(task).alias(task.name) for task in TASKS)
    )
    known = user_features.where(F.col("as_of").isin(list(as_ofs)))
    joined = known.join(aggregated, ["user_key", "as_of"], "left")

    def label(task: Task) -> Column:
        closed = [a for a in as_ofs if label_is_closed(a, task.horizon, settle_days, known_until)]
        asked = F.col("as_of").isin(closed) & F.expr(task.mask.sql)
        value = _BY_KIND[type(task.kind)].label(task)
        if task.name not in enabled:
            value = F.lit(None)
        return F.when(asked, value).cast(task.kind.label_type).alias(task.label)

    return joined.select("user_key", "as_of", *(label(task) for task in TASKS)).select(
        *LABELS.names
    )


class _Label:
    """What a kind makes of the outcomes in its window, and of none."""

    def __init__(self, aggregate: Callable[[Task], Column], label: Callable[[Task], Column]):
        self.aggregate, self.label = aggregate, label


def _in_window(task: Task) -> Column:
    return (F.col("target") == task.target) & (F.col("offset") < task.horizon)


def _binary(task: Task) -> Column:
    happens = F.coalesce(F.col(task.name), F.lit(False))
    negated = isinstance(task.kind, Binary) and task.kind.negated
    return (~happens if negated else happens).cast("int")


_BY_KIND: dict[type[Kind], _Label] = {
    Binary: _Label(lambda task: F.bool_or(_in_window(task)), _binary),
    ZeroInflatedLogNormal: _Label(
        lambda task: F.sum(F.when(_in_window(task), F.col("value"))),
        lambda task: F.greatest(F.coalesce(F.col(task.name), F.lit(0)), F.lit(0)),
    ),
    Ordinal: _Label(
        lambda task: F.min_by("value", F.when(_in_window(task), F.col("place"))),
        lambda task: F.col(task.name),
    ),
}
KINDS = tuple(_BY_KIND)


def outcomes(
    user_days: DataFrame,
    orders: DataFrame,
    reviews: DataFrame,
    as_ofs: Sequence[date],
    known_until: date,
) -> DataFrame:
    """One row per thing that happened after an `as_of`, within the longest horizon.

    `target` is what it is, `offset` the days from `as_of` to it, `value` its amount, `place` its
    order in time.
    """
    tiles = _known(user_days, F.col("day"), known_until)
    placed = standing_orders(_known(orders, F.to_date("occurred_at"), known_until))
    rated = _known(reviews, F.to_date("occurred_at"), known_until)
    one = F.lit(1).cast("bigint")

    def shaped(
        rows: DataFrame, target: str, day: Column, value: Column, place: Column
    ) -> DataFrame:
        return rows.select(
            "user_key",
            F.lit(target).alias("target"),
            day.alias("day"),
            value.cast("bigint").alias("value"),
            place.alias("place"),
        )

    day_place = F.struct(F.col("day").cast("timestamp").alias("at"), F.lit("").alias("id"))
    every = reduce(
        DataFrame.unionByName,
        (
            shaped(tiles, "activity", F.col("day"), one, day_place),
            shaped(
                tiles.where("spend_minor > 0 or undone_minor > 0"),
                "net_spend_minor",
                F.col("day"),
                F.col("spend_minor") - F.col("undone_minor"),
                day_place,
            ),
            shaped(
                placed,
                "order",
                F.to_date("occurred_at"),
                one,
                F.struct(F.col("occurred_at").alias("at"), F.col("order_id").alias("id")),
            ),
            shaped(
                rated,
                "stars",
                F.to_date("occurred_at"),
                F.col("stars"),
                F.struct(F.col("occurred_at").alias("at"), F.col("review_id").alias("id")),
            ),
        ),
    )
    longest = max(task.horizon for task in TASKS)
    days = F.array(*(F.lit(a) for a in sorted(as_ofs)))
    before = F.filter(days, lambda a: (a <= F.col("day")) & (F.col("day") < F.date_add(a, longest)))
    return every.withColumn("as_of", F.explode(before)).withColumn(
        "offset", F.datediff("day", "as_of")
    )


def _known(rows: DataFrame, day: Column, known_until: date) -> DataFrame:
    return rows.where(known_on(day) < F.lit(known_until))


def standing_orders(orders: DataFrame) -> DataFrame:
    """One row per user and order that is not wholly undone: when it was placed.

    An undoing line without a reference undoes the user's newest earlier order of the same item.
    An order is wholly undone when that holds for every item in it, unit by unit.
    """
    newest_first = (
        Window.partitionBy("user_key", "item_id")
        .orderBy("occurred_at", F.col("kind") != "purchase", "line_id")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    bought = F.col("kind") == "purchase"
    undone_order = F.coalesce(
        F.col("undoes_order_id"),
        F.last(F.when(bought, F.col("order_id")), ignorenulls=True).over(newest_first),
    )
    lines = orders.withColumn(
        "order_id", F.when(F.col("kind").isin(*UNDOING), undone_order).otherwise(F.col("order_id"))
    )
    per_item = (
        lines.where("order_id is not null")
        .groupBy("user_key", "order_id", "item_id")
        .agg(
            F.sum(F.when(bought, F.col("quantity")).otherwise(-F.col("quantity"))).alias("left"),
            F.min(F.when(bought, F.col("occurred_at"))).alias("occurred_at"),
        )
    )
    return (
        per_item.where("occurred_at is not null")
        .groupBy("user_key", "order_id")
        .agg(
            F.min("occurred_at").alias("occurred_at"),
            F.max("left").alias("left"),
        )
        .where("left > 0")
        .drop("left")
    )


def examples(user_features: DataFrame, labels: DataFrame) -> DataFrame:
    """One row per known user and past `as_of` with at least one label: features and labels."""
    labelled = labels.where(F.coalesce(*(F.col(t.label).cast("bigint") for t in TASKS)).isNotNull())
    return user_features.join(labelled, ["user_key", "as_of"]).select(*EXAMPLES.names)
