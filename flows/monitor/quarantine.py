"""What was dropped and why: counts, their course over days, samples with their letters hidden, and
the limits beyond which a night stops.

Reads the lake as it is now, not the release: after a stop there is no release to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb

from contracts.errors import ContractError
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from contracts.values import masked
from flows.lake.lake import Lake
from flows.release.duckdb_views import select_from
from flows.release.parquet_views import as_pattern
from flows.settings import NightjarSettings
from flows.storage.duckdb_connections import BESIDE_SPARK, in_memory
from jobs.cleaning.erased_rows import element_of

TREND_DAYS, RECENT_DAYS, BASE_DAYS = 14, 7, 28
MIN_BASE_DAYS, MIN_DROPPED, MIN_ROWS = 7, 50, 100
"""Fewer days before, fewer rows dropped, or fewer rows in, say nothing."""
_BARS = " ▁▂▃▄▅▆▇█"
MAX_ELEMENT_SHAPE = 160
"""Characters that are shown of an element, which may be all of a row."""


@dataclass(frozen=True)
class Limits:
    """How much cleaning may drop before a night stops; None turns a limit off."""

    max_share: float | None = None
    """Of all rows of a table, and of those that one source has for it, what may be quarantined."""
    max_jump: float | None = None
    """The share of a day's rows that a reason may drop beyond the highest of the four weeks before,
    source by source; looked at for days of the last week."""

    @classmethod
    def of(cls, settings: NightjarSettings) -> Limits:
        """Those that the settings say."""
        return cls(settings.max_quarantined_share, settings.max_quarantine_jump)


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Dropped:
    """A reason for which rows of a table were dropped."""

    table: str
    reason: str
    rows: int
    rows_in: int
    """Of the table, on the same days."""
    trend: str
    """A bar per landing day, the last fourteen, oldest first."""
    newest: date


@dataclass(frozen=True)
class Sample:
    """A dropped row: where it lies, and its fields with letters and digits hidden."""

    table: str
    reason: str
    place: str
    """File and line, and the element, where a row has several."""
    fields: str


@contextmanager
def _views(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    with in_memory(BESIDE_SPARK) as connection:
        for table in (RECONCILIATION, QUARANTINE):
            files = [f.path for f in lake.files(table)]
            if not files and table is RECONCILIATION:
                raise ContractError("nothing has been cleaned yet: run `nightjar run`")
            connection.execute(f"CREATE VIEW {table.name} AS {select_from(table, files)}")
        yield connection


def dropped(lake: Lake, day: date | None = None, reason: str | None = None) -> list[Dropped]:
    """Reasons, the most frequent first; of one landing day, or whose text holds `reason`.

    Raises:
        ContractError: nothing has been cleaned yet.
    """
    with _views(lake) as connection:
        rows = connection.execute(
            """
            WITH asked AS (
                SELECT * FROM quarantine
                WHERE (? IS NULL OR landed_on = ?) AND (? IS NULL OR contains(reason, ?))),
            every AS (
                SELECT table_name, sum(n_in)::BIGINT AS n_in FROM reconciliation
                WHERE ? IS NULL OR landed_on = ? GROUP BY ALL)
            SELECT table_name, reason, count(*)::BIGINT AS n, any_value(n_in), max(landed_on)
            FROM asked JOIN every USING (table_name) GROUP BY ALL ORDER BY n DESC, 1, 2""",
            [day, day, reason, reason, day, day],
        ).fetchall()
        last = connection.execute("SELECT max(landed_on) FROM reconciliation").fetchone()
        until = day or (last[0] if last else None)
        return [
            Dropped(table, why, n, n_in, course(_per_day(connection, table, why, until)), newest)
            for table, why, n, n_in, newest in rows
        ]


def dropped_rows(
    lake: Lake, first: date, last: date, reason: str | None
) -> dict[tuple[str, str, date], int]:
    """Table, reason and day to the rows that landed on it and were dropped for the reason."""
    with _views(lake) as connection:
        rows = connection.execute(
            "SELECT table_name, reason, landed_on, count(*) FROM quarantine "
            "WHERE landed_on BETWEEN ? AND ? AND (? IS NULL OR contains(reason, ?)) "
            "GROUP BY ALL ORDER BY ALL",
            [first, last, reason, reason],
        ).fetchall()
    return {(table, why, day): n for table, why, day, n in rows}


def _per_day(
    connection: duckdb.DuckDBPyConnection, table: str, reason: str, until: date | None
) -> list[int]:
    if until is None:
        return []
    first = until - timedelta(days=TREND_DAYS - 1)
    counts = dict(
        connection.execute(
            "SELECT landed_on, count(*) FROM quarantine WHERE table_name = ? AND reason = ? "
            "AND landed_on BETWEEN ? AND ? GROUP BY ALL",
            [table, reason, first, until],
        ).fetchall()
    )
    return [counts.get(first + timedelta(days=n), 0) for n in range(TREND_DAYS)]


def course(counts: Sequence[int]) -> str:
    """A bar for each count."""
    top = max(counts, default=0)
    return "".join(_BARS[-(-8 * n // top) if top else 0] for n in counts)


def samples(
    lake: Lake, reasons: Sequence[Dropped], day: date | None, per_reason: int
) -> list[Sample]:
    """The newest dropped rows of each reason, by file and line."""
    dropped = []
    with _views(lake) as connection:
        for of in reasons:
            rows = connection.execute(
                """
                SELECT landed_on, source, file, line, element FROM quarantine
                WHERE table_name = ? AND reason = ? AND (? IS NULL OR landed_on = ?)
                ORDER BY landed_on DESC, file, line, element LIMIT ?""",
                [of.table, of.reason, day, day, per_reason],
            ).fetchall()
            dropped += [
                Sample(
                    of.table,
                    of.reason,
                    place(file, line, element),
                    shape(_fields(lake, landed_on, source, file, line), element),
                )
                for landed_on, source, file, line, element in rows
            ]
    return dropped


def place(file: str, line: int, element: int | None) -> str:
    """Where a row lies that was dropped."""
    return f"{file}:{line}" + (f", element {element}" if element else "")


def shape(fields: Sequence[str | None] | None, element: int | None) -> str:
    """A raw row's cells with letters and digits hidden; of a row that is an element of an array,
    the element in the array's place."""
    if fields is None:
        return "could not be decoded"
    shapes = []
    for cell in fields:
        of_cell = element_of(cell, element or 0)
        shapes.append(masked(cell or "") if of_cell is None else masked(of_cell, MAX_ELEMENT_SHAPE))
    return " | ".join(shapes)


