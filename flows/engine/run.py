"""One run's work: stages brought up to date, committed, and accounted for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from contracts.counts import n_of
from contracts.errors import ContractError
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION, table_named
from flows.engine.code_hash import git_commit
from flows.engine.context import Context, Say
from flows.engine.fingerprints import Decision, landing_stage
from flows.settings import NightjarSettings
from flows.state.receipts import Fingerprint, Receipt
from flows.state.schema import suppressed
from jobs import erasure
from jobs.cleaning.mapping_analysis import check_expressions
from jobs.mapping.sources import Source
from jobs.run import Result, run_job, run_landing
from jobs.spark.files import WrittenDay
from jobs.stage import Engine, Job
from jobs.stages import job_named


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
    became: Mapping[str, int] = field(default_factory=dict)
    """What became of the rows that a cleaning judged: clean, duplicate, quarantined, erased."""


class Night(Context):
    """A run that computes: a night, or a backfill."""

    def __init__(self, settings: NightjarSettings, as_of: date, run_id: str | None = None):
        super().__init__(settings, as_of, run_id)
        self.stages: list[StageReport] = []
        self.reason: str | None = None
        """Why it is run, if a person said so."""

    def check_mapping(self, say: Say) -> None:
        """Analyse the mapping's expressions, unless nothing is to be computed of them.

        Raises:
            UsageError: some are wrong; all are named.
        """
        if any(not d.reuse for d in self._of_expressions()):
            say("the mapping's expressions: analysing them")
            check_expressions(self.spark, self.mapping)

    def _of_expressions(self) -> Iterator[Decision]:
        """What is to be done about days of the stages that compute expressions."""
        for source in self.mapping.sources:
            yield from self.land_decisions(source)
        for table in self.mapping.mapped_tables:
            job = job_named(f"clean_{table}")
            yield from self.planner.decisions(job, self.landed_days)

    def land(self, source: Source, say: Say) -> StageReport:
        """Land the source's new and changed files, in one go, and only those."""
        stage = landing_stage(source)
        by_day = self.files_by_day(source)
        decisions = self.land_decisions(source)
        found = {d.day: d.fingerprint for d in decisions}
        todo = [d.day for d in decisions if not d.reuse]
        if not todo:
            return self._done(StageReport(stage, len(decisions), 0), say)
        self.check_database()
        say(f"{stage}: reading {n_of(sum(len(by_day[d]) for d in todo), 'file')}")
        started = time.monotonic()
        result = run_landing(
            self.spark,
            source,
            [file for day in todo for file in by_day[day]],
            [] if source.landed_on is not None else todo,
            self.lake.staging(self.run_id, stage),
            self.settings.files_per_day,
            partial(
                erasure.blanked,
                source=source,
                settings=self.job_settings,
                keys=suppressed(self.engine),
            ),
        )
        fingerprints = found
        if source.landed_on is not None:
            later = sum(
                w.rows for day, w in result.written[LANDED.name].items() if day >= self.as_of
            )
            if later:
                rows = n_of(later, "row lands", "rows land")
                say(f"{stage}: {rows} on {self.as_of} or later: a later night's")
            self._empty_vanished_days(source, result)
            fingerprints = dict.fromkeys((*result.written[LANDED.name], date.min), found[date.min])
        return self._account(
            stage,
            result,
            fingerprints,
            started,
            decisions,
            say,
            0,
            {LANDED.name: {"source": source.name}},
        )

    def _empty_vanished_days(self, source: Source, result: Result) -> None:
        """Days that an earlier version of the file had are emptied, not left behind."""
        landed = result.written[LANDED.name]
        for day in self.receipts.days(landing_stage(source)):
            if day != date.min and day not in landed:
                landed[day] = WrittenDay(day, 0, "", ())
        landed[date.min] = WrittenDay(date.min, 0, "", ())

    def compute(
        self,
        name: str,
        days: Sequence[date],
        say: Say,
        engine: Engine | None = None,
        force: Collection[date] = (),
        sample: int = 0,
    ) -> StageReport:
        """Bring these days of a Spark job up to date: reuse what can be, recompute the rest.

        Without an `engine`, several days go in one pass and one day goes alone. Of what went in
        one pass, `sample` days are computed alone as well and compared, before anything counts.

        Raises:
            ContractError: they differ.
        """
        job = job_named(name)
        decisions = self.planner.decisions(job, days, force)
        todo = sorted(d.day for d in decisions if not d.reuse)
        if not todo:
            return self._done(StageReport(name, len(decisions), 0), say)
        self.check_database()
        say(f"{name}: {span_of_days(todo)}")
        started = time.monotonic()
        result, rows_in = self.make(job, todo, engine, name)
        if result.reconciled or name.startswith("clean_"):
            self.lake.replace_rows(
                RECONCILIATION, result.reconciled, todo, {"table_name": job.writes[0].name}
            )
        notes = {"engine": "one-pass"} if engine == "one-pass" and len(todo) > 1 else {}
        if notes and sample and job.one_pass is not None:
            notes["equal_to_per_day"] = ", ".join(
                str(day) for day in self._compared(job, result, todo, sample, say)
            )
        fingerprints = {d.day: d.fingerprint for d in decisions}
        where = {QUARANTINE.name: {"table_name": job.writes[0].name}}
        return self._account(
            name, result, fingerprints, started, decisions, say, rows_in, where, notes
        )

    def _compared(
        self, job: Job, result: Result, days: Sequence[date], sample: int, say: Say
    ) -> list[date]:
        """Days spread over `days` that came out of one pass as they do alone."""
        n = min(sample, len(days))
        chosen = sorted({days[(2 * i + 1) * len(days) // (2 * n)] for i in range(n)})
        (table,) = job.writes
        problems = []
        for day in chosen:
            alone, _ = self.make(job, [day], "per-day", f"{job.name}_alone")
            found = result.written[table.name][day].digest
            expected = alone.written[table.name][day].digest
            if found != expected:
                problems.append(f"  {day}: one pass gave {found}, the day alone {expected}")
        if problems:
            raise ContractError(
                "\n".join(
                    [f"{job.name}: nothing was committed, because engines differ:", *problems]
                )
            )
        say(f"{job.name}: {', '.join(map(str, chosen))} alone gave the same rows")
        return chosen

    def make(
        self, job: Job, days: Sequence[date], engine: Engine | None, folder: str
    ) -> tuple[Result, int]:
        """Compute days of a job into a folder of this run, committing nothing; and rows read."""
        inputs, rows_in = self.inputs(job, days)
        result = run_job(
            self.spark,
            job,
            inputs,
            days,
            self.lake.staging(self.run_id, folder),
            self.job_settings,
            self.settings.files_per_day,
            engine or ("one-pass" if len(days) > 1 else "per-day"),
        )
        return result, rows_in

    def inputs(self, job: Job, days: Sequence[date]) -> tuple[dict[str, list[str]], int]:
        """Files that the job reads for these days, and their rows."""
        base = self.base(job, days[0])
        inputs: dict[str, list[str]] = {}
        rows = 0
        for table in dict.fromkeys(read.table for read in job.reads):
            where = None
            if table is LANDED:
                fed = self.mapping.feeding(job.writes[0].name)
                where = {"source": [source.name for source, _ in fed]}
            wanted = {p for day in days for p in self.planner.partitions(job, table, day, base)}
            files = self.lake.files_of_days(table, wanted, where)
            inputs[table.name] = [file.path for file in files]
            rows += sum(file.rows for file in files)
        if job.incremental is not None:
            files = self.lake.files_of_days(job.incremental, [base] if base else [])
            inputs[job.incremental.name] = [file.path for file in files]
            rows += sum(file.rows for file in files)
        return inputs, rows

    def base(self, job: Job, first: date) -> date | None:
        """The newest day of the table that an incremental job may start from to compute `first`."""
        if job.incremental is None:
            return None
        states = job_named(job.incremental.name)
        for day in reversed(self.receipts.days(states.name)):
            early = day < first or (day == first and states is not job)
            if early and self.planner.decisions(states, [day])[0].reuse:
                return day
        return None

    def _account(
        self,
        stage: str,
        result: Result,
        fingerprints: Mapping[date, Fingerprint],
        started: float,
        decisions: Sequence[Decision],
        say: Say,
        rows_in: int,
        where: Mapping[str, Mapping[str, str]],
        notes: Mapping[str, str] | None = None,
    ) -> StageReport:
        """Commit what was written, then write the receipts; only then does the stage count."""
        outputs: dict[date, dict[str, Any]] = {}
        n_bytes = 0
        for name, written in result.written.items():
            table = table_named(name)
            real = {day: made for day, made in written.items() if day != date.min}
            snapshot = self.lake.commit(table, real, where.get(name))
            paths = {p for made in real.values() for p in made.files if "://" not in p}
            n_bytes += sum(Path(p).stat().st_size for p in paths)
            for day, made in written.items():
                outputs.setdefault(day, {})[name] = {
                    "digest": made.digest,
                    "rows": made.rows,
                    "snapshot": snapshot,
                    "first": None if made.first is None else made.first.isoformat(),
                    **(notes or {}),
                }
        seconds = time.monotonic() - started
        rows_out = sum(o["rows"] for made in outputs.values() for o in made.values())
        first_table = next(iter(result.written))
        rows_in = rows_in or sum(o[first_table]["rows"] for o in outputs.values())
        share = max(len(outputs), 1)
        now = datetime.now(UTC)
        self.receipts.write(
            Receipt(
                stage,
                day,
                fingerprints[day],
                made,
                rows_in // share,
                sum(o["rows"] for o in made.values()),
                seconds / share,
                n_bytes // share,
                git_commit(),
                self.run_id,
                now,
            )
            for day, made in outputs.items()
        )
        self.planner.forget(stage)
        reasons: dict[str, int] = {}
        for d in decisions:
            if not d.reuse:
                reasons[d.reason] = reasons.get(d.reason, 0) + 1
        became = {
            what: sum(row[f"n_{what}"] for row in result.reconciled)
            for what in ("clean", "duplicate", "quarantined", "erased")
            if result.reconciled
        }
        if became:
            rows_in, rows_out = sum(row["n_in"] for row in result.reconciled), became["clean"]
        return self._done(
            StageReport(
                stage,
                len(decisions),
                sum(reasons.values()),
                rows_in,
                rows_out,
                seconds,
                reasons,
                became,
            ),
            say,
        )

    def note(
        self,
        stage: str,
        fingerprints: Mapping[date, Fingerprint],
        outputs: Mapping[date, Mapping[str, Any]],
        rows_in: int,
        rows_out: int,
        started: float,
        n_bytes: int,
        say: Say,
    ) -> StageReport:
        """The receipts of a stage that is not Spark's: training, scoring."""
        seconds, n = time.monotonic() - started, len(fingerprints)
        self.receipts.write(
            Receipt(
                stage,
                day,
                fingerprint,
                outputs[day],
                rows_in // n,
                rows_out // n,
                seconds / n,
                n_bytes // n,
                git_commit(),
                self.run_id,
                datetime.now(UTC),
            )
            for day, fingerprint in fingerprints.items()
        )
        return self._done(StageReport(stage, n, n, rows_in, rows_out, seconds, {}), say)

    def reused(self, stage: str, say: Say) -> StageReport:
        return self._done(StageReport(stage, 1, 0), say)

    def _done(self, report: StageReport, say: Say) -> StageReport:
        self.stages.append(report)
        say(done(report))
        return report


def done(report: StageReport) -> str:
    """What a stage did, in a line."""
    if not report.recomputed:
        return f"{report.stage}: reused, nothing changed"
    rate = report.rows_in / max(report.seconds, 1e-9)
    kept = report.days - report.recomputed
    why = ", ".join(f"{reason} ({n})" for reason, n in report.reasons.items())
    return (
        f"{report.stage}: {n_of(report.rows_in, 'row')} in, {came_out(report)}, "
        f"{report.seconds:.1f} s, {rate:,.0f} rows/s"
        + (f"; {n_of(kept, 'day')} reused" if kept else "")
        + (f"; {why}" if why else "")
    )


def came_out(report: StageReport) -> str:
    """How many rows came out of a stage; of a cleaning, what became of those that went in."""
    if not report.became:
        return f"{report.rows_out:,} out"
    return ", ".join(f"{n:,} {what}" for what, n in report.became.items() if n or what != "erased")


def span_of_days(days: Sequence[date]) -> str:
    if len(days) == 1:
        return str(days[0])
    return f"{n_of(len(days), 'day')}, {days[0]} to {days[-1]}"


def short_hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
