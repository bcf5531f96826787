"""What the current release shows to whom: one user's lists, one item's audience, and how wide the
lists of a surface are; all of the newest day that has any."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import UsageError
from contracts.recommendation_tables import RANKER_EVENTS, REC_ITEMS, REC_LISTS, RECOMMENDATIONS
from contracts.surfaces import FILTERS, SURFACES, surface_named
from flows.release.duckdb_views import reading

TOP = 10
"""Places of a list that figures are about."""

_NEWEST_LISTS = f"(SELECT max(as_of) FROM {REC_LISTS.name})"


@dataclass(frozen=True)
class Place:
    """One item of a list."""

    position: int
    item_id: str
    title: str | None
    value: float
    probabilities: Mapping[str, float]
    """Event to its probability; without those that the surface does not predict."""
    sources: str
    because: str | None
    because_title: str | None

    @property
    def kinds_of_sources(self) -> tuple[str, ...]:
        """Sources, of whatever half-life is popular once."""
        names = (re.sub(r"_\d+d", "", source) for source in self.sources.split(","))
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class UserList:
    """What a user is shown on a surface, and why not more."""

    surface: str
    places: tuple[Place, ...]
    n_items: int
    n_candidates: int
    left_out: Mapping[str, int]
    """Filter to the candidates that it left out; without those that left out none."""
    shortfall: str | None


@dataclass(frozen=True)
class Width:
    """How much of what could be shown a surface shows, in the first `TOP` places of all lists."""

    surface: str
    n_lists: int
    n_short: int
    """Lists with fewer items than asked."""
    n_items: int
    """What could be shown."""
    n_shown: int
    coverage: float
    """Share of what could be shown that is shown to anybody."""
    gini: float
    """Gini coefficient of how often each is shown: 0, all equally often; near 1, only one."""
    most_shown: tuple[tuple[str, str | None, int], ...]
    """Item, its title, and the users whom it is shown to; the most first."""


@dataclass(frozen=True)
class Audience:
    """Whom an item is shown to on a surface."""

    surface: str
    item_id: str
    title: str | None
    n_users: int
    n_users_top: int
    """Users who have it in the first `TOP` places."""
    mean_position: float
    users: tuple[tuple[str, int, float], ...]
    """User, position and value: those who have it highest."""


def user_lists(
    database: Path, user_key: str, surface: str | None = None, n: int = TOP
) -> tuple[UserList, ...]:
    """The lists of a user, of each surface in the order of the contracts.

    Args:
        database: the release's file of views.
        user_key: whose.
        surface: of this one only.
        n: places to give of each.

    Raises:
        UsageError: there is no such surface.
        ContractError: nothing has been released yet.
    """
    if surface is not None:
        surface_named(surface)
    lists = _rows(
        database,
        f"SELECT * EXCLUDE (item_ids), len(item_ids) AS n_items FROM {REC_LISTS.name} "
        f"WHERE user_key = ? AND as_of = {_NEWEST_LISTS}",
        [user_key],
    )
    places = _rows(
        database,
        f"SELECT * FROM {RECOMMENDATIONS.name} WHERE user_key = ? AND position <= ? "
        f"AND as_of = {_NEWEST_LISTS} ORDER BY position",
        [user_key, n],
    )
    by_surface = {row["surface"]: row for row in lists}
    return tuple(
        _user_list(by_surface[s.name], [row for row in places if row["surface"] == s.name])
        for s in SURFACES
        if s.name in by_surface and surface in (None, s.name)
    )


def _user_list(of_list: Mapping[str, Any], places: Sequence[Mapping[str, Any]]) -> UserList:
    return UserList(
        of_list["surface"],
        tuple(
            Place(
                row["position"],
                row["item_id"],
                row["title"],
                row["value"],
                {e: row[f"p_{e}"] for e in RANKER_EVENTS if row[f"p_{e}"] is not None},
                row["sources"],
                row["because"],
                row["because_title"],
            )
            for row in places
        ),
        of_list["n_items"],
        of_list["n_candidates"],
        {name: of_list[f"n_{name}"] for name in FILTERS if of_list[f"n_{name}"]},
        of_list["shortfall"],
    )


def widths(database: Path, n_most_shown: int = 10) -> tuple[Width, ...]:
    """How wide the lists of each surface are, that has any.

    Raises:
        ContractError: nothing has been released yet.
    """
    lists = _rows(
        database,
        f"SELECT surface, count(*) AS n_lists, count(shortfall) AS n_short FROM {REC_LISTS.name} "
        f"WHERE as_of = {_NEWEST_LISTS} GROUP BY surface",
    )
    by_surface = {row["surface"]: row for row in lists}
    return tuple(
        _width(database, by_surface[s.name], n_most_shown) for s in SURFACES if s.name in by_surface
    )


_SHOWN = f"""
    SELECT item_id, any_value(title) AS title, count(*) AS n FROM {RECOMMENDATIONS.name}
    WHERE surface = $surface AND position <= {TOP} AND as_of = {_NEWEST_LISTS} GROUP BY item_id"""


def _width(database: Path, of_lists: Mapping[str, Any], n_most_shown: int) -> Width:
    """Gini: (2 sum of i x_i) / (n sum of x) - (n + 1) / n, of the n counts x in rising order."""
    surface = {"surface": of_lists["surface"]}
    (row,) = _rows(
        database,
        f"""
        WITH shown AS ({_SHOWN}), counted AS (
            SELECT coalesce(n, 0) AS n, row_number() OVER (ORDER BY coalesce(n, 0)) AS i
            FROM (SELECT item_id FROM {REC_ITEMS.name} WHERE surface = $surface
                  AND available AND as_of = {_NEWEST_LISTS}) LEFT JOIN shown USING (item_id))
        SELECT count(*) AS n_items, count_if(n > 0) AS n_shown,
            2 * sum(i * n) / nullif(count(*) * sum(n), 0) - (count(*) + 1) / count(*) AS gini
        FROM counted""",
        surface,
    )
    most = _rows(database, f"{_SHOWN} ORDER BY n DESC, item_id LIMIT {int(n_most_shown)}", surface)
    n_items, n_shown = row["n_items"], row["n_shown"] or 0  # of no item, null
    return Width(
        of_lists["surface"],
        of_lists["n_lists"],
        of_lists["n_short"],
        n_items,
        n_shown,
        n_shown / n_items if n_items else 0.0,
        row["gini"] or 0.0,
        tuple((item["item_id"], item["title"], item["n"]) for item in most),
    )


def audience(database: Path, surface: str, item_id: str, n_users: int = 20) -> Audience:
    """Whom an item is shown to.

    Raises:
        UsageError: there is no such surface, or nobody is shown such an item on it.
        ContractError: nothing has been released yet.
    """
    surface_named(surface)
    of_item = f"surface = ? AND item_id = ? AND as_of = {_NEWEST_LISTS}"
    given = [surface, item_id]
    (row,) = _rows(
        database,
        f"SELECT any_value(title) AS title, count(*) AS n, count_if(position <= {TOP}) AS top, "
        f"avg(position) AS position FROM {RECOMMENDATIONS.name} WHERE {of_item}",
        given,
    )
    if not row["n"]:
        raise UsageError(f"Nobody is shown {item_id} on {surface}.")
    users = _rows(
        database,
        f"SELECT user_key, position, value FROM {RECOMMENDATIONS.name} WHERE {of_item} "
        f"ORDER BY position, value DESC, user_key LIMIT {int(n_users)}",
        given,
    )
    return Audience(
        surface,
        item_id,
        row["title"],
        row["n"],
        row["top"],
        row["position"],
        tuple((u["user_key"], u["position"], u["value"]) for u in users),
    )


def _rows(
    database: Path, sql: str, given: Sequence[Any] | Mapping[str, Any] = ()
) -> list[dict[str, Any]]:
    with reading(database) as connection:
        cursor = connection.execute(sql, given if isinstance(given, Mapping) else list(given))
        names = [d[0] for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