def _fields(
    lake: Lake, day: date, source: str, file: str, line: int
) -> Sequence[str | None] | None:
    paths = [f.path for f in lake.files(LANDED, day, day + timedelta(days=1), {"source": [source]})]
    with in_memory() as connection:
        row = connection.execute(
            "SELECT fields FROM read_parquet(?, hive_partitioning = false) "
            "WHERE source = ? AND file = ? AND line = ?",
            [[as_pattern(path) for path in paths], source, file, line],
        ).fetchone()
    return None if row is None else row[0]


def check_limits(lake: Lake, as_of: date, limits: Limits) -> None:
    """Stop when a rule drops far more than it did, or a table loses most of its rows.

    Raises:
        ContractError: naming table, source, day, reason and numbers of each.
    """
    with _views(lake) as connection:
        problems = over_limits(connection, as_of, limits)
    if problems:
        raise ContractError(
            "\n".join(
                [
                    "cleaning dropped more rows than the limits allow:",
                    *(f"  {problem}" for problem in problems),
                    "`nightjar quarantine` shows the rows; if they are right to go, raise the "
                    "limit in nightjar.toml or the environment for this run",
                ]
            )
        )


def over_limits(
    connection: duckdb.DuckDBPyConnection, as_of: date, limits: Limits
) -> tuple[str, ...]:
    """Every table, source, day and reason beyond a limit, of what landed before `as_of`.

    `connection` has the tables `reconciliation` and `quarantine`.
    """
    problems: list[str] = []
    if limits.max_share is not None:
        problems += [
            f"{named(table, source)}: {bad:,} of {n:,} rows ({bad / n:.0%}) are quarantined; "
            f"max_quarantined_share = {limits.max_share:g}"
            for table, source, n, bad in _shares(connection, as_of)
            if n >= MIN_ROWS and bad > limits.max_share * n
        ]
    if limits.max_jump is not None:
        jumps = _jumps(connection, as_of, limits.max_jump)
        problems += [_jump_message(row, limits.max_jump) for row in jumps]
    return tuple(problems)


