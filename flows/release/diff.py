"""Two releases side by side: whose scores moved, how far, and what else differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb

from contracts.counts import n_of
from contracts.errors import UsageError
from contracts.table import Table
from contracts.tables import ON_BRANCH, USER_SCORES
from contracts.tasks import TASKS
from flows.lake.home_binding import open_home, open_lake
from flows.lake.iceberg import DataFile
from flows.lake.lake import Lake
from flows.release.duckdb_views import first_row, select_from
from flows.release.releases import Release, Releases
from flows.settings import NightjarSettings
from flows.storage.duckdb_connections import in_memory

NAMES = (
    "task", "users", "decile moved", "moved 2 or more", "top decile kept", "mean before",
    "mean after", "mean |shift|",
)  # fmt: skip
TABLE_NAMES = ("table", "rows before", "rows after", "only before", "only after", "other values")
_STAMPS = ("release_id", "model_id")
"""Columns that say where a row comes from: they differ from release to release."""


@dataclass(frozen=True)
class Comparison:
    """Two releases side by side."""

    title: str
    rows: tuple[tuple[Any, ...], ...]
    """Per task: users in both, share whose decile moved, overlap of the top decile, shifts."""
    tables: tuple[tuple[Any, ...], ...] = ()
    """Per other table that a process writes: rows, rows of one release alone, and rows of which
    another value is said."""
    names: tuple[str, ...] = NAMES
    table_names: tuple[str, ...] = TABLE_NAMES


def compare(settings: NightjarSettings, before: str, after: str, as_of: date | None) -> Comparison:
    """What two releases say of `as_of`, else of the newest day of each.

    Raises:
        UsageError: there is no such release, or one of them has no scores of the day.
    """
    engine = open_home(settings)
    releases, lake = Releases(engine), open_lake(settings, engine)
    chosen = releases.named(before), releases.named(after)
    days = (as_of or chosen[0].as_of, as_of or chosen[1].as_of)
    scores = [_scores(lake, release, day) for release, day in zip(chosen, days, strict=True)]
    only_before, only_after, rows = moved_scores(*scores)
    title = (
        f"{chosen[0].release_id} ({days[0]}, model {chosen[0].model_id}) against "
        f"{chosen[1].release_id} ({days[1]}, model {chosen[1].model_id}); "
        f"{n_of(only_before, 'user')} only before, {only_after:,} only after"
    )
    tables = [
        _table(released.table, *(
            [file.path for file in _files(lake, released.table, release, day)]
            for release, day in zip(chosen, days, strict=True)
        ))
        for released in ON_BRANCH
        if released.table is not USER_SCORES
        and any(released.table.name in release.snapshots for release in chosen)
    ]  # fmt: skip
    return Comparison(title, rows, tuple(tables))


def moved_scores(
    before: Sequence[str], after: Sequence[str]
) -> tuple[int, int, tuple[tuple[Any, ...], ...]]:
    """Users of one side alone, and the tasks that both score, of the files of a day of each.

    Files of before a task was declared lack its columns: it is not compared then.
    """
    with in_memory() as connection:
        for name, paths in (("a", before), ("b", after)):
            connection.execute(f"CREATE VIEW {name} AS {select_from(USER_SCORES, paths)}")
        return *_only(connection, ("user_key",)), tuple(_tasks(connection))


def _tasks(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Of the views `a` and `b`, task by task: users whose scores moved, and how far."""
    rows = []
    for task in TASKS:
        first = task.score_columns()[0]
        if not first.is_float:
            continue
        moved = first_row(connection, _COMPARED.format(score=first.name, rank=task.percentile))
        if moved[0]:
            # Where many share one score, the top decile may be empty.
            shares = ("none" if moved[i] is None else f"{moved[i]:.1%}" for i in (1, 2, 3))
            rows.append((task.name, moved[0], *shares, *(f"{x:.4g}" for x in moved[4:])))
    return rows


def _table(table: Table, before: Sequence[str], after: Sequence[str]) -> tuple[Any, ...]:
    """A table's rows of two days, told apart by their grain but for the day."""
    keys = tuple(name for name in table.grain if name != table.day)
    values = [name for name in table.names if name not in (*table.grain, table.day, *_STAMPS)]
    differs = " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in values) or "false"
    with in_memory() as connection:
        for name, paths in (("a", before), ("b", after)):
            connection.execute(f"CREATE VIEW {name} AS {select_from(table, paths)}")
        n = [first_row(connection, f"SELECT count(*) FROM {name}")[0] for name in ("a", "b")]
        only = _only(connection, keys)
        joined = f"a JOIN b USING ({', '.join(keys)})" if keys else "a CROSS JOIN b"
        (other,) = first_row(connection, f"SELECT count(*) FROM {joined} WHERE {differs}")
    return (table.name, *n, *only, other)


def _only(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> tuple[int, int]:
    """Rows of `a` that are not in `b`, and of `b` that are not in `a`."""
    if not keys:
        return 0, 0
    a, b = (
        first_row(connection, f"SELECT count(*) FROM {x} ANTI JOIN {y} USING ({', '.join(keys)})")[
            0
        ]
        for x, y in (("a", "b"), ("b", "a"))
    )
    return int(a), int(b)


def _scores(lake: Lake, release: Release, day: date) -> list[str]:
    files = _files(lake, USER_SCORES, release, day)
    if not files:
        raise UsageError(f"release {release.release_id} has no scores as of {day}")
    return [file.path for file in files]


def _files(lake: Lake, table: Table, release: Release, day: date) -> tuple[DataFile, ...]:
    """Files of a day of a table in a release, which may be older than the table."""
    snapshot = release.snapshots.get(table.name)
    if snapshot is None:
        return ()
    return lake.files(table, day, day + timedelta(days=1), snapshot=snapshot)


_COMPARED = """
SELECT count(*), avg((da <> db)::INT), avg((abs(da - db) >= 2)::INT),
       sum((da = 9 AND db = 9)::INT) / nullif(sum((da = 9)::INT), 0),
       avg(sa), avg(sb), avg(abs(sa - sb))
FROM (
    SELECT least(floor(a.{rank} * 10), 9) AS da, least(floor(b.{rank} * 10), 9) AS db,
           a.{score}::DOUBLE AS sa, b.{score}::DOUBLE AS sb
    FROM a JOIN b USING (user_key)
    WHERE a.{score} IS NOT NULL AND b.{score} IS NOT NULL)"""
