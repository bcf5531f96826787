"""One night's context: settings, lake, receipts, and the one Spark session, started when needed."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import as_ranges, example_days
from contracts.table import CallError, ContractError
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION, table_named
from contracts.tasks import TASKS, Task, enabled_tasks
from flows.code import git_commit
from flows.database import bind_home, open_database
from flows.lake import Lake
from flows.plan import Decision, Planner, decide, land_fingerprint, landing_stage
from flows.receipts import Fingerprint, RawFileHashes, Receipt, Receipts
from flows.settings import NightjarSettings
from jobs.io import WrittenDay
from jobs.run import Result, run_job, run_landing
from jobs.session import start_session
from jobs.sources import RawFile, Source, SourceMapping, missing_days, raw_files, read_mapping
from jobs.stages import Job, Settings, job_named

Say = Callable[[str], None]


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


class Night:
    """Everything that a night's steps share."""

    def __init__(self, settings: NightjarSettings, as_of: date, run_id: str | None = None):
        if settings.source is None or settings.raw is None:
            raise CallError(
                "a run needs a mapping and a folder of raw files: --source MAPPING.toml --raw DIR"
            )
        if not settings.raw.is_dir():
            raise CallError(f"{settings.raw}: no such folder of raw files")
        self.settings, self.as_of = settings, as_of
        self.key = settings.user_key()
        self.mapping: SourceMapping = read_mapping(settings.source)
        self.raw_folder = settings.raw.absolute()
        self.engine = open_database(settings.receipts_url)
        bind_home(self.engine, self.mapping.name, self.key.id)
        self.receipts = Receipts(self.engine)
        self.hashes = RawFileHashes(self.engine)
        self.lake = Lake(settings.folder / "lake")
        self.started_at = datetime.now(UTC)
        self.run_id = run_id or self.started_at.strftime("%Y%m%dT%H%M%S%f")[:-3]
        self.job_settings = Settings(self.mapping, self.key, settings.settle_days, as_of)
        self.planner = Planner(self.receipts, self.job_settings)
        self.stages: list[StageReport] = []
        self._spark: SparkSession | None = None
        self._starting = threading.Lock()
        self.files: dict[str, tuple[RawFile, ...]] = {}

    # What there is to do

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks whose sources the mapping has."""
        return enabled_tasks(self.mapping.mapped_tables)

    @property
    def switched_off(self) -> dict[str, str]:
        """Tasks without a source, and what they lack."""
        return {
            task.name: "no source for "
            + ", ".join(sorted(set(task.needs) - self.mapping.mapped_tables))
            for task in TASKS
            if task not in self.tasks
        }

    def look_at_files(self) -> None:
        """Find the raw files that had landed before midnight `as_of`.

        Raises:
            ContractError: there is none, or a day is missing of a source that says to stop.
        """
        problems = []
        for source in self.mapping.sources:
            files = raw_files(source, self.raw_folder)
            self.files[source.name] = tuple(
                f for f in files if f.landed_on is None or f.landed_on < self.as_of
            )
            if not self.files[source.name]:
                problems.append(
                    f"  {source.name}: its first file landed on {files[0].landed_on}, "
                    f"not before {self.as_of}"
                )
            gaps = missing_days(source, self.files[source.name], self.as_of)
            if gaps and source.missing == "stop":
                told = ", ".join(
                    str(r.start) if len(r) == 1 else f"{r.start} to {r.end - timedelta(days=1)}"
                    for r in as_ranges(gaps)[:10]
                )
                problems.append(
                    f"  {source.name}: no file for {len(gaps)} days: {told}; if such "
                    'days are normal, say missing = "empty" in the mapping'
                )
        if problems:
            raise ContractError("\n".join(["raw files are missing:", *problems]))

    @property
    def landed_days(self) -> tuple[date, ...]:
        """Days before `as_of` on which something landed, now or in an earlier mapping.

        Raises:
            ContractError: there is none.
        """
        days = {
            day
            for source in self.mapping.sources
            for day in self.planner.digests(landing_stage(source), LANDED.name)
        }
        # A source that left the mapping leaves days that must be cleaned again, to nothing.
        days |= {day for table in CLEAN_TABLES for day in self.receipts.days(f"clean_{table.name}")}
        found = tuple(sorted(day for day in days if day < self.as_of))
        if not found:
            raise ContractError(f"no row landed before {self.as_of}: every raw file is empty")
        return found

    @property
    def example_days(self) -> tuple[date, ...]:
        """Past as-of days to learn from."""
        s = self.settings
        return example_days(
            self.as_of,
            self.landed_days[0],
            s.example_spacing_days,
            s.example_max_days,
            s.min_history_days,
        )

    # Doing it

    @property
    def spark(self) -> SparkSession:
        with self._starting:
            if self._spark is None:
                self._spark = start_session(self.settings.spark, self.settings.folder / "scratch")
            return self._spark

    def land(self, source: Source, say: Say) -> StageReport:
        """Land the source's new and changed files, in one go, and only those."""
        stage = landing_stage(source)
        files = self.files[source.name]
        hashes = self.hashes.of(file.path for file in files)
        by_day: dict[date, list[RawFile]] = {}
        for file in files:
            by_day.setdefault(file.landed_on or date.min, []).append(file)
        found = {day: land_fingerprint(source, group, hashes) for day, group in by_day.items()}
        decisions = [
            decide(stage, day, found[day], self.receipts.get(stage, day)) for day in sorted(by_day)
        ]
        todo = [d.day for d in decisions if not d.reuse]
        if not todo:
            return self._done(StageReport(stage, len(decisions), 0), say)
        say(f"{stage}: reading {sum(len(by_day[d]) for d in todo)} files")
        started = time.monotonic()
        result = run_landing(
            self.spark,
            source,
            [file for day in todo for file in by_day[day]],
            [] if source.landed_on is not None else todo,
            self.lake.staging(self.run_id, stage),
            self.settings.files_per_day,
        )
        fingerprints = found
        if source.landed_on is not None:
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

    def compute(self, name: str, days: Sequence[date], say: Say) -> StageReport:
        """Bring these days of a Spark job up to date: reuse what can be, recompute the rest."""
        job = job_named(name)
        decisions = self.planner.decisions(job, days)
        todo = sorted(d.day for d in decisions if not d.reuse)
        if not todo:
            return self._done(StageReport(name, len(decisions), 0), say)
        say(f"{name}: {_span(todo)}")
        started = time.monotonic()
        inputs, rows_in = self._inputs(job, todo)
        result = run_job(
            self.spark,
            job,
            inputs,
            todo,
            self.lake.staging(self.run_id, name),
            self.job_settings,
            self.settings.files_per_day,
        )
        if result.reconciled or name.startswith("clean_"):
            self.lake.replace_rows(
                RECONCILIATION, result.reconciled, todo, {"table_name": job.writes[0].name}
            )
        fingerprints = {d.day: d.fingerprint for d in decisions}
        where = {QUARANTINE.name: {"table_name": job.writes[0].name}}
        return self._account(name, result, fingerprints, started, decisions, say, rows_in, where)

    def _inputs(self, job: Job, days: Sequence[date]) -> tuple[dict[str, list[str]], int]:
        """Files that the job reads for these days, and their rows."""
        base = self._base(job, days[0])
        inputs: dict[str, list[str]] = {}
        rows = 0
        reads = [
            (
                read.table,
                read.bounds(days[0], self.as_of)[0],
                max(read.bounds(day, self.as_of)[1] for day in days),
            )
            for read in job.reads
        ]
        if job.incremental is not None:
            # A row may be known a day after it landed, so an increment reaches back one day more.
            reads = [(t, base - timedelta(days=1) if base else None, end) for t, _, end in reads]
        for table, start, end in reads:
            where = None
            if table is LANDED:
                fed = self.mapping.feeding(job.writes[0].name)
                where = {"source": [source.name for source, _ in fed]}
            files = self.lake.files(table, start, end, where)
            inputs[table.name] = [file.path for file in files]
            rows += sum(file.rows for file in files)
        if job.incremental is not None:
            files = self.lake.files(job.incremental, base, base + timedelta(days=1)) if base else ()
            inputs[job.incremental.name] = [file.path for file in files]
            rows += sum(file.rows for file in files)
        return inputs, rows

    def _base(self, job: Job, first: date) -> date | None:
        """The newest earlier day of an incremental job whose receipt still holds."""
        if job.incremental is None:
            return None
        for day in reversed(self.receipts.days(job.name)):
            if day < first and self.planner.decisions(job, [day])[0].reuse:
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
        return self._done(
            StageReport(
                stage, len(decisions), sum(reasons.values()), rows_in, rows_out, seconds, reasons
            ),
            say,
        )

    def note(
        self,
        stage: str,
        fingerprint: Fingerprint,
        outputs: Mapping[str, Any],
        rows_in: int,
        rows_out: int,
        started: float,
        n_bytes: int,
        say: Say,
    ) -> StageReport:
        """The receipt of a stage that is not Spark's: training, scoring."""
        seconds = time.monotonic() - started
        self.receipts.write(
            [
                Receipt(
                    stage,
                    self.as_of,
                    fingerprint,
                    outputs,
                    rows_in,
                    rows_out,
                    seconds,
                    n_bytes,
                    git_commit(),
                    self.run_id,
                    datetime.now(UTC),
                )
            ]
        )
        return self._done(StageReport(stage, 1, 1, rows_in, rows_out, seconds, {}), say)

    def reused(self, stage: str, say: Say) -> StageReport:
        return self._done(StageReport(stage, 1, 0), say)

    def _done(self, report: StageReport, say: Say) -> StageReport:
        self.stages.append(report)
        if report.recomputed:
            rate = report.rows_in / max(report.seconds, 1e-9)
            kept = report.days - report.recomputed
            why = ", ".join(f"{reason} ({n})" for reason, n in report.reasons.items())
            say(
                f"{report.stage}: {report.rows_in:,} rows in, {report.rows_out:,} out, "
                f"{report.seconds:.1f} s, {rate:,.0f} rows/s"
                + (f"; {kept} days reused" if kept else "")
                + (f"; {why}" if why else "")
            )
        else:
            say(f"{report.stage}: reused, nothing changed")
        return report


def _span(days: Sequence[date]) -> str:
    return f"{len(days)} days, {days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])


def short_hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
