"""Audits of lists of recommendations: everybody has one, it is whole, and nothing is in it that may
not be.

What may be shown is read from the catalogue and the histories as of the day, not from what the
policy says that it left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb

from contracts.counts import n_of
from contracts.recommendation_tables import (
    RANKER_EVENTS,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    RECOMMENDATIONS,
)
from contracts.surfaces import ERASED_FROM_LIST, Surface
from flows.release.audit import Audited, count, views
from flows.release.duckdb_views import first_row, select_from
from flows.release.policy_audits import audit_difference, audit_policy, audited_lists

MIN_COMPARED_USERS = 100
"""Users below which the mean change of lists says nothing."""


@dataclass(frozen=True)
class ListFiles:
    """Parquet files of one day that lists are audited with."""

    lists: Sequence[str]
    items: Sequence[str]
    histories: Sequence[str]
    features: Sequence[str]
    """Of `user_features`: whoever is known."""


def audit_lists(files: ListFiles, surfaces: Sequence[Surface], as_of: date) -> tuple[Audited, ...]:
    """Check the lists of a day, surface by surface, by streaming over Parquet with DuckDB."""
    with _opened(files) as connection:
        audited = [_only_surfaces_that_are_on(connection, surfaces)]
        for surface in surfaces:
            connection.execute(_OF_SURFACE.format(surface=surface.name, as_of=as_of))
            audited += [
                _everybody(connection, surface),
                _whole(connection, surface),
                _beside(connection, surface),
                _once(connection, surface),
                _may_be_shown(connection, surface, as_of),
                _nobodys_own(connection, surface),
                *audit_policy(connection, surface),
            ]
    return tuple(audited)


@contextmanager
def _opened(files: ListFiles) -> Iterator[duckdb.DuckDBPyConnection]:
    with views(features=files.features) as connection:
        for name, table, paths in (
            ("all_lists", REC_LISTS, files.lists),
            ("all_items", REC_ITEMS, files.items),
            ("all_histories", REC_HISTORIES, files.histories),
        ):
            connection.execute(f"CREATE VIEW {name} AS {select_from(table, paths)}")
        yield connection


_OF_SURFACE = """
CREATE OR REPLACE VIEW lists AS SELECT * FROM all_lists WHERE surface = '{surface}';
CREATE OR REPLACE VIEW items AS
    SELECT * FROM all_items WHERE surface = '{surface}' AND as_of = DATE '{as_of}';
CREATE OR REPLACE VIEW histories AS SELECT * FROM all_histories
    WHERE surface = '{surface}' AND as_of = DATE '{as_of}' AND fold = 0;"""


def _only_surfaces_that_are_on(
    connection: duckdb.DuckDBPyConnection, surfaces: Sequence[Surface]
) -> Audited:
    listed = ", ".join(f"'{surface.name}'" for surface in surfaces) or "''"
    n = count(connection, f"SELECT count(*) FROM all_lists WHERE surface NOT IN ({listed})")
    return Audited(REC_LISTS.name, "no surface that is off", f"{n_of(n, 'list')} of others", n == 0)


def _everybody(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    n = count(connection, "SELECT count(*) FROM lists")
    users = count(connection, "SELECT count(DISTINCT user_key) FROM lists")
    known = count(connection, "SELECT count(*) FROM features")
    unknown = count(connection, "SELECT count(*) FROM lists ANTI JOIN features USING (user_key)")
    return audited_lists(
        surface,
        "every known user has a list, no other",
        f"{known:,} known, {n_of(n, 'list')} of {n_of(users, 'user')}, {unknown:,} unknown",
        n == users == known and unknown == 0,
    )


def _whole(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    longer, unexplained, needless = first_row(
        connection,
        f"""SELECT count(*) FILTER (WHERE len(item_ids) > {surface.n_items}),
            count(*) FILTER (WHERE len(item_ids) < {surface.n_items} AND shortfall IS NULL),
            count(*) FILTER (WHERE len(item_ids) = {surface.n_items} AND shortfall IS NOT NULL)
        FROM lists""",
    )
    return audited_lists(
        surface,
        f"{n_of(surface.n_items, 'item')} each, or a reason",
        f"{n_of(longer, 'list')} longer, {unexplained:,} shorter without a reason, {needless:,} "
        "with a reason for nothing",
        longer == unexplained == needless == 0,
    )


def _beside(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    n = count(connection, f"SELECT count(*) FROM lists WHERE {_UNEQUAL}")
    return audited_lists(surface, "a value of each item", f"{n_of(n, 'list')} without", n == 0)


_UNEQUAL = " OR ".join(
    [f"len({name}) <> len(item_ids)" for name in ("values", "sources", "because", "propensities")]
    + [f"len(p_{event}) NOT IN (0, len(item_ids))" for event in RANKER_EVENTS]
)


def _once(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    n = count(
        connection, "SELECT count(*) FROM lists WHERE NOT list_unique(item_ids) = len(item_ids)"
    )
    return audited_lists(surface, "no item twice", f"{n_of(n, 'list')} with one", n == 0)


def _may_be_shown(connection: duckdb.DuckDBPyConnection, surface: Surface, as_of: date) -> Audited:
    """By the catalogue as of the day: known, there to be had, of somebody else, and for adults only
    to those who are known to be of age."""
    counts = first_row(connection, _BY_CATALOGUE)
    too_young = count(connection, _TOO_YOUNG.format(year=as_of.year))
    found = dict(
        zip(("unknown", "unavailable", "self", "under_age"), (*counts, too_young), strict=True)
    )
    wrong = [n for name, n in found.items() if name in ("unknown", *surface.policy.filters)]
    return audited_lists(
        surface,
        "every item is known and may be shown",
        f"{found['unknown']:,} unknown, {found['unavailable']:,} unavailable, {found['self']:,} of "
        f"the users themselves, {found['under_age']:,} for older ones",
        not any(wrong),
    )


_BY_CATALOGUE = """
SELECT count(*) FILTER (WHERE i.item_id IS NULL), count(*) FILTER (WHERE NOT i.available),
    count(*) FILTER (WHERE i.author_key = s.user_key OR s.item_id = s.user_key)
