"""Everything known of a user: lifetime measures, first and last moments, the last events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.measures import FIRST_SEEN, LIFETIME, MEASURES, MOMENTS, SEQUENCE_LENGTH, Moment
from contracts.source_table import AD_VIEW
from contracts.tables import USER_STATE
from jobs.features.events import EVENT
from jobs.features.point_in_time import known_on


def user_state(
    base: DataFrame,
    user_days: DataFrame,
    user_item_days: DataFrame,
    users: DataFrame,
    events: DataFrame,
    since: date | None,
    as_ofs: Sequence[date],
) -> DataFrame:
    """One row per user ever seen and `as_of`.

    `base` is the state as of `since` (both empty at the start of time); the other tables hold at
    least what landed from the day before `since` on. Merging is a sum, minimum, maximum or union,
    so the result does not depend on `since`.
    """
    parts = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True),
        (
            _segment_measures(user_days, since, as_ofs),
            _segment_things(user_item_days, since, as_ofs),
            _segment_events(events, since, as_ofs),
            _segment_users(users, since, as_ofs),
        ),
    )
    later = F.filter(_days(as_ofs), lambda a: a >= F.col("segment"))
    spread = parts.withColumn("as_of", F.explode(later)).drop("segment")
    merged = (
        spread.unionByName(_carried(base, as_ofs), allowMissingColumns=True)
        .groupBy("user_key", "as_of")
        .agg(
            *(_earliest_or_latest(m)(m.name).alias(m.name) for m in MOMENTS),
            *_combined(),
            *(_united(d.hashes) for d in LIFETIME),
            F.sort_array(F.flatten(F.collect_list("events"))).alias("events"),
        )
    )
    kept = F.slice(
        "events", F.greatest(F.size("events") - (SEQUENCE_LENGTH - 1), F.lit(1)), SEQUENCE_LENGTH
    )
    return (
        merged.withColumn("events", kept)
        .withColumns({name: F.col(f"events.{name}") for name in EVENT})
        .select(*USER_STATE.names)
    )


def _carried(base: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """What the state has, once for each of `as_ofs`."""
    return base.select(
        "user_key",
        *(m.name for m in MOMENTS),
        *(m.name for m in MEASURES),
        *(d.hashes for d in LIFETIME),
        F.arrays_zip(*EVENT).alias("events"),
    ).withColumn("as_of", F.explode(_days(as_ofs)))


def _combined() -> list[Column]:
    return [
        F.coalesce((F.sum if m.combine == "sum" else F.max)(m.name), F.lit(0)).alias(m.name)
        for m in MEASURES
    ]


def _earliest_or_latest(moment: Moment) -> Callable[..., Column]:
    return F.min if moment.first else F.max


def _united(lists: str) -> Column:
    return F.sort_array(F.array_distinct(F.flatten(F.collect_list(lists)))).alias(lists)


def _days(as_ofs: Sequence[date]) -> Column:
    return F.array(*(F.lit(day) for day in sorted(as_ofs)))


def _in_segments(
    rows: DataFrame, day: Column, since: date | None, as_ofs: Sequence[date]
) -> DataFrame:
    """Adds `segment`, the first of `as_ofs` that sees the row, leaving out what `base` has."""
    known = known_on(day)
    if since is not None:
        rows = rows.where(known >= F.lit(since))
    first = F.get(F.filter(_days(as_ofs), lambda a: a > known), F.lit(0))
    return rows.withColumn("segment", first).where(F.col("segment").isNotNull())


def _segment_measures(tiles: DataFrame, since: date | None, as_ofs: Sequence[date]) -> DataFrame:
    """A user of whom only what others did is known was first seen at the midnight of that day."""
    of_others = F.when(F.col("n_events") == 0, F.col("day").cast("timestamp"))
    return (
        _in_segments(tiles, F.col("day"), since, as_ofs)
        .groupBy("user_key", "segment")
        .agg(F.min(of_others).alias(FIRST_SEEN.name), *_combined())
    )


def _segment_things(met: DataFrame, since: date | None, as_ofs: Sequence[date]) -> DataFrame:
    """Of those things that are counted over all time, a hash of each."""
    counted = met.where(F.col("kind").isin(*(d.kind for d in LIFETIME)))
    return (
        _in_segments(counted, F.col("day"), since, as_ofs)
        .groupBy("user_key", "segment")
        .agg(
            *(
                F.collect_set(F.when(F.col("kind") == d.kind, thing_hash())).alias(d.hashes)
                for d in LIFETIME
            )
        )
    )


def thing_hash() -> Column:
    """What is kept of a thing for ever. Two of one user's share a hash once in 2**63 pairs."""
    return F.xxhash64("thing_id")


def _segment_users(users: DataFrame, since: date | None, as_ofs: Sequence[date]) -> DataFrame:
    """Users who have done nothing yet are known from their sign-up."""
    seen = F.least(F.coalesce("signed_up_at", "occurred_at"), F.col("occurred_at"))
    return (
        _in_segments(users, F.to_date("occurred_at"), since, as_ofs)
        .groupBy("user_key", "segment")
        .agg(F.min(seen).alias(FIRST_SEEN.name))
    )


def _segment_events(events: DataFrame, since: date | None, as_ofs: Sequence[date]) -> DataFrame:
    """Moments and the last events of each user within each segment.

    The last events over several segments are among the last of each, so no more need be kept.
    """
    rows = _in_segments(events, F.to_date("occurred_at"), since, as_ofs)
    in_sequence = F.col("event_verb") != AD_VIEW
    newest = Window.partitionBy("user_key", "segment").orderBy(
        F.desc(in_sequence), F.desc("event_micros"), F.desc("event_id")
    )
    event = F.when(in_sequence & (F.col("rank") <= SEQUENCE_LENGTH), F.struct(*EVENT))

    def moment(of: Moment) -> Column:
        counts = F.col("event_verb").isin(*of.verbs) if of.verbs else F.lit(True)
        when: Column = _earliest_or_latest(of)(F.when(counts, F.col("occurred_at")))
        return when.alias(of.name)

    return (
        rows.withColumn("rank", F.row_number().over(newest))
        .groupBy("user_key", "segment")
        .agg(
            *(moment(m) for m in MOMENTS),
            F.collect_list(event).alias("events"),
        )
    )