def _shares(
    connection: duckdb.DuckDBPyConnection, as_of: date
) -> list[tuple[str, str | None, int, int]]:
    """Table, source, rows in, rows quarantined: of each source of a table, and, where it has
    several, of the table."""
    return connection.execute(
        """
        SELECT table_name, source, sum(n_in)::BIGINT, sum(n_quarantined)::BIGINT
        FROM reconciliation WHERE landed_on < ? GROUP BY table_name, source
        UNION ALL
        SELECT table_name, NULL, sum(n_in)::BIGINT, sum(n_quarantined)::BIGINT
        FROM reconciliation WHERE landed_on < ?
        GROUP BY table_name HAVING count(DISTINCT source) > 1
        ORDER BY 1, 2 NULLS FIRST""",
        [as_of, as_of],
    ).fetchall()


def named(table: str, source: str | None) -> str:
    return f"{table} of all sources" if source is None else f"{table} from {source}"


def _jumps(
    connection: duckdb.DuckDBPyConnection, as_of: date, max_jump: float
) -> list[tuple[Any, ...]]:
    """Table, source, reason, day, rows dropped, rows in, highest share before."""
    recent = as_of - timedelta(days=RECENT_DAYS)
    return connection.execute(
        """
        WITH days AS (
            SELECT table_name, source, landed_on, sum(n_in)::BIGINT AS n_in FROM reconciliation
            WHERE landed_on >= ? AND landed_on < ? GROUP BY ALL HAVING sum(n_in) > 0),
        reasons AS (
            SELECT table_name, source, reason, landed_on, count(*) AS n FROM quarantine
            WHERE landed_on >= ? AND landed_on < ? GROUP BY ALL),
        every AS (
            SELECT d.table_name, d.source, r.reason, d.landed_on, d.n_in, coalesce(x.n, 0) AS n
            FROM days d JOIN (SELECT DISTINCT table_name, source, reason FROM reasons) r
                USING (table_name, source)
            LEFT JOIN reasons x ON x.table_name = d.table_name AND x.source = d.source
                AND x.reason = r.reason AND x.landed_on = d.landed_on),
        before AS (
            SELECT table_name, source, reason, max(n / n_in) AS highest, count(*) AS n_days
            FROM every WHERE landed_on < ? GROUP BY ALL)
        SELECT table_name, source, reason, landed_on, n, n_in, highest
        FROM every JOIN before USING (table_name, source, reason)
        WHERE landed_on >= ? AND n_days >= ? AND n >= ? AND n / n_in > highest + ?
        ORDER BY ALL""",
        [
            recent - timedelta(days=BASE_DAYS),
            as_of,
            recent - timedelta(days=BASE_DAYS),
            as_of,
            recent,
            recent,
            MIN_BASE_DAYS,
            MIN_DROPPED,
            max_jump,
        ],
    ).fetchall()


def _jump_message(row: tuple[Any, ...], max_jump: float) -> str:
    table, source, reason, day, n, n_in, highest = row
    return (
        f"{named(table, source)}, {day}, {reason}: {n:,} of {n_in:,} rows "
        f"({n / n_in:.0%}), at most {highest:.0%} on a day of the {BASE_DAYS} before; "
        f"max_quarantine_jump = {max_jump:g}"
    )
