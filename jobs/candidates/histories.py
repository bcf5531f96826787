"""What each known user had to do with what a surface recommends, as of a midnight.

Two steps: what users had to do with a part of the items, and all of that for a part of the users.
Letters of shapes: R facts, P pairs of a user and an item, E entries of users, H histories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import REC_HISTORIES
from contracts.surfaces import Surface
from jobs.candidates.arrow_lists import one_array
from jobs.candidates.done_as_of import done_as_of
from jobs.candidates.grouped_steps import Key, cogrouped, part_of
from jobs.candidates.pair_entries import (
    ENTRIES,
    entries_of,
    listed,
    met_of,
    standing,
)
from jobs.candidates.pair_facts import (
    BLOCKS,
    EDGE,
    FOLLOW,
    USER,
    Rules,
    block_facts,
    day_number,
    done,
    done_facts,
    edge_facts,
    pairs_of,
    parts_of,
    states,
    united,
)
from jobs.candidates.user_histories import HISTORIES, VERSION, Versions, histories_of, user_versions
from jobs.features.point_in_time import known_on


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
    has_timeless: bool = False
    """Whether `follows` may have edges without a time."""


def rec_histories(known: Known, surfaces: Sequence[Surface], as_ofs: Sequence[date]) -> DataFrame:
    """One row per surface, known user, fold and `as_of`.

    Entries are of items that `rec_items` has, with which the user had something to do that counts:
    a signal, a goal, an impression in the 30 days before, owning or blocking it.
    """
    facts = [done_facts(known.interactions)]
    if known.follows is not None:
        facts.append(edge_facts(known.follows))
    if known.blocks is not None:
        facts += block_facts(known.blocks, known.items)
    n_parts = parts_of(known.interactions, as_ofs)
    counted = Histories(surfaces, as_ofs, _timeless_since(known))
    if n_parts == 1:
        return _in_one_task(counted, united(facts), _catalogue(known), _people(known))
    of_items, of_users = (part_of(id_, n_parts).alias("part") for id_ in ("target_id", "user_key"))
    entries = cogrouped(
        united(facts).select("*", of_items),
        _catalogue(known).select("*", of_items),
        ("part",),
        counted.of_items,
        ENTRIES,
    )
    return cogrouped(
        entries.select("*", of_users),
        _people(known).select("*", of_users),
        ("part",),
        counted.of_users,
        HISTORIES,
    ).select(*REC_HISTORIES.names)


def _in_one_task(
    counted: Histories, facts: DataFrame, catalogue: DataFrame, people: DataFrame
) -> DataFrame:
    """Both steps in one task: to hand on what there are few of would be most of the work."""

    def count(key: Key, facts: pa.Table, rows: pa.Table) -> pa.Table:
        is_person = pc.is_null(rows["surface"])
        entries = counted.of_items(key, facts, rows.filter(pc.invert(is_person)))
        return counted.of_users(key, entries, rows.filter(is_person))

    rows = catalogue.unionByName(people, allowMissingColumns=True)
    part = F.lit(0).alias("part")
    found = cogrouped(facts.select("*", part), rows.select("*", part), ("part",), count, HISTORIES)
    return found.select(*REC_HISTORIES.names)


def _catalogue(known: Known) -> DataFrame:
    return known.items.select(
        "as_of", "surface", F.col("item_id").alias("target_id"), "category_id"
    )


def _timeless_since(known: Known) -> int | None:
    """The day by whose end the first edge without a time was known; None: there is none."""
    if known.follows is None or not known.has_timeless:
        return None
    timeless = known.follows.where("occurred_at is null and valid_from is not null")
    first = F.min(F.unix_date(known_on(F.to_date("valid_from"))))
    day: int | None = timeless.agg(first).collect()[0][0]
    return day


def _people(known: Known) -> DataFrame:
    """One row per user and as-of day with features, and per version of a user."""
    people = known.known_users.select("user_key", "as_of").withColumns(
        {name: F.lit(None).cast(type_) for name, type_ in VERSION.items()}
    )
    if known.users is None:
        return people
    versions = user_versions(known.users).withColumn("as_of", F.lit(None).cast("date"))
    return people.unionByName(versions)


@dataclass(frozen=True)
class Histories:
    """How histories are counted."""

    surfaces: Sequence[Surface]
    as_ofs: Sequence[date]
    timeless_since: int | None
    """The day by whose end the first edge without a time was known."""

    def folds(self, surface: Surface, today: int) -> tuple[int, ...]:
        """There are two where a surface's goals are edges without a time."""
        learns = surface.target == USER and FOLLOW in surface.goals
        has_timeless = self.timeless_since is not None and self.timeless_since < today
        return (0, 1) if learns and has_timeless else (0,)

    def of_items(self, key: Key, facts: pa.Table, items: pa.Table) -> pa.Table:
        """What users had to do with a part of the items."""
        pairs = pairs_of(facts)
        did = done(facts, pairs)
        edges = states(facts, pairs, EDGE)
        blocks = [states(facts, pairs, what) for what in BLOCKS]
        tables = []
        for surface in self.surfaces:
            rules = Rules.of(surface)
            of_kind = did.take(np.flatnonzero(did.kind == rules.kind))
            catalogue = items.filter(pc.equal(items["surface"], surface.name))
            for as_of in self.as_ofs:
                today = day_number(as_of)
                shown = catalogue.filter(pc.equal(catalogue["as_of"], pa.scalar(as_of)))
                met = met_of(done_as_of(of_kind, today), rules, today)
                followed = standing(edges, rules, today)
                blocked = np.unique(
                    np.concatenate([b.pair[standing(b, rules, today)] for b in blocks])
                )
                for fold in self.folds(surface, today):
                    some = followed
                    if fold:
                        some = some[~(edges.is_timeless & edges.is_left_out)[some]]
                    entries = entries_of(
                        met, edges.pair[some], edges.is_timeless[some], blocked, rules
                    )
                    tables.append(listed((as_of, surface.name, fold), entries, pairs, shown))
        return pa.concat_tables([ENTRIES.empty_table(), *tables])

    def of_users(self, key: Key, entries: pa.Table, people: pa.Table) -> pa.Table:
        """All of what a part of the users had to do with items."""
        versions = Versions.of(people.filter(pc.is_null(people["as_of"])))
        known = people.filter(pc.is_valid(people["as_of"]))
        tables = []
        for as_of in self.as_ofs:
            today = day_number(as_of)
            users = one_array(known.filter(pc.equal(known["as_of"], pa.scalar(as_of)))["user_key"])
            of_day = entries.filter(pc.equal(entries["as_of"], pa.scalar(as_of)))
            person = versions.as_of(users, today)
            for surface in self.surfaces:
                of_surface = of_day.filter(pc.equal(of_day["surface"], surface.name))
                for fold in self.folds(surface, today):
                    some = of_surface.filter(pc.equal(of_surface["fold"], fold))
                    tables.append(histories_of((as_of, surface.name, fold), users, person, some))
        return pa.concat_tables([HISTORIES.empty_table(), *tables])
