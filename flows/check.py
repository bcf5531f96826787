"""A mapping tried on raw files: what a night would keep, drop and why, in seconds, without a home.

It lands and cleans as a night does, in a folder that is gone afterwards.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from pyspark.sql import SparkSession

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import midnight_before, parse_day
from contracts.history import Learnable, LearningDays, learnable
from contracts.table import CallError, ContractError, Table
from contracts.tables import LANDED, QUARANTINE
from contracts.tasks import TASKS, enabled_tasks
from flows.analysts import select_from
from flows.quarantine import masked
from flows.settings import NightjarSettings
from flows.stopping import undone_when_stopped
from jobs.analysis import check_expressions
from jobs.run import Result, run_job, run_landing
from jobs.session import start_session
from jobs.sources import RawFile, Source, SourceMapping, files_before, read_mapping
from jobs.stages import Settings, job_named
from jobs.user_key import UserKey

FIRST_ROWS = 1000
MAX_FILES = 300
"""Files that are looked into, of all sources together, where not all rows are asked for."""
SAMPLES = 2
"""Rows that are shown of a reason."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """A row that was dropped: where it lies, and its fields with letters and digits hidden."""

    place: str
    fields: str


@dataclass(frozen=True)
class Reason:
    """Why rows of a table were dropped."""

    text: str
    rows: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class CheckedTable:
    """What became of the rows meant for a clean table."""

    name: str
    rows_in: int
    clean: int
    duplicate: int
    quarantined: int
    reasons: tuple[Reason, ...]
    """The most frequent first."""
    users: int | None
    """Distinct keys among clean rows; None where rows are about nobody."""
    first: datetime | None
    last: datetime | None
    """Of `occurred_at` among clean rows."""


@dataclass(frozen=True)
class CheckedSource:
    """What was looked at of a source."""

    name: str
    files: int
    files_read: int
    rows: int
    first_day: date | None
    """On which a row landed, as far as it was looked at; of all files where their names say it."""
    too_late: int
    """Rows that land on `as_of` or later, so that a night does not see them yet."""


@dataclass(frozen=True)
class Checked:
    """What a night as of `as_of` would make of raw files, or of the first rows of each."""

    as_of: date
    max_rows: int | None
    sources: tuple[CheckedSource, ...]
    tables: tuple[CheckedTable, ...]
    tasks: tuple[Learnable, ...]
    """Tasks whose sources the mapping has: whether they can be learnt, and from when."""
    switched_off: tuple[tuple[str, str], ...]
    """Other tasks, and the tables that they lack."""

    @property
    def first_day(self) -> date | None:
        return min((s.first_day for s in self.sources if s.first_day is not None), default=None)


def of_settings(settings: NightjarSettings, as_of: str | None, max_rows: int | None) -> Checked:
    """Try the mapping on the first `max_rows` rows of each raw file, or on all.

    Raises:
        ContractError: what would stop a night before or while it cleans.
    """
    if settings.source is None or settings.raw is None:
        raise CallError(
            "a check needs a mapping and a folder of raw files: --source MAPPING.toml --raw DIR"
        )
    day = midnight_before(datetime.now(UTC)) if as_of is None else parse_day(as_of, "--as-of")
    mapping = read_mapping(settings.source)
    if not settings.raw.is_dir():
        raise CallError(f"{settings.raw}: no such folder of raw files")
    files = files_before(mapping, settings.raw.absolute(), day)
    with (
        tempfile.TemporaryDirectory(prefix="nightjar-check-") as folder,
        undone_when_stopped(partial(shutil.rmtree, folder, ignore_errors=True)),
    ):
        spark = start_session(settings.spark, Path(folder))
        try:
            return tried(spark, mapping, files, day, max_rows, Path(folder), settings.learning_days)
        finally:
            spark.stop()


def tried(
    spark: SparkSession,
    mapping: SourceMapping,
    files: dict[str, tuple[RawFile, ...]],
    as_of: date,
    max_rows: int | None,
    folder: Path,
    learning: LearningDays,
) -> Checked:
    """The same in a session and a folder that are there already."""
    settings = Settings(mapping, UserKey(secrets.token_bytes(32)), known_until=as_of)
    check_expressions(spark, mapping)
    chosen = files if max_rows is None else sampled(files)
    landings = dict(
        zip(
            files,
            _together(
                lambda s: _landed(spark, s, chosen[s.name], max_rows, folder), mapping.sources
            ),
            strict=True,
        )
    )
    tables = [table for table in CLEAN_TABLES if table.name in mapping.mapped_tables]
    made = _together(
        lambda table: _cleaned(spark, settings, table, landings, as_of, folder), tables
    )
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        checked = tuple(
            _counted(connection, table, result, landings)
            for table, result in zip(tables, made, strict=True)
        )
    sources = tuple(
        _source(s, files[s.name], chosen[s.name], landings[s.name], as_of) for s in mapping.sources
    )
    tasks = enabled_tasks(mapping.mapped_tables)
    off = tuple(
        (task.name, ", ".join(sorted(set(task.needs) - mapping.mapped_tables)))
        for task in TASKS
        if task not in tasks
    )
    found = Checked(as_of, max_rows, sources, checked, (), off)
    if found.first_day is None or found.first_day >= as_of:
        return found
    return replace(found, tasks=learnable(tasks, found.first_day, as_of, learning))


def sampled(
    files: dict[str, tuple[RawFile, ...]], max_files: int = MAX_FILES
) -> dict[str, tuple[RawFile, ...]]:
    """So many files that a look into each is quick: of each source spread evenly, both ends in."""
    each = max(2, max_files // max(len(files), 1))
    return {
        name: found
        if len(found) <= each
        else tuple(found[i * (len(found) - 1) // (each - 1)] for i in range(each))
        for name, found in files.items()
    }


T = TypeVar("T")
R = TypeVar("R")


def _together(work: Callable[[T], R], of: Sequence[T]) -> list[R]:
    """The results of work done at the same time, in order.

    Raises:
        ContractError: with all that stopped it, not the first alone.
    """
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(work, each) for each in of]
    errors = [error for future in futures if (error := future.exception()) is not None]
    others = [error for error in errors if not isinstance(error, ContractError)]
    if others:
        raise others[0]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ContractError("\n".join(dict.fromkeys(str(error) for error in errors)))
    return [future.result() for future in futures]


def _landed(
    spark: SparkSession,
    source: Source,
    files: Sequence[RawFile],
    max_rows: int | None,
    folder: Path,
) -> Result:
    days = sorted({file.landed_on for file in files if file.landed_on is not None})
    where = f"{folder}/landed/{source.name}"
    return run_landing(spark, source, files, days, where, max_rows=max_rows)


def _cleaned(
    spark: SparkSession,
    settings: Settings,
    table: Table,
    landings: dict[str, Result],
    as_of: date,
    folder: Path,
) -> Result:
    days: set[date] = set()
    paths: set[str] = set()
    for source, _ in settings.mapping.feeding(table.name):
        for day, written in landings[source.name].written[LANDED.name].items():
            if day < as_of:
                days.add(day)
                paths.update(written.files)
    job = job_named(f"clean_{table.name}")
    return run_job(
        spark, job, {LANDED.name: sorted(paths)}, sorted(days), f"{folder}/clean", settings
    )


def _files(result: Result, table: Table) -> list[str]:
    written = result.written.get(table.name, {}).values()
    return sorted({path for day in written for path in day.files})


def _counted(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    result: Result,
    landings: dict[str, Result],
) -> CheckedTable:
    total = {
        name: sum(row[f"n_{name}"] for row in result.reconciled)
        for name in ("in", "clean", "duplicate", "quarantined")
    }
    users = "count(DISTINCT user_key)" if "user_key" in table.names else "NULL"
    kept = connection.execute(
        f"SELECT {users}, min(epoch_us(occurred_at)), max(epoch_us(occurred_at)) "
        f"FROM ({select_from(table, _files(result, table))})"
    ).fetchone()
    n_users, first, last = kept or (None, None, None)
    return CheckedTable(
        table.name,
        total["in"],
        total["clean"],
        total["duplicate"],
        total["quarantined"],
        _reasons(connection, result, landings),
        n_users,
        _moment(first),
        _moment(last),
    )


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def _reasons(
    connection: duckdb.DuckDBPyConnection, result: Result, landings: dict[str, Result]
) -> tuple[Reason, ...]:
    paths = _files(result, QUARANTINE)
    if not paths:
        return ()
    landed = [path for landing in landings.values() for path in _files(landing, LANDED)]
    connection.execute(f"CREATE OR REPLACE TEMP VIEW dropped AS {select_from(QUARANTINE, paths)}")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW landed AS {select_from(LANDED, landed)}")
    counts = connection.execute(
        "SELECT reason, count(*) FROM dropped GROUP BY reason ORDER BY 2 DESC, 1"
    ).fetchall()
    rows = connection.execute(
        """
        WITH shown AS (
            SELECT *, row_number() OVER (PARTITION BY reason ORDER BY file, line) AS n
            FROM dropped QUALIFY n <= ?)
        SELECT s.reason, s.file, s.line, l.fields
        FROM shown s LEFT JOIN landed l
            ON l.source = s.source AND l.file = s.file AND l.line = s.line
        ORDER BY s.reason, s.n""",
        [SAMPLES],
    ).fetchall()
    return tuple(
        Reason(
            reason,
            n,
            tuple(
                Sample(f"{file}:{line}", _hidden(fields))
                for why, file, line, fields in rows
                if why == reason
            ),
        )
        for reason, n in counts
    )


def _hidden(fields: Sequence[str | None] | None) -> str:
    if fields is None:
        return "could not be decoded"
    return " | ".join("" if field is None else masked(field) for field in fields)


def _source(
    source: Source,
    files: Sequence[RawFile],
    read: Sequence[RawFile],
    landing: Result,
    as_of: date,
) -> CheckedSource:
    written = landing.written[LANDED.name]
    days = {day for day, of in written.items() if of.rows}
    days |= {file.landed_on for file in files if file.landed_on is not None}
    return CheckedSource(
        source.name,
        len(files),
        len(read),
        sum(of.rows for of in written.values()),
        min(days, default=None),
        sum(of.rows for day, of in written.items() if day >= as_of),
    )


def as_json(found: Checked) -> dict[str, Any]:
    """For programs."""
    return {
        "as_of": found.as_of.isoformat(),
        "rows": "all" if found.max_rows is None else found.max_rows,
        "sources": {
            s.name: {
                "files": s.files,
                "files_read": s.files_read,
                "rows": s.rows,
                "not_before_as_of": s.too_late,
            }
            for s in found.sources
        },
        "tables": {
            t.name: {
                "in": t.rows_in,
                "clean": t.clean,
                "duplicate": t.duplicate,
                "quarantined": t.quarantined,
                "reasons": {reason.text: reason.rows for reason in t.reasons},
                "users": t.users,
                "first": _iso(t.first),
                "last": _iso(t.last),
            }
            for t in found.tables
        },
        "tasks": {
            f.task.name: {
                "can_be_learnt": f.split is not None,
                "from": f.from_day and f.from_day.isoformat(),
            }
            for f in found.tasks
        },
        "switched_off": dict(found.switched_off),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
