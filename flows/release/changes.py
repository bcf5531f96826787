"""What an analyst finds changed in a release beside the one that it replaces: tables, columns,
tasks, definitions and rows. Everything is read from rows of releases, catalogue and ends of
files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from contracts.table import Table
from contracts.tables import RELEASED_TABLES
from flows.lake.lake import Lake
from flows.release.releases import Release
from flows.storage.parquet_files import read_schema
from jobs.stage import Job
from jobs.stages import JOBS

TASKS, DEFINITIONS = "tasks", "definitions"
NEWEST_DAYS = timedelta(days=40)
"""A table's columns are those of its newest file of so many days before a release."""


@dataclass(frozen=True)
class Shape:
    """A table in a release."""

    columns: tuple[tuple[str, str], ...]
    """Name and type, as its newest file has them; empty if there is none."""
    rows: int


@dataclass(frozen=True)
class Changes:
    """A release beside the one that it replaces."""

    before: str
    """The release that it replaces, and that one's newest day."""
    before_as_of: date
    tables_added: tuple[str, ...] = ()
    tables_gone: tuple[str, ...] = ()
    columns_added: tuple[str, ...] = ()
    """`table.column`."""
    columns_gone: tuple[str, ...] = ()
    columns_retyped: tuple[str, ...] = ()
    """`table.column: type before to type now`."""
    tasks_added: tuple[str, ...] = ()
    """Scored by a model now, and not before."""
    tasks_withheld: tuple[str, ...] = ()
    """Scored by a model before, and not now."""
    redefined: tuple[str, ...] = ()
    """Tables whose rows are computed by other code than those of the release before."""
    not_known: tuple[str, ...] = ()
    """What of the release before nobody has written down: its tasks, its definitions."""
    rows: Mapping[str, tuple[int, int]] | None = None
    """Table to its rows before and now; None where the release before is no longer kept."""

    @property
    def moved_rows(self) -> dict[str, tuple[int, int]]:
        """Tables that have another number of rows now."""
        return {name: n for name, n in (self.rows or {}).items() if n[0] != n[1]}


def changes(lake: Lake, before: Release, now: Release) -> Changes:
    """What differs for whoever reads the tables.

    Args:
        lake: what holds both.
        before: the release that is replaced.
        now: the one that replaces it.
    """
    were, are = before.tasks, now.tasks
    has_tasks = were is not None and are is not None
    has_codes = before.codes is not None and now.codes is not None
    known = [{t.name for t in RELEASED_TABLES if t.name in r.snapshots} for r in (before, now)]
    shapes = [shapes_of(lake, release) for release in (before, now)]
    both = [] if None in shapes else [shape for shape in shapes if shape is not None]
    columns = columns_changed(*both) if both else ((), (), ())
    return Changes(
        before.release_id,
        before.as_of,
        tables_added=_in_order(known[1] - known[0]),
        tables_gone=_in_order(known[0] - known[1]),
        columns_added=columns[0],
        columns_gone=columns[1],
        columns_retyped=columns[2],
        tasks_added=tuple(name for name in are or () if has_tasks and name not in (were or ())),
        tasks_withheld=tuple(name for name in were or () if has_tasks and name not in (are or ())),
        redefined=redefined(before.codes or {}, now.codes or {}),
        not_known=(*(() if has_tasks else (TASKS,)), *(() if has_codes else (DEFINITIONS,))),
        rows={name: (both[0][name].rows, both[1][name].rows) for name in both[0] if name in both[1]}
        if both
        else None,
    )


def columns_changed(
    before: Mapping[str, Shape], now: Mapping[str, Shape]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Columns that came, went, and have another type, of tables that have rows in both."""
    added, gone, retyped = [], [], []
    for name, shape in before.items():
        old, new = dict(shape.columns), dict(now[name].columns if name in now else ())
        if not old or not new:
            continue
        added += [f"{name}.{column}" for column in new if column not in old]
        gone += [f"{name}.{column}" for column in old if column not in new]
        retyped += [
            f"{name}.{column}: {old[column]} to {new[column]}"
            for column in new
            if column in old and old[column] != new[column]
        ]
    return tuple(added), tuple(gone), tuple(retyped)


def redefined(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Released tables whose stage was computed last by other code than before.

    Args:
        before: stage to the hash of its code, when the release before was published.
        now: the same of the release that replaces it.
    """
    other = {stage for stage, code in now.items() if before.get(stage, code) != code}
    return _in_order(
        table.name
        for job in JOBS
        if isinstance(job, Job) and job.name in other
        for table in job.writes
    )


def shapes_of(lake: Lake, release: Release) -> dict[str, Shape] | None:
    """The tables of a release; None where one of its snapshots is no longer kept."""
    shapes = {}
    for table in RELEASED_TABLES:
        snapshot = release.snapshots.get(table.name)
        if snapshot is None:
            continue
        rows = lake.n_rows(table, snapshot)
        if rows is None:
            return None
        shapes[table.name] = Shape(_columns(lake, table, release.as_of, snapshot), rows)
    return shapes


def _columns(lake: Lake, table: Table, as_of: date, snapshot: int) -> tuple[tuple[str, str], ...]:
    span = (as_of - NEWEST_DAYS, as_of + timedelta(days=1))
    files = lake.files(table, *span, snapshot=snapshot)
    if not files:
        return ()
    schema = read_schema(max(file.path for file in files))  # a path begins with its run's start
    return tuple((field.name, str(field.type)) for field in schema)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Released tables in the order in which analysts are shown them."""
    wanted = set(names)
    return tuple(table.name for table in RELEASED_TABLES if table.name in wanted)
