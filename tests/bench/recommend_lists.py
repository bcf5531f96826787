"""Lists and candidates of a home as of a cut, in the numbers of a question of the protocol.

Letters: E judged users, K places.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from contracts.days import ONE_DAY
from contracts.recommendation_tables import (
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_LISTS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.table import Table
from flows.lake.lake import Lake
from flows.release.parquet_views import read_files
from flows.release.releases import Releases
from flows.state.schema import open_database
from flows.storage.duckdb_connections import in_memory
from models.ranking.metrics import Array
from tests.bench.recommend_protocol import Question


def lists_of(home: Path, surface: str, cut: date, question: Question) -> Array:
    """(E, K) what the current release shows."""
    release = Releases(open_database(f"sqlite:///{home / 'nightjar.db'}")).current()
    snapshot = release.snapshots.get(REC_LISTS.name) if release is not None else None
    asked = REC_LISTS, ("user_key", "item_ids"), surface, cut
    rows = _rows(home, *asked, snapshot) if snapshot is not None else []
    lists = question.lists_of([row[0] for row in rows], [row[1] for row in rows])
    return question.masked_first(lists) if question.masks_all else lists


def candidates_of(home: Path, surface: str, cut: date, question: Question) -> dict[str, Array]:
    """(E, K) every list that users have, by its source, best first, without what is masked: their
    own, and those that are popular or new, to all and in their country and category."""
    columns = "user_key", "item_ids", "source"
    by_source: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for table in (REC_CANDIDATES, REC_RETRIEVED):
        for user, items, source in _rows(home, table, columns, surface, cut, None, "fold = 0"):
            by_source.setdefault(source, []).append((user, items))
    columns = "user_key", "country", "favourite_category"
    users = _rows(home, REC_HISTORIES, columns, surface, cut, None, "fold = 0")
    columns = "segment", "source", "item_ids"
    popular = _rows(home, REC_POPULAR, columns, surface, cut, None)
    judged = {*question.keys}
    by_source |= popular_of([user for user in users if user[0] in judged], popular)
    return {
        source: question.masked_first(
            question.lists_of([user for user, _ in rows], [items for _, items in rows])
        )
        for source, rows in sorted(by_source.items())
    }


def popular_of(
    users: Sequence[tuple[str, str | None, str | None]],
    popular: Sequence[tuple[str, str, Sequence[str]]],
) -> dict[str, list[tuple[str, Sequence[str]]]]:
    """What is popular or new, by source and for whom: users with the list of everybody, of their
    country, and of their category.

    Args:
        users: with country and favourite category.
        popular: segment, source and items.
    """
    lists: dict[str, dict[str, Sequence[str]]] = {}
    for segment, source, items in popular:
        whose, _, _ = segment.partition("=")
        name = source if whose == "all" else f"{source}_{whose}"
        lists.setdefault(name, {})[segment] = items
    return {
        name: [
            (user, of_segment[segment])
            for user, country, category in users
            for segment in ("all", f"country={country}", f"category={category}")
            if segment in of_segment
        ]
        for name, of_segment in lists.items()
    }


def _rows(
    home: Path,
    table: Table,
    columns: Sequence[str],
    surface: str,
    cut: date,
    snapshot: int | None,
    where: str = "true",
) -> list[tuple[Any, ...]]:
    """Some columns of each row of a surface as of a day."""
    files = Lake(home / "lake").files(table, cut, cut + ONE_DAY, snapshot=snapshot)
    if not files:
        return []
    with in_memory() as connection:
        read_files(connection, [file.path for file in files]).create_view("files")
        return connection.execute(
            f"SELECT {', '.join(columns)} FROM files "
            f"WHERE surface = ? AND as_of = ? AND {where} ORDER BY ALL",
            [surface, cut],
        ).fetchall()
