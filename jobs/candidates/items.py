"""What each surface can recommend as of a midnight, and how it fares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.surfaces import Surface
from jobs.candidates.done_as_of import done_as_of
from jobs.candidates.grouped_steps import Key, cogrouped, part_of
from jobs.candidates.item_counts import ITEMS, Versions, items_of
from jobs.candidates.pair_facts import (
    EDGE,
    USER,
    Rules,
    day_number,
    done,
    done_facts,
    edge_facts,
    pairs_of,
    parts_of,
    states,
    united,
)
from jobs.features.point_in_time import known_on


@dataclass(frozen=True)
class Known:
    """What is known of targets, all time; None where nothing can be, or no surface asks for it."""

    interactions: DataFrame
    items: DataFrame | None = None
    posts: DataFrame | None = None
    timeless: DataFrame | None = None
    """The clean table `follows`, where it may have edges without a time."""
    users: DataFrame | None = None
    """`user_features` of the as-of days."""


def rec_items(known: Known, surfaces: Sequence[Surface], as_ofs: Sequence[date]) -> DataFrame:
    """One row per surface, item and `as_of`."""
    facts = [done_facts(known.interactions, "amount_minor", "sum_stars")]
    if known.timeless is not None:
        facts.append(edge_facts(known.timeless))
    n_parts = parts_of(known.interactions, as_ofs)
    part = part_of("target_id", n_parts).alias("part")

    def counted(key: Key, facts: pa.Table, versions: pa.Table) -> pa.Table:
        return _items(facts, versions, surfaces, as_ofs)

    return cogrouped(
        united(facts).select("*", part),
        _versions(known).select("*", part),
        ("part",),
        counted,
        ITEMS,
    )


def _items(
    facts: pa.Table, versions: pa.Table, surfaces: Sequence[Surface], as_ofs: Sequence[date]
) -> pa.Table:
    """The rows of a part of the items."""
    pairs = pairs_of(facts, versions)
    did, edges = done(facts, pairs), states(facts, pairs, EDGE)
    known_of = Versions.of(versions, pairs)
    tables = [ITEMS.empty_table()]
    for surface in surfaces:
        rules = Rules.of(surface)
        of_kind = did.take(np.flatnonzero(did.kind == rules.kind))
        for as_of in as_ofs:
            today = day_number(as_of)
            newest = edges.newest(rules.kind, today)
            timeless = newest[(edges.stands & edges.is_timeless)[newest]]
            tables.append(
                items_of(
                    surface, as_of, done_as_of(of_kind, today), np.sort(edges.pair[timeless]),
                    known_of.as_of(rules.kind, as_of), pairs,
                )
            )  # fmt: skip
    return pa.concat_tables(tables)


def _versions(known: Known) -> DataFrame:
    """What says what a target is: `version`, of which the greatest holds."""
    parts = []
    if known.items is not None:
        items = known.items.withColumns(
            {"order": F.unix_micros("occurred_at"), "day": F.to_date("occurred_at")}
        )
        parts.append(_version(items, "item", "item_id"))
    if known.posts is not None:  # an id used again means the first post
        posts = known.posts.withColumns(
            {
                "author_key": F.col("user_key"),
                "order": -F.unix_date("landed_on").cast("bigint"),
                "day": F.to_date("occurred_at"),
            }
        )
        parts.append(_version(posts, "post", "post_id"))
    if known.users is not None:
        first_seen = F.date_sub("as_of", F.col("days_since_first_seen"))
        users = known.users.select(
            "user_key",
            F.col("as_of").alias("only"),
            first_seen.alias("day"),
            first_seen.alias("landed_on"),
            F.lit(0).cast("bigint").alias("order"),
        )
        parts.append(_version(users, USER, "user_key"))
    if not parts:
        nothing = known.interactions.where("false").withColumn("order", F.lit(0).cast("bigint"))
        parts.append(_version(nothing, "item", "target_id"))
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return rows


_VERSION = {
    "only": "date",
    "category_id": "string",
    "author_key": "string",
    "title": "string",
    "price_minor": "bigint",
    "available": "boolean",
    "min_age": "int",
}


def _version(rows: DataFrame, kind: str, id_: str) -> DataFrame:
    """Rows that say what a target is. They hold from their `day`, the greatest `order` first."""

    def column(name: str, type_: str) -> Column:
        return (F.col(name) if name in rows.columns else F.lit(None)).cast(type_).alias(name)

    return rows.select(
        F.lit(kind).alias("target_kind"),
        F.col(id_).alias("target_id"),
        F.unix_date("day").alias("day"),
        F.unix_date(known_on(F.col("day"))).alias("known"),
        "order",
        F.unix_date("landed_on").alias("landed"),
        *(column(name, type_) for name, type_ in _VERSION.items()),
    )
