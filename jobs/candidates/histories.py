"""What each known user had to do with what a surface recommends, as of a midnight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT, NO_SUCH_DAY, REC_HISTORIES
from contracts.surfaces import Surface
from jobs.candidates.decay import decayed
from jobs.candidates.surface_rows import (
    ANY,
    BLOCK,
    EDGE,
    FOLLOW,
    IMPRESSION,
    USER,
    VERSION,
    follow_facts,
    of_surfaces,
    united,
)
from jobs.features.point_in_time import seen_by

HALF_LIFE = 30
"""Of signals, in days."""
SHOWN_DAYS = 30
"""Days before in which impressions count."""
LEFT_OUT_OF = 5
"""One of so many pairs is left out of fold 1."""

_USER = ("as_of", "surface", "user_key", "fold")
_ENTRY = {
    "item_ids": "item_id",
    "signals": "signal",
    "n_days": "n_days",
    "n_goals": "n_goals",
    "first_days": "first_day",
    "last_days": "last_day",
    "gaps": "gap",
    "owned": "is_owned",
    "blocked": "is_blocked",
    "n_impressions": "n_shown",
}
"""Array of `rec_histories` to what each of its entries is."""


_BLOCKING = "struct<occurred_at: timestamp, block_id: string, stands: boolean>"
_SAID = {
    "only": "date",
    "fact": EDGE,
    "block": _BLOCKING,
    "blocked_by": _BLOCKING,
    "by_blocked": "boolean",
    "is_known": "boolean",
    "person": "struct<occurred_at: timestamp, landed_on: date, country: string, "
    "birth_year: bigint>",
}
"""What rows may say besides of whom, what and when."""


@dataclass(frozen=True)
class Known:
    """What is known of users, all time; None where nothing can be, or no surface asks for it."""

    interactions: DataFrame
    known_users: DataFrame
    """`user_features` of the as-of days."""
    items: DataFrame
    """`rec_items` of the as-of days."""
    users: DataFrame | None = None
    follows: DataFrame | None = None
    blocks: DataFrame | None = None


def rec_histories(known: Known, surfaces: Sequence[Surface], as_ofs: Sequence[date]) -> DataFrame:
    """One row per surface, known user, fold and `as_of`.

    Entries are of items that `rec_items` has, with which the user had something to do that counts:
    a signal, a goal, an impression in the 30 days before, owning or blocking it.
    """
    said = united(_said(known, as_ofs), _SAID).repartition("user_key")
    rows = of_surfaces(said, surfaces, as_ofs)
    pairs = rows.groupBy("as_of", "surface", "user_key", "target_id").agg(*_of_pairs())
    entries = _in_folds(pairs, known, surfaces, as_ofs).select(
        *_USER, "target_id", "is_known", "person", *_entry()
    )
    catalogue = known.items.select(
        "as_of", "surface", F.col("item_id").alias("target_id"), "category_id",
        F.lit(True).alias("is_item"),
    )  # fmt: skip
    listed = entries.where(
        "target_id is null or signal > 0 or n_goals > 0 or n_shown > 0 or is_owned = 1 or "
        "is_blocked = 1"
    ).join(catalogue, ["as_of", "surface", "target_id"], "left")
    return _by_user(listed.where("target_id is null or is_item"))


def _said(known: Known, as_ofs: Sequence[date]) -> list[DataFrame]:
    """Rows about users, and about users and targets."""
    parts = [
        known.interactions.select(
            "user_key", "target_kind", "target_id", "event", "day", "landed_on", "n"
        ),
        _of_user(
            known.known_users.select(
                "user_key",
                F.col("as_of").alias("only"),
                F.date_sub("as_of", F.lit(1)).alias("landed_on"),
                F.lit(True).alias("is_known"),
            ).withColumn("day", F.col("landed_on"))
        ),
    ]
    if known.users is not None:
        person = F.struct("occurred_at", "landed_on", "country", "birth_year").alias("person")
        day = F.to_date("occurred_at").alias("day")
        parts.append(_of_user(known.users.select("user_key", "landed_on", day, person)))
    if known.follows is not None:
        parts.append(follow_facts(known.follows))
    if known.blocks is not None:
        parts += _block_facts(known.blocks)
        parts.append(_blocked_authors(known.blocks, known.items, as_ofs))
    return parts


def _of_user(rows: DataFrame) -> DataFrame:
    """Rows that say something of the user, whatever the surface."""
    return rows.withColumns(
        {
            "target_kind": F.lit(ANY),
            "event": F.lit(VERSION),
            "n": F.lit(0).cast("bigint"),
        }
    )


def _block_facts(blocks: DataFrame) -> list[DataFrame]:
    """One row per fact about a block, for who blocks; and for whom somebody blocks."""
    said = _blocking(blocks).withColumns(
        {"event": F.lit(BLOCK), "n": F.lit(0).cast("bigint"), "day": F.to_date("occurred_at")}
    )
    rest = ("target_kind", "event", "day", "landed_on", "n")
    back = said.where(F.col("target_kind") == USER).select(
        F.col("target_id").alias("user_key"),
        F.col("user_key").alias("target_id"),
        *rest,
        F.col("block").alias("blocked_by"),
    )
    return [said.select("user_key", "target_id", *rest, "block"), back]


def _blocking(blocks: DataFrame) -> DataFrame:
    """The facts with `block`, of which the greatest of a pair holds."""
    stands = (F.col("kind") == "block").alias("stands")
    return blocks.withColumn("block", F.struct("occurred_at", "block_id", stands))


def _blocked_authors(blocks: DataFrame, items: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user and item by somebody whom the user blocks, or who blocks the user."""
    of_users = _blocking(blocks.where(F.col("target_kind") == USER))
    standing = (
        seen_by(of_users, F.to_date("occurred_at"), as_ofs)
        .groupBy("as_of", "user_key", "target_id")
        .agg(F.max("block")["stands"].alias("stands"))
        .where("stands")
    )
    by_author = standing.select("as_of", "user_key", F.col("target_id").alias("author_key"))
    back = standing.select(
        "as_of", F.col("target_id").alias("user_key"), F.col("user_key").alias("author_key")
    )
    written = items.where("author_key is not null").select("as_of", "item_id", "author_key")
    eve = F.date_sub("as_of", F.lit(1))
    return (
        by_author.union(back)
        .distinct()
        .join(written, ["as_of", "author_key"])
        .select(
            "user_key",
            F.lit("post").alias("target_kind"),
            F.col("item_id").alias("target_id"),
            F.lit(BLOCK).alias("event"),
            eve.alias("day"),
            eve.alias("landed_on"),
            F.lit(0).cast("bigint").alias("n"),
            F.col("as_of").alias("only"),
            F.lit(True).alias("by_blocked"),
        )
        .distinct()
    )


