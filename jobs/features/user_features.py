"""Features of every user as of a midnight: exactly the list in `contracts/features.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.features import FEATURES, Feature
from contracts.measures import (
    ACTIVE_DAY,
    DISTINCT,
    LIFETIME,
    MEASURES,
    WINDOWS,
)
from contracts.tables import USER_FEATURES
from jobs.features.follow_graph import graph
from jobs.features.item_features import recent_items
from jobs.features.point_in_time import newest_version, seen_by
from jobs.features.rated_words import recent_text, word_stars

_MICROS_PER_HOUR = 3_600_000_000
_KEY = ["user_key", "as_of"]


def user_features(
    user_state: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    users: DataFrame,
    item_features: DataFrame,
    follows: DataFrame,
    posts: DataFrame,
    reviews: DataFrame,
    as_ofs: Sequence[date],
) -> DataFrame:
    """One row per user ever seen and `as_of`.

    Tiles, posts and reviews must reach back the widest window before the first of `as_ofs`; users
    and follows, all time.
    """
    state = user_state.where(F.col("as_of").isin(list(as_ofs))).withColumns(
        {f"{d.count}_all": F.size(d.hashes) for d in LIFETIME}
    )
    items = item_features.where(F.col("as_of").isin(list(as_ofs)))
    windows = window_measures(user_days, as_ofs)
    versions = newest_version(
        users.select("user_key", "country", "attributes", "landed_on", "occurred_at"),
        "user_key",
        as_ofs,
    )
    joined = (
        state.join(versions, _KEY, "left")
        .join(windows, _KEY, "left")
        .join(window_distincts(user_days, user_item_days, items, as_ofs), _KEY, "left")
        .join(graph(follows, windows, window_orders(user_item_days, as_ofs), as_ofs), _KEY, "left")
        .join(recent_items(state, items), _KEY, "left")
        .join(recent_text(posts, word_stars(reviews, as_ofs), as_ofs), _KEY, "left")
    )
    features = joined.select(
        *_KEY,
        *(_COLUMNS[f.aggregate](f).alias(f.name) for f in FEATURES if f.aggregate != "ratio"),
    )
    ratios = [f for f in FEATURES if f.aggregate == "ratio"]
    while ratios:  # a ratio may divide another
        ready = [f for f in ratios if not {r.name for r in ratios} & set(f.source)]
        features = features.withColumns({f.name: _ratio(f) for f in ready})
        ratios = [f for f in ratios if f not in ready]
    return features.select(*USER_FEATURES.names)


def window_measures(user_days: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user and `as_of` with something in the widest window: measures over each."""
    seen = seen_by(user_days, F.col("day"), as_ofs, within=max(WINDOWS))
    age = F.datediff("as_of", "day")
    return seen.groupBy(*_KEY).agg(
        *(
            (F.sum if m.combine == "sum" else F.max)(
                F.when(age <= w, F.col(m.name)).otherwise(0)
            ).alias(f"{m.name}_{w}d")
            for m in MEASURES
            for w in WINDOWS
        )
    )


def window_distincts(
    user_days: DataFrame, user_item_days: DataFrame, items: DataFrame, as_ofs: Sequence[date]
) -> DataFrame:
    """One row per user and `as_of`: distinct things of each sort over each window.

    A thing counts in every window that reaches back to the last day on which it was met.
    """
    things = _last_met(user_item_days.unionByName(_active_days(user_days)), as_ofs)
    categories = (
        things.where("kind = 'item'")
        .join(
            items.select(F.col("item_id").alias("thing_id"), "as_of", "category_id"),
            ["thing_id", "as_of"],
        )
        .where("category_id is not null")
        .groupBy(*_KEY, "category_id")
        .agg(F.min("age").alias("age"))
    )
    everything = things.select(*_KEY, "kind", "age").unionByName(
        categories.select(*_KEY, F.lit("category").alias("kind"), "age")
    )
    return everything.groupBy(*_KEY).agg(
        *(
            F.count_if((F.col("kind") == d.name) & (F.col("age") <= w)).alias(f"{d.count}_{w}d")
            for d in DISTINCT
            for w in WINDOWS
        )
    )


def _active_days(user_days: DataFrame) -> DataFrame:
    """One row per tile in which the user did something, as a row of `user_item_days`."""
    return user_days.where("n_events > 0").select(
        "user_key",
        F.lit(ACTIVE_DAY).alias("kind"),
        F.col("day").cast("string").alias("thing_id"),
        "day",
        "landed_on",
    )


def window_orders(user_item_days: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user and `as_of` with an order in the widest window: orders over each window."""
    orders = _last_met(user_item_days.where("kind = 'order'"), as_ofs)
    return orders.groupBy(*_KEY).agg(
        *(F.count_if(F.col("age") <= w).alias(f"n_orders_{w}d") for w in WINDOWS)
    )


def _last_met(met: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user, `as_of` and thing met in the widest window: `age`, the days since."""
    return (
        seen_by(met, F.col("day"), as_ofs, within=max(WINDOWS))
        .groupBy(*_KEY, "kind", "thing_id")
        .agg(F.min(F.datediff("as_of", "day")).alias("age"))
    )


def _measure(feature: Feature) -> Column:
    column = feature.source[0] if feature.window is None else feature.name
    return F.coalesce(F.col(column), F.lit(feature.default)).cast("bigint")


def _joined(feature: Feature) -> Column:
    return F.coalesce(F.col(feature.name), F.lit(feature.default)).cast("bigint")


def _since(feature: Feature) -> Column:
    return F.datediff("as_of", feature.source[0])


def _latest(feature: Feature) -> Column:
    return F.col({"category_id": "last_item_category"}.get(feature.source[0], feature.source[0]))


def _sequence(feature: Feature) -> Column:
    if feature.source == ("occurred_at",):
        cut = F.unix_micros(F.col("as_of").cast("timestamp"))
        return F.transform(
            "event_micros", lambda at: F.floor((cut - at) / _MICROS_PER_HOUR).cast("int")
        )
    if feature.source == ("category_id",):
        return F.transform(
            "event_item", lambda item: F.coalesce(F.try_element_at("categories", item), F.lit(""))
        )
    return F.col(
        {"verb": "event_verb", "item_id": "event_item", "amount_minor": "event_amount_minor"}[
            feature.source[0]
        ]
    )


def _text(feature: Feature) -> Column:
    return F.coalesce(F.col(feature.name), F.array().cast("array<int>"))


def _ratio(feature: Feature) -> Column:
    over, under = feature.source
    return F.col(over).cast("double") / F.nullif(F.col(under).cast("double"), F.lit(0.0))


_COLUMNS: dict[str, Callable[[Feature], Column]] = {
    "measure": _measure,
    "distinct": _joined,
    "graph": _joined,
    "items": _joined,
    "words": _joined,
    "since": _since,
    "latest": _latest,
    "sequence": _sequence,
    "text": _text,
}
