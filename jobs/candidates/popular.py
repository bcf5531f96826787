"""What is popular as of a midnight: over all users, by country and by category; and what is new.

Letters of shapes: N items of a surface, E scored pairs of a segment and an item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT, REC_POPULAR
from contracts.surfaces import HALF_LIVES, POPULARITY, UNDO, Surface
from jobs.candidates.arrow_lists import numbers, one_array
from jobs.candidates.decay import decay, last_age
from jobs.candidates.done_as_of import done_as_of
from jobs.candidates.fixed_point import Integers, firsts, reduced, starts_of
from jobs.candidates.grouped_steps import Key, cogrouped, part_of
from jobs.candidates.pair_facts import (
    Done,
    Pairs,
    Rules,
    day_number,
    done,
    done_facts,
    integers,
    pairs_of,
    parts_of,
)
from jobs.candidates.user_histories import Versions, user_versions
from jobs.spark.schema import arrow_schema

POPULAR_DAYS = last_age(max(HALF_LIVES))
"""Days before a midnight from which something counts in what is popular."""
NEW_DAYS, NEW_USERS = 30, 9
"""New is what is known for at most so many days, and has a signal of at most so many users."""
LISTED_PER_CANDIDATE = 3
"""Items of a list for each that a user may get of it: the user may have some of them already."""

ALL, NEW, IN_SEGMENT = "all", "new", "_in_segment"
_COLUMNS = tuple(f"popularity_{days}d" for days in HALF_LIVES)
POPULAR = arrow_schema(REC_POPULAR)


def rec_popular(
    items: DataFrame,
    interactions: DataFrame,
    users: DataFrame | None,
    surfaces: Sequence[Surface],
    as_ofs: Sequence[date],
    n_candidates: int,
) -> DataFrame:
    """One row per surface, segment, source and `as_of`: those that have an item.

    Args:
        items: `rec_items` of the as-of days.
        interactions: of the `POPULAR_DAYS` before them.
        users: the clean table; None where countries are not known.
        surfaces: the surfaces that are on.
        as_ofs: midnights.
        n_candidates: items that a source may give a user.
    """
    shown = items.where("available").select(
        "as_of", "surface", "item_id", "category_id", "first_day", "n_users", *_COLUMNS
    )
    country = ("as_of", "surface", "country", "item_id", *_COLUMNS)
    if users is not None:
        of_countries = _of_countries(interactions, users, surfaces, as_ofs)
    else:
        of_countries = shown.withColumn("country", F.lit("")).select(*country).where("false")
    sources = {surface.name: surface.sources for surface in surfaces}
    n = n_candidates * LISTED_PER_CANDIDATE

    def listed(key: Key, shown: pa.Table, of_countries: pa.Table) -> pa.Table:
        as_of, surface = key
        asked = sources.get(surface.as_py(), ())
        scored = _scored(day_number(as_of.as_py()), shown, of_countries)
        lists = [_lists(key, name, rows, n) for name, rows in scored if name in asked]
        return pa.concat_tables([POPULAR.empty_table(), *lists])

    return cogrouped(shown, of_countries, ("as_of", "surface"), listed, POPULAR).select(
        *REC_POPULAR.names
    )


_SUMS = pa.schema(
    [
        ("as_of", pa.date32()),
        ("surface", pa.string()),
        ("country", pa.string()),
        ("item_id", pa.string()),
        *((name, pa.int64()) for name in _COLUMNS),
    ]
)


class _Scored(NamedTuple):
    """What a source gives of one surface and day."""

    segments: pa.StringArray
    """Names of segments."""
    items: pa.StringArray
    """(N,) ids, ascending."""
    segment: Integers
    """(E,) numbers of segments."""
    item: Integers
    """(E,) numbers of items."""
    score: Integers
    """(E,)"""


def _scored(today: int, shown: pa.Table, of_countries: pa.Table) -> Iterator[tuple[str, _Scored]]:
    """Each source, with scores of all items in the segments that it has."""
    shown = shown.combine_chunks()
    shown = shown.take(pc.sort_indices(shown["item_id"]))
    items = one_array(shown["item_id"])
    everywhere = _Segments(pa.array([ALL]), np.zeros(len(items), np.int64), np.arange(len(items)))
    by_category = _Segments.of_column("category=", shown["category_id"], np.arange(len(items)))
    country_item = numbers(one_array(of_countries["item_id"]), items)
    by_country = _Segments.of_column("country=", of_countries["country"], country_item)
    newness = _newness(today, shown)
    yield NEW, _Scored(everywhere.names, items, everywhere.of, everywhere.item, newness)
    for source, column in zip(POPULARITY, _COLUMNS, strict=True):
        score = integers(shown, column)
        of_country = integers(of_countries, column)
        yield source, _Scored(everywhere.names, items, everywhere.of, everywhere.item, score)
        for segments, scores in ((by_category, score), (by_country, of_country)):
            yield (
                f"{source}{IN_SEGMENT}",
                _Scored(segments.names, items, segments.of, segments.item, scores),
            )


class _Segments(NamedTuple):
    """Which segment each of some rows is of."""

    names: pa.StringArray
    of: Integers
    """-1: of none."""
    item: Integers
    """Number of the row's item; -1: of none that may be shown."""

    @classmethod
    def of_column(cls, prefix: str, values: pa.ChunkedArray, item: Integers) -> _Segments:
        distinct = pc.unique(one_array(values)).drop_null()
        names = pc.binary_join_element_wise(prefix, distinct, "")
        return cls(names, numbers(one_array(values), distinct), item)


