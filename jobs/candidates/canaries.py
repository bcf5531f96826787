"""Worlds that differ only in what nobody can know at a midnight: no list may differ with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.days import ONE_DAY
from contracts.source_tables.users import USERS
from jobs.features.without_tiles import altered_after, is_later

CANARY = "later-"
"""How the ids of items, ads, posts and users begin that are only known after the cut."""
_TARGETS = ("item_id", "post_id", "target_id", "followed_key")
"""Columns that say what is recommended, or what was done something with."""


def known_before(clean: Mapping[str, DataFrame], cut: date) -> dict[str, DataFrame]:
    """The clean rows that were known at midnight `cut`: those that had happened and landed."""
    return {name: rows.where(~is_later(rows, cut)) for name, rows in clean.items()}


def with_later_targets(
    clean: Mapping[str, DataFrame], cut: date, share: float, seed: int
) -> dict[str, DataFrame]:
    """The same rows before `cut`; later ones are altered, and of a share of all rows there is one
    that says the same of an item, ad, post or user that only exists from `cut` on.

    Of those some had happened before and landed only then, others landed the day before and say
    that they happen then: neither is known at the midnight.
    """
    altered = altered_after(clean, cut, seed)
    return {name: rows.unionByName(_of_canaries(rows, name, cut, share, seed))
            for name, rows in altered.items()}  # fmt: skip


def _of_canaries(rows: DataFrame, table: str, cut: date, share: float, seed: int) -> DataFrame:
    """Rows about targets that only exist after `cut`."""
    first = rows.columns[0]
    bucket = F.pmod(F.xxhash64(first, F.lit(seed)), F.lit(1000))
    chosen = rows.where(bucket < int(share * 1000))
    named = {name for name in (first, *_TARGETS) if name in rows.columns}
    if table != USERS.name:
        named -= {"user_key"}
    is_late = F.pmod(bucket, F.lit(2)) == 0
    renamed: dict[str, Column] = {name: F.concat(F.lit(CANARY), name) for name in named}
    midnight = F.lit(cut).cast("timestamp")
    for name in ("occurred_at", "valid_from"):
        if name in rows.columns:
            before = F.least(name, midnight - F.expr("interval 1 day"))
            then = F.coalesce(F.greatest(name, midnight), midnight)
            renamed[name] = F.when(is_late, before).otherwise(then)
    landed = F.when(is_late, F.greatest("landed_on", F.lit(cut))).otherwise(F.lit(cut - ONE_DAY))
    return chosen.withColumns({**renamed, "landed_on": landed})