def _of_pairs() -> list[Column]:
    """What a user has to do with a target; with none, what is known of the user."""
    age, n, event = F.col("age"), F.col("n"), F.col("event")
    day = F.unix_date("day").cast("bigint")
    is_done = n > 0
    liked = (F.col("strength") > 0) & is_done
    signal = F.when(liked, n * F.col("strength") * decayed(age, HALF_LIFE)).otherwise(0)
    is_follow = event == FOLLOW
    recent = (event == IMPRESSION) & (age <= SHOWN_DAYS)

    aggregates = {
        "signal_else": F.sum(F.when(~is_follow, signal).otherwise(0)),
        "signal_of_follows": F.sum(F.when(is_follow, signal).otherwise(0)),
        "goal_days": F.array_sort(F.collect_set(F.when(is_done & F.col("is_goal"), day))),
        "n_goals": F.sum(F.when(F.col("is_goal"), n).otherwise(0)),
        "first_day": F.min(F.when(liked, day)),
        "last_day": F.max(F.when(liked, day)),
        "has": F.max(F.col("owns") & is_done & ~is_follow),
        "acted": F.max(F.when(is_done & (event != IMPRESSION), day)),
        "shown": F.collect_list(F.when(recent, F.struct(day.alias("day"), "n"))),
        "edge": F.max("fact"),
        "strength": F.max(F.when(is_follow, F.col("strength"))),
        "edge_owns": F.max(is_follow & F.col("owns")),
        "edge_is_goal": F.max(is_follow & F.col("is_goal")),
        **{
            name: F.max(name)
            for name in ("block", "blocked_by", "by_blocked", "is_known", "person")
        },
    }
    return [aggregate.alias(name) for name, aggregate in aggregates.items()]


