"""What landed, and what became of it: counts of some days, by source and clean table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from contracts.tables import QUARANTINE, RECONCILIATION
from flows.release.duckdb_views import query
from jobs.mapping.raw_row import CUT_OFF

MOST_REASONS = 12


@dataclass(frozen=True)
class Counted:
    """Rows that landed on some days, and what became of them."""

    title: str
    """Which days these are, in words."""
    rows: Sequence[tuple[Any, ...]]
    """Source, table, rows in, clean, duplicate, quarantined, erased."""
    reasons: Sequence[tuple[Any, ...]]
    """Source, table, reason, rows; the most frequent first."""
    cut_off: Sequence[tuple[Any, ...]] = ()
    """Source and name of files that end in the middle of a line."""

    @property
    def rows_in(self) -> int:
        return sum(row[2] for row in self.rows)


def counted(database: Path, since: date | None, as_of: date) -> Counted:
    """What the release knows of the rows that landed on `[since, as_of)`; None: on all days."""
    days = of_days(since, as_of)
    rows = query(
        database,
        f"""
        SELECT source, table_name, sum(n_in)::BIGINT, sum(n_clean)::BIGINT,
               sum(n_duplicate)::BIGINT, sum(n_quarantined)::BIGINT,
               coalesce(sum(n_erased), 0)::BIGINT
        FROM {RECONCILIATION.name} WHERE {days} GROUP BY ALL HAVING sum(n_in) > 0
        ORDER BY ALL""",
    )[1]
    reasons = query(
        database,
        f"""
        SELECT source, table_name, reason, count(*)::BIGINT AS n FROM {QUARANTINE.name}
        WHERE {days} GROUP BY ALL ORDER BY n DESC, 1, 2, 3 LIMIT {MOST_REASONS}""",
    )[1]
    cut_off = query(
        database,
        f"""
        SELECT DISTINCT source, file FROM {QUARANTINE.name}
        WHERE {days} AND reason = '{CUT_OFF}' ORDER BY ALL LIMIT {MOST_REASONS}""",
    )[1]
    return Counted(_title(since, as_of), rows, reasons, cut_off)


def cut_off_line(source: str, file: str) -> str:
    """What is said of a file that ends in the middle of a line."""
    return (
        f"{file} of {source} ends in the middle of a line: was it cut off? Its last line is "
        "quarantined; a whole file in its place is read again"
    )


def of_days(since: date | None, as_of: date) -> str:
    """A condition of SQL: rows that landed on `[since, as_of)`; None: whenever before."""
    return f"landed_on < DATE '{as_of}'" + (f" AND landed_on >= DATE '{since}'" if since else "")


def _title(since: date | None, as_of: date) -> str:
    last = as_of - timedelta(days=1)
    if since is None:
        return f"what landed until {last}"
    return f"what landed on {last}" if since == last else f"what landed from {since} to {last}"
