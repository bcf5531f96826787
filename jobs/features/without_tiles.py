"""Features straight from clean rows, for questions that the lake's tiles do not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.measures import EVENTS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS
from contracts.source_tables.users import USERS
from contracts.tables import USER_STATE
from jobs.features.events import events
from jobs.features.item_features import item_features
from jobs.features.user_days import item_days, tiles_of_all, user_days, user_item_days
from jobs.features.user_features import user_features
from jobs.features.user_state import user_state
from jobs.spark.schema import spark_schema


def features_from_clean(clean: Mapping[str, DataFrame], as_ofs: Sequence[date]) -> DataFrame:
    """One row per user ever seen and `as_of`; `clean` has all rows from the beginning of time."""
    posts = clean[POSTS.name]
    spark = posts.sparkSession
    tiles, met = user_days(tiles_of_all(clean)), user_item_days(clean, posts)
    state = user_state(
        spark.createDataFrame([], spark_schema(USER_STATE)),
        tiles,
        met,
        clean[USERS.name],
        events(clean),
        None,
        as_ofs,
    )
    return user_features(
        state,
        tiles,
        met,
        clean[USERS.name],
        item_features(item_days(clean), clean[ITEMS.name], as_ofs),
        clean[FOLLOWS.name],
        posts,
        clean[REVIEWS.name],
        as_ofs,
    )


def as_now(clean: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    """The same facts as if each had landed on the day it happened, so that none is late.

    Versions of users and items stay as they landed: what they were is not what was known of them.
    """
    return {
        name: rows.withColumn(
            "landed_on", F.least("landed_on", F.coalesce(F.to_date("occurred_at"), "landed_on"))
        )
        if name in EVENTS
        else rows
        for name, rows in clean.items()
    }


def with_canaries(
    clean: Mapping[str, DataFrame], cut: date, share: float, seed: int
) -> dict[str, DataFrame]:
    """The same rows, and two twins of some users: the same past, and for one of them a future.

    A twin's key is the user's with `-0` or `-1` behind it. What is done after `cut` by the user is
    done by twin 1, and by nobody instead of twin 0, so whoever can tell them apart as of `cut` has
    seen the future.
    """
    bucket = F.pmod(F.xxhash64("user_key", F.lit(seed)), F.lit(1000))
    twinned = dict(clean)
    for name, rows in clean.items():
        if name not in EVENTS and name != USERS.name:
            continue
        chosen = rows.where(bucket < int(share * 1000))
        later = is_later(chosen, cut)
        ids = [EVENTS[name].id] if name in EVENTS else []
        ids += ["order_id"] if "order_id" in rows.columns else []
        for twin, mine in ((0, chosen.where(~later)), (1, chosen)):
            renamed = {c: F.concat(c, F.lit(f"-{twin}")) for c in ["user_key", *ids]}
            twinned[name] = twinned[name].unionByName(
                mine.withColumns({"user_key": F.concat("user_key", F.lit(f"-{twin}")), **renamed})
            )
    return twinned


def altered_after(clean: Mapping[str, DataFrame], cut: date, seed: int) -> dict[str, DataFrame]:
    """The same rows before `cut`; of later ones some are gone, some are other people's, all are
    worth something else."""
    altered = dict(clean)
    for name, rows in clean.items():
        if name not in EVENTS:
            continue
        later = is_later(rows, cut)
        ids = rows.columns[0]
        luck = F.pmod(F.xxhash64(ids, F.lit(seed)), F.lit(4))
        changed = rows.where(~later | (luck > 0))
        if "amount_minor" in rows.columns:
            more = F.when(later, F.col("amount_minor") * 7 + 1).otherwise(F.col("amount_minor"))
            changed = changed.withColumn("amount_minor", more)
        if "stars" in rows.columns:
            changed = changed.withColumn(
                "stars", F.when(later, 6 - F.col("stars")).otherwise(F.col("stars"))
            )
        stranger = F.concat(F.lit("stranger-"), luck.cast("string"))
        altered[name] = changed.withColumn(
            "user_key", F.when(later & (luck == 1), stranger).otherwise(F.col("user_key"))
        )
    return altered


def is_later(rows: DataFrame, cut: date) -> Column:
    """Whether a row was not known at midnight `cut`: it happened, or landed, after it."""
    happened = F.to_date("valid_from" if "valid_from" in rows.columns else "occurred_at")
    return (F.col("landed_on") >= F.lit(cut)) | F.coalesce(happened >= F.lit(cut), F.lit(False))
