"""What a night would stop at, or leave out, as far as the rows of a check tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from contracts.history import Trainable
from contracts.source_table import SourceTable
from contracts.splits import most_rows, too_few
from contracts.table import Table
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from flows.monitor.quarantine import Limits, over_limits
from flows.release.duckdb_views import select_from
from flows.storage.duckdb_connections import BESIDE_SPARK, in_memory
from jobs.run import Result
from jobs.spark.schema import arrow_schema


def over_the_limits(results: Sequence[Result], as_of: date, limits: Limits) -> tuple[str, ...]:
    """What a night would find beyond a limit, had it these rows alone."""
    counts = [row for result in results for row in result.reconciled]
    dropped = [path for result in results for path in files_of(result, QUARANTINE)]
    with in_memory() as connection:
        connection.register(
            RECONCILIATION.name, pa.Table.from_pylist(counts, schema=arrow_schema(RECONCILIATION))
        )
        rows = select_from(QUARANTINE, dropped)
        connection.execute(f"CREATE VIEW {QUARANTINE.name} AS {rows}")
        return over_limits(connection, as_of, limits)


def is_cut_off(landings: Sequence[Result], max_rows: int) -> bool:
    """Whether a file may have more rows than were read."""
    rows = select_from(LANDED, [path for landing in landings for path in files_of(landing, LANDED)])
    with in_memory() as connection:
        row = connection.execute(
            f"SELECT 1 FROM ({rows}) GROUP BY source, file HAVING count(*) >= {max_rows}"
        ).fetchall()
    return bool(row)


def tasks_with_too_few(
    tasks: Sequence[Trainable],
    tables: Sequence[SourceTable],
    results: Sequence[Result],
    min_rows: int,
) -> tuple[tuple[str, str], ...]:
    """Tasks of which training would find too few labels even if each known user had one."""
    splits = {task.task.name: task.split for task in tasks if task.split is not None}
    days = sorted({day for split in splits.values() for day in (*split.used, *split.test)})
    n_users = known_users(tables, results, days)
    return tuple(
        (name, f"at most {why}")
        for name, split in splits.items()
        if (why := too_few(most_rows(split, n_users), min_rows)) is not None
    )


def known_users(
    tables: Sequence[SourceTable], results: Sequence[Result], days: Sequence[date]
) -> dict[date, int]:
    """How many users any clean table names, as itself or as another's, in what landed before a
    day."""
    named = [
        f"SELECT {column} AS user_key, landed_on FROM "
        f"({select_from(table, files_of(result, table))}) WHERE {column} IS NOT NULL"
        for table, result in zip(tables, results, strict=True)
        for column in table.user_columns
    ]
    if not named:
        return dict.fromkeys(days, 0)
    with in_memory(BESIDE_SPARK) as connection:
        first = connection.execute(
            "SELECT landed_on, count(*) FROM (SELECT user_key, min(landed_on) AS landed_on "
            f"FROM ({' UNION ALL '.join(named)}) GROUP BY user_key) GROUP BY landed_on"
        ).fetchall()
    return {day: sum(n for landed_on, n in first if landed_on < day) for day in days}


def files_of(result: Result, table: Table) -> list[str]:
    written = result.written.get(table.name, {}).values()
    return sorted({path for day in written for path in day.files})