def _in_folds(
    pairs: DataFrame, known: Known, surfaces: Sequence[Surface], as_ofs: Sequence[date]
) -> DataFrame:
    """Each pair once per fold: in fold 1 a fifth of the edges without a time are not there.

    A pair and its reverse are left out together: one would give the other away.
    """
    learning = [s.name for s in surfaces if s.target == USER and FOLLOW in s.goals]
    if known.follows is None or not learning:
        return pairs.withColumn("fold", F.lit(0))
    timeless = known.follows.where("occurred_at is null and valid_from is not null")
    timeless = seen_by(timeless, F.to_date("valid_from"), as_ofs).select("as_of").distinct()
    both = F.col("has_timeless").isNotNull() & F.col("surface").isin(learning)
    folds = F.when(both, F.array(F.lit(0), F.lit(1))).otherwise(F.array(F.lit(0)))
    ordered = (F.least("user_key", "target_id"), F.greatest("user_key", "target_id"))
    is_left_out = (
        (F.col("fold") == 1)
        & ~F.col("edge.has_time")
        & (F.pmod(F.xxhash64(*ordered), F.lit(LEFT_OUT_OF)) == 0)
    )
    return (
        pairs.join(F.broadcast(timeless.withColumn("has_timeless", F.lit(True))), "as_of", "left")
        .withColumn("fold", F.explode(folds))
        .withColumn("edge", F.when(~F.coalesce(is_left_out, F.lit(False)), F.col("edge")))
    )


def _entry() -> list[Column]:
    """What a pair is in the arrays: a column for each. A follow that was undone is no signal."""

    def whether(condition: Column) -> Column:
        return F.coalesce(condition, F.lit(False))

    follows = whether(F.col("edge.stands"))
    timeless = follows & whether(~F.col("edge.has_time"))
    blocks = whether(F.col("block.stands")) | whether(F.col("blocked_by.stands"))
    entry = {
        "signal": F.col("signal_else")
        + F.when(follows, F.col("signal_of_follows")).otherwise(0)
        + F.when(timeless, F.col("strength") * FIXED_POINT).otherwise(0),
        "n_days": F.size("goal_days").cast("bigint"),
        "n_goals": F.col("n_goals") + (timeless & F.col("edge_is_goal")).cast("bigint"),
        "first_day": F.coalesce("first_day", F.lit(NO_SUCH_DAY)),
        "last_day": F.coalesce("last_day", F.lit(NO_SUCH_DAY)),
        "gap": _median_gap(),
        "is_owned": (F.col("has") | (follows & F.col("edge_owns"))).cast("int"),
        "is_blocked": (blocks | whether(F.col("by_blocked"))).cast("int"),
        "n_shown": _shown_since(),
    }
    return [value.alias(name) for name, value in entry.items()]


def _median_gap() -> Column:
    """Median of the days between `goal_days`, rounded down; -1 of fewer than 2."""
    days = F.col("goal_days")
    n_gaps = F.size(days) - 1
    later = F.slice(days, F.lit(2), F.greatest(n_gaps, F.lit(0)))
    gaps = F.zip_with(later, F.slice(days, F.lit(1), F.greatest(n_gaps, F.lit(0))),
                      lambda a, b: a - b)  # fmt: skip
    ordered = F.array_sort(gaps)
    low, high = F.floor((n_gaps - 1) / 2).cast("int"), F.floor(n_gaps / 2).cast("int")
    median = F.floor((F.get(ordered, low) + F.get(ordered, high)) / 2).cast("bigint")
    return F.coalesce(F.when(n_gaps > 0, median), F.lit(NO_SUCH_DAY).cast("bigint"))


def _shown_since() -> Column:
    """Times that it was shown on days after the last on which the user did something with it."""
    since = F.filter("shown", lambda s: s["day"] > F.coalesce("acted", F.lit(NO_SUCH_DAY)))
    return F.aggregate(since, F.lit(0).cast("bigint"), lambda total, s: total + s["n"])


def _by_user(entries: DataFrame) -> DataFrame:
    """Entries as arrays, one row per user: first by category, of which one is the favourite."""
    entry = F.struct(
        F.col("target_id").alias("item_id"), *(n for n in _ENTRY.values() if n != "item_id")
    )
    of_categories = entries.groupBy(*_USER, "category_id").agg(
        F.sum("signal").alias("signal"),
        F.collect_list(F.when(F.col("target_id").isNotNull(), entry)).alias("entries"),
        F.max("is_known").alias("is_known"),
        F.max("person").alias("person"),
    )
    ranked = F.struct((-F.col("signal")).alias("rank"), "category_id")
    liked = F.col("category_id").isNotNull() & (F.col("signal") > 0)
    users = of_categories.groupBy(*_USER).agg(
        F.min(F.when(liked, ranked))["category_id"].alias("favourite_category"),
        F.array_sort(F.flatten(F.collect_list("entries"))).alias("entries"),
        F.max("is_known").alias("is_known"),
        F.max("person").alias("person"),
    )
    made = {
        "country": F.col("person.country"),
        "birth_year": F.col("person.birth_year").cast("int"),
        **{array: F.col(f"entries.{name}") for array, name in _ENTRY.items()},
    }
    return users.where("is_known").select(
        *(made.get(name, F.col(name)).alias(name) for name in REC_HISTORIES.names)
    )
