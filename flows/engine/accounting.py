"""What a stage did: committed to the lake first, then written down as receipts, then reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from contracts.counts import n_of
from contracts.tables import table_named
from flows.engine.code_hash import git_commit
from flows.engine.fingerprints import Decision
from flows.lake.lake import Lake
from flows.lifecycle.progress import Say
from flows.state.receipts import Fingerprint, Receipt
from flows.storage.storage import Storage
from jobs.run import Result, Written

VERDICTS = ("clean", "duplicate", "quarantined", "erased")


@dataclass(frozen=True)
class StageReport:
    """What one stage did tonight."""

    stage: str
    days: int
    recomputed: int
    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    reasons: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """What became of the rows that a cleaning judged: clean, duplicate, quarantined, erased."""


@dataclass(frozen=True)
class Work:
    """What a stage computed of some days, from what, at which cost."""

    stage: str
    fingerprints: Mapping[date, Fingerprint]
    rows_in: int
    rows_out: int
    seconds: float
    bytes: int


class StageReports:
    """What a run's stages did, in their order."""

    def __init__(self) -> None:
        self._reports: list[StageReport] = []

    def __iter__(self) -> Iterator[StageReport]:
        return iter(self._reports)

    def add(self, report: StageReport, say: Say) -> StageReport:
        """Keep what a stage did, and say it in a line."""
        self._reports.append(report)
        say(summary(report))
        return report

    def reused(self, stage: str, say: Say) -> StageReport:
        """Report a stage of which nothing was to be done."""
        return self.add(StageReport(stage, 1, 0), say)


def commit(
    lake: Lake,
    written: Written,
    where: Mapping[str, Mapping[str, str]],
    notes: Mapping[date, Mapping[str, Any]],
) -> dict[date, dict[str, Any]]:
    """Commit what a Spark stage has written, one transaction per table.

    Args:
        lake: where to.
        written: files by table and day; `date.min` stands for a source as a whole, and has none.
        where: table to the column and value that its rows have, where stages share the table.
        notes: what the receipts of days say besides.

    Returns:
        Day to table to what a receipt says of it.
    """
    outputs: dict[date, dict[str, Any]] = {}
    for name, by_day in written.items():
        real = {day: one for day, one in by_day.items() if day != date.min}
        snapshot = lake.commit(table_named(name), real, where.get(name))
        for day, one in by_day.items():
            outputs.setdefault(day, {})[name] = {
                "digest": one.digest,
                "rows": one.rows,
                "snapshot": snapshot,
                "first": None if one.first is None else one.first.isoformat(),
                **notes.get(day, {}),
            }
    return outputs


def size_of(storage: Storage, written: Written) -> int:
    """Bytes of the files that a stage has written."""
    paths = {
        path
        for by_day in written.values()
        for one in by_day.values()
        for path in one.files
        if "://" not in path
    }
    return sum(storage.size(path) for path in paths)


def receipts_of(
    work: Work, outputs: Mapping[date, Mapping[str, Any]], rows_out: Mapping[date, int], run_id: str
) -> tuple[Receipt, ...]:
    """A receipt per day; what the days cost together is shared equally."""
    n = max(len(outputs), 1)
    now = datetime.now(UTC)
    return tuple(
        Receipt(
            work.stage,
            day,
            work.fingerprints[day],
            output,
            work.rows_in // n,
            rows_out[day],
            work.seconds / n,
            work.bytes // n,
            git_commit(),
            run_id,
            now,
        )
        for day, output in outputs.items()
    )


def rows_of(outputs: Mapping[date, Mapping[str, Mapping[str, Any]]]) -> dict[date, int]:
    """Rows written per day, of all tables together."""
    return {day: sum(o["rows"] for o in by_table.values()) for day, by_table in outputs.items()}


def report_of(work: Work, decisions: Sequence[Decision], result: Result) -> StageReport:
    """What is said of a Spark stage; of a cleaning, what became of the rows that it judged."""
    reasons = Counter(d.reason for d in decisions if not d.reuse)
    verdicts = verdicts_of(result.reconciled)
    rows_in, rows_out = work.rows_in, work.rows_out
    if verdicts:
        rows_in, rows_out = sum(row["n_in"] for row in result.reconciled), verdicts["clean"]
    return StageReport(
        work.stage,
        len(decisions),
        sum(reasons.values()),
        rows_in,
        rows_out,
        work.seconds,
        dict(reasons),
        verdicts,
    )


def verdicts_of(reconciled: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Verdict to rows; empty where nothing was judged."""
    rows = tuple(reconciled)
    return {verdict: sum(row[f"n_{verdict}"] for row in rows) for verdict in VERDICTS if rows}


def summary(report: StageReport) -> str:
    """What a stage did, in a line."""
    if not report.recomputed:
        return f"{report.stage}: reused, nothing changed"
    rate = report.rows_in / max(report.seconds, 1e-9)
    kept = report.days - report.recomputed
    why = ", ".join(f"{reason} ({n})" for reason, n in report.reasons.items())
    return (
        f"{report.stage}: {n_of(report.rows_in, 'row')} in, {rows_out_of(report)}, "
        f"{report.seconds:.1f} s, {rate:,.0f} rows/s"
        + (f"; {n_of(kept, 'day')} reused" if kept else "")
        + (f"; {why}" if why else "")
    )


def rows_out_of(report: StageReport) -> str:
    """How many rows came out of a stage; of a cleaning, what became of those that went in."""
    if not report.verdicts:
        return f"{report.rows_out:,} out"
    return ", ".join(
        f"{n:,} {verdict}" for verdict, n in report.verdicts.items() if n or verdict != "erased"
    )
