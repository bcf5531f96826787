"""Lists and candidates of a home as of a cut, in the numbers of a question of the protocol.

Letters: E judged users, K places.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from contracts.days import ONE_DAY
from contracts.recommendation_tables import REC_CANDIDATES, REC_LISTS, REC_RETRIEVED
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
    rows = _rows(home, REC_LISTS, surface, cut, snapshot) if snapshot is not None else []
    lists = question.lists_of([row[0] for row in rows], [row[1] for row in rows])
    return question.masked_first(lists) if question.masks_all else lists


def candidates_of(home: Path, surface: str, cut: date, question: Question) -> dict[str, Array]:
    """(E, K) what each source gives, best first, without what is masked."""
    by_source: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for table in (REC_CANDIDATES, REC_RETRIEVED):
        for user, items, source in _rows(home, table, surface, cut, None, ", source", "fold = 0"):
            by_source.setdefault(source, []).append((user, items))
    return {
        source: question.masked_first(
            question.lists_of([user for user, _ in rows], [items for _, items in rows])
        )
        for source, rows in sorted(by_source.items())
    }


def _rows(
    home: Path,
    table: Table,
    surface: str,
    cut: date,
    snapshot: int | None,
    more: str = "",
    where: str = "true",
) -> list[tuple[str, ...]]:
    """User, items and more of each row of a surface as of a day."""
    files = Lake(home / "lake").files(table, cut, cut + ONE_DAY, snapshot=snapshot)
    if not files:
        return []
    with in_memory() as connection:
        read_files(connection, [file.path for file in files]).create_view("files")
        return connection.execute(
            f"SELECT user_key, item_ids{more} FROM files "
            f"WHERE surface = ? AND as_of = ? AND {where} ORDER BY ALL",
            [surface, cut],
        ).fetchall()
