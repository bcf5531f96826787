"""A mapping tried on raw files: what a night would keep, drop and why, in seconds, without a home.

It lands and cleans as a night does, in a folder that is gone afterwards.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import duckdb
from pyspark.sql import SparkSession

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import midnight_before, parse_day
from contracts.errors import ContractError, NightjarError
from contracts.history import Trainable, TrainingDays, first_days_of, trainable
from contracts.table import Table
from contracts.tables import LANDED, QUARANTINE
from contracts.tasks import TASKS, Task, lacking
from flows.lifecycle.signals import cleaned_up_when_stopped
from flows.mapping_check.expected_night import (
    files_of,
    is_cut_off,
    over_the_limits,
    tasks_with_too_few,
)
from flows.mapping_check.raw_files import (
    absent_from_first,
    absent_keys,
    files_cut_off,
    ids_with_decimals,
)
from flows.mapping_check.result import (
    Checked,
    CheckedLookup,
    CheckedSource,
    CheckedTable,
    Reason,
    Sample,
)
from flows.monitor.null_like_ids import NullLike, summed
from flows.monitor.quarantine import NO_LIMITS, RECENT_DAYS, Limits, place, shape
from flows.release.duckdb_views import select_from
from flows.settings import NightjarSettings
from flows.storage.duckdb_connections import BESIDE_SPARK, in_memory
from jobs.cleaning.mapping_analysis import check_expressions
from jobs.landing.landing import NEVER
from jobs.landing.lookup_files import read_whole
from jobs.landing.raw_folder import files_before
from jobs.mapping.sources import RawFile, Source, SourceMapping
from jobs.run import Result, run_job, run_landing
from jobs.spark.session import start_session
from jobs.stage import Settings
from jobs.stages import job_named
from jobs.values.user_key import UserKey

FIRST_ROWS = 1000
MAX_FILES = 75
"""Files that are looked into, of all sources together, where not all rows are asked for."""
SAMPLES = 2
"""Rows that are shown of a reason."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def of_settings(settings: NightjarSettings, as_of: str | None, max_rows: int | None) -> Checked:
    """Try the mapping on the first `max_rows` rows of each raw file, or on all.

    Raises:
        ContractError: what would stop a night before or while it cleans.
    """
    source, raw = settings.raw_logs("a check")
    today = midnight_before(datetime.now(UTC))
    # Of tonight: what says a day that has not begun anywhere is mistaken, and waits for no night.
    before = today + timedelta(days=2) if as_of is None else NEVER
    day = None if as_of is None else parse_day(as_of, "--as-of")
    mapping = read_whole(source, raw, day or today)
    gaps: list[str] = []
    if day is None:
        day = day_after(mapping, files_before(mapping, raw, today, []), today)
    files = files_before(mapping, raw, day, gaps)
    with (
        tempfile.TemporaryDirectory(prefix="nightjar-check-") as folder,
        cleaned_up_when_stopped(partial(shutil.rmtree, folder, ignore_errors=True)),
    ):
        spark = start_session(settings.spark, Path(folder), max_rows is not None)
        try:
            checked = tried(
                spark,
                mapping,
                files,
                day,
                max_rows,
                Path(folder),
                settings.training_days,
                Limits.of(settings),
                settings.train.evaluation.min_rows,
                before,
            )
            return replace(checked, gaps=tuple(gap.strip() for gap in gaps))
        finally:
            spark.stop()


def day_after(mapping: SourceMapping, files: dict[str, tuple[RawFile, ...]], today: date) -> date:
    """The first midnight that sees all files whose names say their days; `today` where days stand
    within files."""
    if any(source.landed_on is not None for source in mapping.sources):
        return today
    days = [file.landed_on for of_source in files.values() for file in of_source if file.landed_on]
    return min(max(days) + timedelta(days=1), today) if days else today


def tried(
    spark: SparkSession,
    mapping: SourceMapping,
    files: dict[str, tuple[RawFile, ...]],
    as_of: date,
    max_rows: int | None,
    folder: Path,
    learning: TrainingDays,
    limits: Limits = NO_LIMITS,
    min_rows: int = 0,
    before: date = NEVER,
) -> Checked:
    """The same in a session and a folder that are there already; no row lands but `before`."""
    settings = Settings(mapping, UserKey(secrets.token_bytes(32)), known_until=as_of)
    check_expressions(spark, mapping)
    chosen = files if max_rows is None else sampled(files)
    of_sources = _together(
        lambda s: _landed(spark, s, chosen[s.name], max_rows, before, folder), mapping.sources
    )
    landings = dict(zip(files, of_sources, strict=True))
    tables = [table for table in CLEAN_TABLES if table.name in mapping.mapped_tables]
    results = _together(
        lambda table: _cleaned(spark, settings, table, landings, as_of, folder), tables
    )
    checked_tables = _counted_tables(tables, results, landings)
    sources = tuple(
        _source(s, files[s.name], chosen[s.name], landings[s.name], as_of) for s in mapping.sources
    )
    checked = Checked(
        as_of,
        max_rows,
        sources,
        checked_tables,
        (),
        _switched_off(mapping, checked_tables),
        lookups=_lookups(mapping),
        null_like=_null_like(results, mapping),
        ids_with_decimals=ids_with_decimals(mapping, landings),
        absent_keys=absent_keys(mapping, landings),
        absent_from_first=() if max_rows is None else absent_from_first(mapping, chosen, max_rows),
        cut_off=files_cut_off(of_sources),
        unfound=tuple(one for result in results for one in result.unfound),
        over_limits=over_the_limits(results, as_of, limits),
        read_whole=max_rows is None or (chosen == files and not is_cut_off(of_sources, max_rows)),
    )
    by_dates = _tasks_by_dates(checked, mapping, learning)
    is_known = checked.read_whole and bool(by_dates)
    too_few = tasks_with_too_few(by_dates, tables, results, min_rows) if is_known else ()
    return replace(checked, tasks=by_dates, too_few=too_few)