FROM (SELECT user_key, unnest(item_ids) AS item_id FROM lists) s
LEFT JOIN (SELECT item_id, available, author_key FROM items) i USING (item_id)"""
_TOO_YOUNG = """
SELECT count(*)
FROM (SELECT user_key, unnest(item_ids) AS item_id FROM lists) s
JOIN (SELECT item_id, min_age FROM items WHERE min_age > 0) i USING (item_id)
LEFT JOIN (SELECT user_key, birth_year FROM histories) h USING (user_key)
WHERE coalesce({year} - 1 - h.birth_year, -1) < i.min_age"""


def _nobodys_own(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    """By the histories as of the day: not owned unless repeats are allowed, not blocked, not shown
    too often."""
    limit = surface.policy.max_impressions
    often = "false" if limit is None else f"h.n_impressions[i] > {limit}"
    owned, blocked, shown = first_row(connection, _BY_HISTORY.format(often=often))
    filters = surface.policy.filters
    wrong = [
        owned if "owned" in filters and not surface.repeats else 0,
        blocked if "blocked" in filters else 0,
        shown if "overexposed" in filters else 0,
    ]
    return audited_lists(
        surface,
        "nothing owned, blocked, or shown too often",
        f"{owned:,} owned{' (repeats are allowed)' if surface.repeats else ''}, {blocked:,} "
        f"blocked, {shown:,} shown too often",
        not any(wrong),
    )


_BY_HISTORY = """
SELECT coalesce(sum(len(list_intersect(l.item_ids, h.owned_ids))), 0),
    coalesce(sum(len(list_intersect(l.item_ids, h.blocked_ids))), 0),
    coalesce(sum(len(list_intersect(l.item_ids, h.often_ids))), 0)
