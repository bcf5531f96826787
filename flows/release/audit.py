"""What an audit is: a check of a day of a released table, before anybody sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from contracts.errors import ContractError
from contracts.surfaces import Surface
from contracts.table import Table
from flows.release.parquet_views import read_files
from flows.storage.duckdb_connections import BESIDE_SPARK, in_memory


@dataclass(frozen=True)
class Audited:
    """One check of a table and what it found."""

    table: str
    check: str
    found: str
    passed: bool


@dataclass(frozen=True)
class DayToAudit:
    """A day of a released table on its branch, and what it may be compared with."""

    table: Table
    day: date
    files: Sequence[str]
    """Its Parquet files."""
    files_of: Callable[[Table], Sequence[str]]
    """Parquet files of the same day of another table."""
    before: Sequence[str] | None
    """Those of the newest day of the release that it is compared with; None if there is none."""
    outputs: Mapping[str, Any]
    """What the stage that wrote it says of it."""
    max_users_lost: float | None
    max_score_shift: float | None
    surfaces: tuple[Surface, ...]
    """Those on which something is recommended, as the settings have them."""
    min_coverage: float | None
    max_list_change: float | None
    max_same_lists: float | None


class FailedAudit(ContractError):
    """A release that fails a check: nothing is published."""


Audit = Callable[[DayToAudit], Sequence[Audited]]


@contextmanager
def views(**files: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with a view of the given name over each of these groups of Parquet files."""
    with in_memory(threads=BESIDE_SPARK) as connection:
        for name, paths in files.items():
            read_files(connection, paths).create_view(name)
        yield connection


def count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one number that a query gives; 0 for null."""
    ((number,),) = connection.execute(sql).fetchall()
    return int(number or 0)


def raise_if_failed(audited: Sequence[Audited]) -> None:
    """Refuse a release that fails a check.

    Raises:
        FailedAudit: naming each failed check with its numbers, table by table.
    """
    lines = []
    for table in dict.fromkeys(a.table for a in audited if not a.passed):
        lines.append(f"{table} fails its audit; the release before stays current:")
        lines += [f"  {a.check}: {a.found}" for a in audited if a.table == table and not a.passed]
    if lines:
        raise FailedAudit("\n".join(lines))
