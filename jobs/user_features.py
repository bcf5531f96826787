"""Features of every user as of a midnight: exactly the list in `contracts/features.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.features import DISTINCT, FEATURES, MEASURES, WINDOWS, Feature
from contracts.tables import USER_FEATURES
from jobs.asof import newest_version, seen_by

_MICROS_PER_HOUR = 3_600_000_000


def user_features(
    user_state: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    users: DataFrame,
    items: DataFrame,
    as_ofs: Sequence[date],
) -> DataFrame:
    """One row per user ever seen and `as_of`.

    Tiles must reach back the widest window before the first of `as_ofs`; dimensions, all time.
    """
    categories = newest_version(
        items.select("item_id", "category_id", "landed_on", "occurred_at"), "item_id", as_ofs
    )
    countries = newest_version(
        users.select("user_key", "country", "landed_on", "occurred_at"), "user_key", as_ofs
    )
    last_item = F.element_at(F.filter("event_item", lambda x: x != ""), -1)
    joined = (
        user_state.where(F.col("as_of").isin(list(as_ofs)))
        .withColumn(
            "item_id", F.when(F.size(F.filter("event_item", lambda x: x != "")) > 0, last_item)
        )
        .join(categories, ["item_id", "as_of"], "left")
        .join(countries, ["user_key", "as_of"], "left")
        .join(window_sums(user_days, as_ofs), ["user_key", "as_of"], "left")
        .join(window_distincts(user_item_days, categories, as_ofs), ["user_key", "as_of"], "left")
    )
    simple = [f for f in FEATURES if f.aggregate != "ratio"]
    made = joined.select(
        "user_key", "as_of", *(_COLUMNS[f.aggregate](f).alias(f.name) for f in simple)
    )
    return made.withColumns({f.name: _ratio(f) for f in FEATURES if f.aggregate == "ratio"}).select(
        *USER_FEATURES.names
    )


def window_sums(user_days: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user and `as_of` with something in the widest window: sums over each."""
    seen = seen_by(user_days, F.col("day"), as_ofs, within=max(WINDOWS))
    age = F.datediff("as_of", "day")
    return seen.groupBy("user_key", "as_of").agg(
        *(
            F.sum(F.when(age <= w, F.col(m.name)).otherwise(0)).alias(f"{m.name}_{w}d")
            for m in MEASURES
            for w in WINDOWS
        )
    )


def window_distincts(
    user_item_days: DataFrame, categories: DataFrame, as_ofs: Sequence[date]
) -> DataFrame:
    """One row per user and `as_of`: distinct items and categories over each window.

    A thing counts in every window that reaches back to the last day on which it was met.
    """
    seen = seen_by(user_item_days, F.col("day"), as_ofs, within=max(WINDOWS)).withColumn(
        "age", F.datediff("as_of", "day")
    )
    items = seen.groupBy("user_key", "as_of", "item_id").agg(F.min("age").alias("age"))
    by_category = (
        items.join(categories, ["item_id", "as_of"])
        .where("category_id is not null")
        .groupBy("user_key", "as_of", "category_id")
        .agg(F.min("age").alias("age"))
    )
    counts = (_distinct(items, "item"), _distinct(by_category, "category"))
    return counts[0].join(counts[1], ["user_key", "as_of"], "left")


def _distinct(rows: DataFrame, what: str) -> DataFrame:
    if what not in DISTINCT:
        raise KeyError(what)
    return rows.groupBy("user_key", "as_of").agg(
        *(
            F.count_if(F.col("age") <= F.lit(f.window)).alias(f.name)
            for f in FEATURES
            if f.aggregate == "distinct" and f.source == (what,)
        )
    )


def _sum(feature: Feature) -> Column:
    column = feature.source[0] if feature.window is None else feature.name
    return F.coalesce(F.col(column), F.lit(feature.default)).cast("bigint")


def _distinct_count(feature: Feature) -> Column:
    return F.coalesce(F.col(feature.name), F.lit(feature.default)).cast("bigint")


def _since(feature: Feature) -> Column:
    return F.datediff("as_of", feature.source[0])


def _latest(feature: Feature) -> Column:
    return F.col(feature.source[0])


def _sequence(feature: Feature) -> Column:
    if feature.source == ("occurred_at",):
        cut = F.unix_micros(F.col("as_of").cast("timestamp"))
        return F.transform(
            "event_micros", lambda at: F.floor((cut - at) / _MICROS_PER_HOUR).cast("int")
        )
    return F.col(
        {"verb": "event_verb", "item_id": "event_item", "amount_minor": "event_amount_minor"}[
            feature.source[0]
        ]
    )


def _ratio(feature: Feature) -> Column:
    over, under = feature.source
    return F.col(over).cast("double") / F.nullif(F.col(under).cast("double"), F.lit(0.0))


_COLUMNS: dict[str, Callable[[Feature], Column]] = {
    "sum": _sum,
    "distinct": _distinct_count,
    "since": _since,
    "latest": _latest,
    "sequence": _sequence,
}
