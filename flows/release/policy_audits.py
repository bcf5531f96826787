"""Audits of what a policy does with lists: counts, propensities, order and caps, and whether lists
differ between users.

Each is of the views `lists`, `items` and `histories` of one surface.
"""

from __future__ import annotations

import duckdb

from contracts.counts import n_of
from contracts.recommendation_tables import REC_LISTS
from contracts.surfaces import (
    CAPPED_PLACES,
    ERASED_FROM_LIST,
    FILTERS,
    NO_CANDIDATES,
    TOO_FEW_CANDIDATES,
    TOO_FEW_LEFT,
    Surface,
)
from flows.release.audit import Audited, count
from flows.release.duckdb_views import first_row

MIN_ALIKE_USERS = 50
"""Users with a history below which it says nothing that lists are the same."""
_TOP = 10
"""Places that are compared between users."""


def audited_lists(surface: Surface, check: str, found: str, passed: bool) -> Audited:
    """What a check of a surface's lists found."""
    return Audited(REC_LISTS.name, f"{surface.name}: {check}", found, passed)


def audit_policy(connection: duckdb.DuckDBPyConnection, surface: Surface) -> list[Audited]:
    """Whether lists are what the surface's policy makes of candidates."""
    audited = [_counted(connection, surface), _logged(connection, surface)]
    policy = surface.policy
    if policy.max_per_category is not None or policy.max_per_author is not None:
        audited.append(_capped(connection, surface))
    elif policy.exploration == policy.diversity == 0:
        audited.append(_by_value(connection, surface))
    return audited


def _counted(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    left = " - ".join(["n_candidates", *(f"n_{name}" for name in FILTERS)])
    n = count(connection, _MISCOUNTED.format(n_items=surface.n_items, left=left))
    return audited_lists(
        surface,
        "as many items, and the reason, as candidates and filters leave",
        f"{n_of(n, 'list')} with others",
        n == 0,
    )


_MISCOUNTED = f"""
SELECT count(*) FROM lists WHERE shortfall IS DISTINCT FROM '{ERASED_FROM_LIST}' AND (
    len(item_ids) <> least({{n_items}}, {{left}}) OR shortfall IS DISTINCT FROM CASE
        WHEN n_candidates = 0 THEN '{NO_CANDIDATES}'
        WHEN n_candidates < {{n_items}} THEN '{TOO_FEW_CANDIDATES}'
        WHEN {{left}} < {{n_items}} THEN '{TOO_FEW_LEFT}' END)"""


def _logged(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    n = count(
        connection,
        "SELECT count(*) FROM lists "
        "WHERE len(list_filter(propensities, lambda x: NOT (x > 0 AND x <= 1))) > 0",
    )
    return audited_lists(
        surface, "a propensity above 0 and at most 1", f"{n_of(n, 'list')} with others", n == 0
    )


def _by_value(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    power = surface.policy.popularity_discount
    n = count(connection, _RISING.format(power=power) if power else _UNSORTED)
    return audited_lists(
        surface, "the most valuable come first", f"{n_of(n, 'list')} in another order", n == 0
    )


_UNSORTED = "SELECT count(*) FROM lists WHERE values <> list_reverse_sort(values)"
# Powers may differ in the last bits from those that gave the order.
_RISING = """
WITH places AS (
    SELECT user_key, unnest(item_ids) AS item_id, unnest(values) AS value,
        unnest(range(len(item_ids))) AS place, starts_with(ranker_id, 'source:') AS of_a_list
    FROM lists
), discounted AS (
    SELECT user_key, place,
        value * CASE WHEN of_a_list THEN 1 ELSE pow(1 + n_users_30d, -{power}) END AS worth
    FROM places JOIN items USING (item_id)
), beside AS (
    SELECT user_key, worth, lag(worth) OVER (PARTITION BY user_key ORDER BY place) AS before
    FROM discounted
)
SELECT count(DISTINCT user_key) FROM beside WHERE worth > before * (1 + 1e-6)"""


def _capped(connection: duckdb.DuckDBPyConnection, surface: Surface) -> Audited:
    """A list may break a cap where nothing that would break none is left for the place: then what
    stands below the first places would break one, too."""
    caps = surface.policy.max_per_category, surface.policy.max_per_author
    by_category, by_author = (_NO_CAP if cap is None else cap for cap in caps)
    n = count(connection, _BREAKS_A_CAP.format(by_category=by_category, by_author=by_author))
    return audited_lists(
        surface,
        f"caps hold in the first {CAPPED_PLACES} places",
        f"{n_of(n, 'list')} that need not break one",
        n == 0,
    )


_NO_CAP = CAPPED_PLACES + 1
_BREAKS_A_CAP = f"""
WITH longer AS (SELECT user_key, item_ids FROM lists WHERE len(item_ids) > {CAPPED_PLACES}),
top AS (
    SELECT user_key, category_id, author_key
    FROM (SELECT user_key, unnest(item_ids[:{CAPPED_PLACES}]) AS item_id FROM longer)
    JOIN items USING (item_id)
), of_categories AS (
    SELECT user_key, category_id, count(*) AS n FROM top WHERE category_id IS NOT NULL
    GROUP BY ALL HAVING count(*) >= {{by_category}}
), of_authors AS (
    SELECT user_key, author_key, count(*) AS n FROM top WHERE author_key IS NOT NULL
    GROUP BY ALL HAVING count(*) >= {{by_author}}
), breaking AS (
    SELECT user_key FROM of_categories WHERE n > {{by_category}}
    UNION SELECT user_key FROM of_authors WHERE n > {{by_author}}
), below AS (
    SELECT user_key, category_id, author_key
    FROM (SELECT user_key, unnest(item_ids[{CAPPED_PLACES + 1}:]) AS item_id
          FROM longer SEMI JOIN breaking USING (user_key))
    JOIN items USING (item_id)
)
SELECT count(DISTINCT user_key) FROM below
ANTI JOIN of_categories USING (user_key, category_id)
ANTI JOIN of_authors USING (user_key, author_key)"""


def audit_difference(
    connection: duckdb.DuckDBPyConnection, surface: Surface, max_same_lists: float
) -> list[Audited]:
    """Whether lists are of users, not of everybody. Only users with a history can differ, and not
    where nothing was learnt and what is popular or new gives the order."""
    n, most = first_row(connection, _ALIKE)
    if n < MIN_ALIKE_USERS:
        return []
    return [
        audited_lists(
            surface,
            "lists differ between users",
            f"{most / n:.1%} of {n_of(n, 'user')} with a history have the same first {_TOP} items, "
            f"at most {max_same_lists:.1%} expected",
            most / n <= max_same_lists,
        )
    ]


_ALIKE = f"""
SELECT coalesce(sum(n), 0), coalesce(max(n), 0) FROM (
    SELECT count(*) AS n FROM lists
    SEMI JOIN (SELECT user_key FROM histories WHERE len(item_ids) > 0) USING (user_key)
    WHERE len(item_ids) > 0 AND NOT regexp_matches(ranker_id, '^source:(popular_|new$)')
    GROUP BY hash(item_ids[:{_TOP}]))"""