FROM (SELECT user_key, item_ids FROM lists) l JOIN (
    SELECT user_key, list_filter(h.item_ids, lambda x, i: h.owned[i] = 1) AS owned_ids,
        list_filter(h.item_ids, lambda x, i: h.blocked[i] = 1) AS blocked_ids,
        list_filter(h.item_ids, lambda x, i: {often}) AS often_ids
    FROM histories h WHERE len(h.item_ids) > 0
) h USING (user_key)"""


def audit_list_drift(
    files: ListFiles,
    before: Sequence[str] | None,
    surfaces: Sequence[Surface],
    as_of: date,
    min_coverage: float | None,
    max_list_change: float | None,
    max_same_lists: float | None,
) -> tuple[Audited, ...]:
    """Compare what lists hold with what could be shown, with the last release's, and with each
    other. None turns a check off; a surface's own `max_list_change` goes before the one given.
    """
    audited = []
    with _opened(files) as connection:
        connection.execute(f"CREATE VIEW earlier AS {select_from(REC_LISTS, before or ())}")
        for surface in surfaces:
            connection.execute(_OF_SURFACE.format(surface=surface.name, as_of=as_of))
            if min_coverage is not None:
                audited.append(_covers(connection, surface, min_coverage))
            limit = surface.max_list_change
            if (limit := max_list_change if limit is None else limit) is not None:
                audited += _change(connection, surface, limit)
            if max_same_lists is not None:
                audited += audit_difference(connection, surface, max_same_lists)
    return tuple(audited)


def _covers(
    connection: duckdb.DuckDBPyConnection, surface: Surface, min_coverage: float
) -> Audited:
    """Of what can be shown, or could be at so many places."""
    shown = count(
        connection,
        "SELECT count(DISTINCT item_id) FROM (SELECT unnest(item_ids) AS item_id FROM lists)",
    )
    items = count(connection, "SELECT count(*) FROM items WHERE available")
    places = count(connection, "SELECT count(*) FROM lists") * surface.n_items
    could = min(items, places)
    share = shown / could if could else 1.0
    return audited_lists(
        surface,
        "lists cover what can be shown",
        f"{share:.2%} of {n_of(could, 'item')}, at least {min_coverage:.2%} expected",
        share >= min_coverage,
    )


def _change(
    connection: duckdb.DuckDBPyConnection, surface: Surface, max_list_change: float
) -> list[Audited]:
    """Nothing where too few users had a list before."""
    n, kept = first_row(connection, _KEPT.format(surface=surface.name))
    if n < MIN_COMPARED_USERS:
        return []
    return [
        audited_lists(
            surface,
            "lists are much as before",
            f"{1 - kept:.1%} of a list is new, at most {max_list_change:.1%} expected",
            1 - kept <= max_list_change,
        )
    ]


_KEPT = """
SELECT count(*), avg(len(list_intersect(l.item_ids, e.item_ids))
    / least(len(l.item_ids), len(e.item_ids)))
FROM (SELECT user_key, item_ids FROM lists WHERE len(item_ids) > 0) l JOIN (
    SELECT user_key, item_ids FROM earlier WHERE surface = '{surface}' AND len(item_ids) > 0
) e USING (user_key)"""


def audit_list_rows(rows: Sequence[str], lists: Sequence[str]) -> tuple[Audited, ...]:
    """The rows of `recommendations` are the lists, place by place: positions from 1 without gaps
    but those that an erasure left."""
    with views(rows=rows) as connection:
        connection.execute(f"CREATE VIEW lists AS {select_from(REC_LISTS, lists)}")
        gaps, other = first_row(connection, _AS_LISTED)
    return (
        Audited(
            RECOMMENDATIONS.name,
            "positions of a list are 1, 2, 3 and so on",
            f"{n_of(gaps, 'list')} with others",
            gaps == 0,
        ),
        Audited(
            RECOMMENDATIONS.name,
            f"rows are those of {REC_LISTS.name}",
            f"{n_of(other, 'list')} with others",
            other == 0,
        ),
    )


# Sums of hashes, not lists of rows: a user's rows may be in any file, and memory holds a few
# numbers of each user.
_AS_LISTED = f"""
WITH found AS (
    SELECT surface, user_key, count(*) AS n, min(position) AS lowest, max(position) AS highest,
        sum(position) AS positions, sum(hash(item_id)) AS items,
        sum(hash(position::BIGINT, item_id)) AS places
    FROM rows GROUP BY surface, user_key
), listed AS (
    SELECT surface, user_key, len(item_ids) AS n, shortfall = '{ERASED_FROM_LIST}' AS is_erased,
        list_sum(list_transform(item_ids, lambda x: hash(x))) AS items,
        list_sum(list_transform(item_ids, lambda x, i: hash(i::BIGINT, x))) AS places
    FROM lists WHERE len(item_ids) > 0
)
SELECT count(*) FILTER (WHERE NOT coalesce(l.is_erased, false)
        AND (f.lowest <> 1 OR f.highest <> f.n OR f.positions <> f.n * (f.n + 1) // 2)),
    count(*) FILTER (WHERE f.n IS DISTINCT FROM l.n OR f.items IS DISTINCT FROM l.items
        OR (f.places IS DISTINCT FROM l.places AND NOT coalesce(l.is_erased, false)))
FROM found f FULL JOIN listed l USING (surface, user_key)"""
