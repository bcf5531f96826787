"""Why rows were dropped: tonight, on the nights before, and ever, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from contracts.tables import QUARANTINE, RECONCILIATION
from flows.monitor.quarantine import TREND_DAYS, course
from flows.monitor.row_counts import of_days
from flows.release.duckdb_views import query

DAYS_BEFORE = 7
"""Landing days that say what is usual: a week, for some things go wrong on Mondays."""
MIN_DAYS_BEFORE = 3
ERRORS = 3
"""Standard errors of a count by which a reason is beyond the highest day before."""


@dataclass(frozen=True)
class DropReason:
    """A reason for which rows of a source were kept out of a table."""

    source: str
    table: str
    reason: str
    tonight: int
    rows_in: int
    """Of the source for the table, tonight."""
    shares_before: tuple[float, ...]
    """Of the rows of each of the seven landing days before that had any."""
    ever: int
    course: str
    """A bar per landing day, the last fourteen, oldest first."""
    newest: date

    @property
    def usual_share(self) -> float | None:
        """The median of the days before; None where they are too few."""
        return median(self.shares_before) if self._is_known else None

    @property
    def usual(self) -> int | None:
        """Rows that would be usual of as many as came tonight."""
        return None if self.usual_share is None else round(self.usual_share * self.rows_in)

    @property
    def is_beyond_usual(self) -> bool:
        """Whether it is more than on the worst of the days before, by more than chance explains."""
        if not self._is_known:
            return False
        most = max(self.shares_before) * self.rows_in
        return self.tonight > most + ERRORS * math.sqrt(most + 1)

    @property
    def _is_known(self) -> bool:
        return len(self.shares_before) >= MIN_DAYS_BEFORE


def drop_reasons(database: Path, since: date | None, as_of: date) -> tuple[DropReason, ...]:
    """Every reason that the release knows of, of what landed before `as_of`, the most frequent of
    tonight first; tonight is `[since, as_of)`, and without `since` all there is."""
    tonight = of_days(since, as_of)
    totals = query(
        database,
        f"""
        SELECT source, table_name, reason, count(*) FILTER (WHERE {tonight})::BIGINT AS n,
               count(*)::BIGINT AS ever, max(landed_on)
        FROM {QUARANTINE.name} WHERE {of_days(None, as_of)} GROUP BY ALL
        ORDER BY n DESC, ever DESC, 1, 2, 3""",
    )[1]
    week_before = (since or as_of) - timedelta(days=DAYS_BEFORE)
    recent = of_days(min(week_before, as_of - timedelta(days=TREND_DAYS)), as_of)
    dropped = {
        (*of, day): n
        for *of, day, n in query(
            database,
            "SELECT source, table_name, reason, landed_on, count(*)::BIGINT "
            f"FROM {QUARANTINE.name} WHERE {recent} GROUP BY ALL",
        )[1]
    }
    rows_in = _rows_in(database, recent, tonight, since)
    days = [as_of - timedelta(days=n) for n in range(TREND_DAYS, 0, -1)]
    return tuple(
        DropReason(
            source,
            table,
            reason,
            n,
            rows_in.tonight.get((source, table), 0),
            tuple(
                dropped.get((source, table, reason, day), 0) / n_in
                for day, n_in in rows_in.before.get((source, table), ())
            ),
            ever,
            course([dropped.get((source, table, reason, day), 0) for day in days]),
            newest,
        )
        for source, table, reason, n, ever, newest in totals
    )


@dataclass(frozen=True)
class _RowsIn:
    """Rows of each source for each table."""

    tonight: Mapping[tuple[str, str], int]
    before: Mapping[tuple[str, str], Sequence[tuple[date, int]]]
    """Landing days of the week before that had rows."""


def _rows_in(database: Path, recent: str, tonight: str, since: date | None) -> _RowsIn:
    def counted(days: str, by: str) -> list[tuple[Any, ...]]:
        return query(
            database,
            f"SELECT source, table_name, {by}, sum(n_in)::BIGINT FROM {RECONCILIATION.name} "
            f"WHERE {days} GROUP BY ALL HAVING sum(n_in) > 0 ORDER BY ALL",
        )[1]

    before: dict[tuple[str, str], list[tuple[date, int]]] = {}
    if since is not None:
        first = since - timedelta(days=DAYS_BEFORE)
        for source, table, day, n in counted(recent, "landed_on"):
            if first <= day < since:
                before.setdefault((source, table), []).append((day, n))
    return _RowsIn({(s, t): n for s, t, _, n in counted(tonight, "NULL")}, before)