def _switched_off(
    mapping: SourceMapping, tables: Sequence[CheckedTable]
) -> tuple[tuple[str, str], ...]:
    """Tasks that are off whatever the dates, and for want of what."""
    lost = frozenset(table.name for table in tables if table.rows_in and not table.clean)
    return tuple((task.name, why) for task in TASKS if (why := _off(task, mapping, lost)))


def _tasks_by_dates(
    checked: Checked, mapping: SourceMapping, learning: TrainingDays
) -> tuple[Trainable, ...]:
    """Which tasks that are not off a night could learn, going by days alone; none before the first
    row lands."""
    if checked.first_day is None or checked.first_day >= checked.as_of:
        return ()
    off = dict(checked.switched_off)
    first_days = {source.name: source.first_day or checked.as_of for source in checked.sources}
    of_tables = {
        table.name: min(first_days[source.name] for source, _ in mapping.feeding(table.name))
        for table in checked.tables
    }
    tasks = tuple(task for task in TASKS if task.name not in off)
    return trainable(tasks, first_days_of(tasks, of_tables), checked.as_of, learning)


def _off(task: Task, mapping: SourceMapping, lost: frozenset[str]) -> str | None:
    """For want of what a task is off, whatever the dates: `lost` are tables without a clean row."""
    lacks = lacking(task, mapping.mapped)
    if lacks:
        return ", ".join(lacks)
    empty = sorted(set(task.needs or mapping.mapped_tables) & lost)
    of_any = bool(empty) if task.needs else len(empty) == len(mapping.mapped_tables)
    return f"clean rows of {', '.join(empty)}" if of_any else None


def _null_like(results: Iterable[Result], mapping: SourceMapping) -> tuple[NullLike, ...]:
    counts = (row for result in results for row in result.reconciled)
    said = ((row["source"], row["table_name"], row["null_like_ids"]) for row in counts)
    return summed(said, mapping)


def sampled(
    files: dict[str, tuple[RawFile, ...]], max_files: int = MAX_FILES
) -> dict[str, tuple[RawFile, ...]]:
    """So many files that a look into each is quick: of each source the newest, at which a night
    may stop, and others spread evenly from the first on; more than `max_files` where sources are
    more than half of that."""
    each = max(2, max_files // max(len(files), 1))
    newest = min(RECENT_DAYS, each // 2)
    return {
        name: of_source
        if len(of_source) <= each
        else (*_spread(of_source[:-newest], each - newest), *of_source[-newest:])
        for name, of_source in files.items()
    }


def _spread(files: Sequence[RawFile], n: int) -> list[RawFile]:
    """So many of the files, spread evenly; the first alone, or both ends in."""
    return [files[i * (len(files) - 1) // max(n - 1, 1)] for i in range(n)]


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
    others = [error for error in errors if not isinstance(error, NightjarError)]
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
    before: date,
    folder: Path,
) -> Result:
    days = sorted({file.landed_on for file in files if file.landed_on is not None})
    where = f"{folder}/landed/{source.name}"
    return run_landing(spark, source, files, days, where, max_rows=max_rows, before=before)


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


def _counted_tables(
    tables: Sequence[Table], results: Sequence[Result], landings: dict[str, Result]
) -> tuple[CheckedTable, ...]:
    with in_memory(BESIDE_SPARK) as connection:
        return tuple(
            _counted(connection, table, result, landings)
            for table, result in zip(tables, results, strict=True)
        )


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
        f"FROM ({select_from(table, files_of(result, table))})"
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
    paths = files_of(result, QUARANTINE)
    if not paths:
        return ()
    landed = [path for landing in landings.values() for path in files_of(landing, LANDED)]
    connection.execute(f"CREATE OR REPLACE TEMP VIEW dropped AS {select_from(QUARANTINE, paths)}")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW landed AS {select_from(LANDED, landed)}")
    counts = connection.execute(
        "SELECT reason, count(*) FROM dropped GROUP BY reason ORDER BY 2 DESC, 1"
    ).fetchall()
    rows = connection.execute(
        """
        WITH shown AS (
            SELECT *, row_number() OVER (PARTITION BY reason ORDER BY file, line, element) AS n
            FROM dropped QUALIFY n <= ?)
        SELECT s.reason, s.file, s.line, s.element, l.fields
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
                Sample(place(file, line, element), shape(fields, element))
                for why, file, line, element, fields in rows
                if why == reason
            ),
        )
        for reason, n in counts
    )


def _lookups(mapping: SourceMapping) -> tuple[CheckedLookup, ...]:
    return tuple(
        CheckedLookup(lookup.name, lookup.file, lookup.rows.num_rows)
        for lookup in mapping.lookups
        if lookup.rows is not None
    )


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