def _lists(key: Key, source: str, rows: _Scored, n: int) -> pa.Table:
    """The best `n` items of each segment by a source: those with a score."""
    some = np.flatnonzero((rows.segment >= 0) & (rows.item >= 0))
    pair = rows.segment[some] * max(len(rows.items), 1) + rows.item[some]
    pair, which = np.unique(pair, return_inverse=True)
    score = np.zeros(len(pair), np.int64)
    np.add.at(score, which, rows.score[some])
    segment, item = np.divmod(pair, max(len(rows.items), 1))
    best = np.flatnonzero(score > 0)
    best = best[firsts(segment[best], (-score[best],), n)]  # pairs ascend: ties by id
    segments, begin = np.unique(segment[best], return_index=True)
    offsets = pa.array(np.append(begin, len(best)).astype(np.int32))
    scores = (score[best] / FIXED_POINT).astype(np.float32)
    as_of, surface = key
    return pa.Table.from_arrays(
        [
            pa.repeat(as_of, len(segments)),
            pa.repeat(surface, len(segments)),
            rows.segments.take(pa.array(segments)),
            pa.repeat(pa.scalar(source), len(segments)),
            pa.ListArray.from_arrays(offsets, rows.items.take(pa.array(item[best]))),
            pa.ListArray.from_arrays(offsets, pa.array(scores)),
        ],
        schema=POPULAR,
    )


def _newness(today: int, shown: pa.Table) -> Integers:
    """The score of items that few have met so far, the newest first: they score by age like what is
    popular; 0 of others."""
    age = today - integers(shown, "first_day")
    is_new = (age <= NEW_DAYS) & (integers(shown, "n_users") <= NEW_USERS)
    return np.where(is_new, decay(NEW_DAYS, NEW_DAYS)[np.clip(age, 0, NEW_DAYS)], 0)


def _of_countries(
    interactions: DataFrame,
    users: DataFrame,
    surfaces: Sequence[Surface],
    as_ofs: Sequence[date],
) -> DataFrame:
    """How popular items are with the users of each country, as far as some of them say: there are
    several rows of an item."""
    asked = [UNDO, *sorted({event for surface in surfaces for event in surface.goals})]
    n_parts = parts_of(interactions, as_ofs)
    part = part_of("user_key", n_parts).alias("part")

    def counted(key: Key, facts: pa.Table, versions: pa.Table) -> pa.Table:
        pairs = pairs_of(facts)
        did, people = done(facts, pairs), Versions.of(versions)
        tables = [_SUMS.empty_table()]
        for surface in surfaces:
            rules = Rules.of(surface)
            of_kind = did.take(np.flatnonzero(did.kind == rules.kind))
            for as_of in as_ofs:
                today = day_number(as_of)
                country, _ = people.as_of(pairs.users, today)
                seen = done_as_of(of_kind, today)
                reached = seen.take(np.flatnonzero(rules.is_goal[seen.event]))
                tables.append(_sums(surface.name, as_of, reached, country, pairs))
        return pa.concat_tables(tables)

    return cogrouped(
        done_facts(interactions.where(F.col("event").isin(asked))).select("*", part),
        user_versions(users).select("*", part),
        ("part",),
        counted,
        _SUMS,
    )


def _sums(surface: str, as_of: date, goals: Done, country: pa.Array, pairs: Pairs) -> pa.Table:
    """Goals by country and item, (E,): each halved with its age."""
    names = pc.unique(country).drop_null()
    target, user = np.divmod(goals.pair, pairs.n_users)
    of = numbers(country, names)[user]
    some = np.flatnonzero(of >= 0)
    pair = target[some] * max(len(names), 1) + of[some]
    order = np.argsort(pair, kind="stable")
    some, pair = some[order], pair[order]
    begin = starts_of(pair)
    item, segment = np.divmod(pair[begin], max(len(names), 1))
    age = day_number(as_of) - goals.day[some]
    oldest = int(age.max()) if len(age) else 0
    columns = [
        pa.repeat(pa.scalar(as_of, pa.date32()), len(begin)),
        pa.repeat(pa.scalar(surface), len(begin)),
        names.take(pa.array(segment)),
        pairs.targets.take(pa.array(item)),
        *(
            pa.array(reduced(np.add, goals.n[some] * decay(days, oldest)[age], begin))
            for days in HALF_LIVES
        ),
    ]
    return pa.Table.from_arrays(columns, schema=_SUMS)
