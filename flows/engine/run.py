"""What a run knows: its settings, mapping, days and raw files; and the lake, receipts and Spark
session that it works with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import SparkSession
from sqlalchemy import select

from contracts.clean_tables import CLEAN_TABLES
from contracts.errors import ContractError
from contracts.history import Trainable, first_days_of, trainable, waiting
from contracts.tables import LANDED, RETIRED
from contracts.tasks import TASKS, Task, enabled_tasks, lacking
from flows.engine.accounting import StageReport, Work, receipts_of, summary
from flows.engine.fingerprints import (
    Decision,
    Fingerprints,
    decide,
    land_fingerprint,
    landing_stage,
)
from flows.lake.home_binding import open_home, open_lake
from flows.lake.lake import Lake
from flows.lifecycle.progress import Say
from flows.release.releases import Releases
from flows.settings import NightjarSettings
from flows.state.raw_file_hashes import RawFileHashes
from flows.state.receipts import Receipts
from flows.state.schema import bind_home
from flows.state.writer_lock import Lease, record_run
from jobs.landing.lookup_files import read_whole
from jobs.landing.raw_folder import files_before
from jobs.mapping.sources import RawFile, Source, SourceMapping
from jobs.spark.session import start_session
from jobs.stage import Settings


def drop_retired(lake: Lake, receipts: Receipts) -> None:
    """Drop tables of earlier versions; their receipts first, which would be untrue without rows."""
    for name in RETIRED:
        receipts.drop(name, receipts.days(name))
        lake.drop(name)


class Run:
    """What a run knows; all that landed before `as_of` is known."""

    def __init__(self, settings: NightjarSettings, as_of: date, run_id: str | None = None):
        source, self.raw_folder = settings.raw_logs("a run")
        self.settings, self.as_of = settings, as_of
        self.key = settings.user_key()
        self.mapping: SourceMapping = read_whole(source, self.raw_folder, as_of)
        self.engine = open_home(settings)
        bind_home(self.engine, self.mapping.name, self.key.id)
        self.receipts = Receipts(self.engine)
        self.hashes = RawFileHashes(self.engine)
        self.lake: Lake = open_lake(settings, self.engine)
        self.started_at = datetime.now(UTC)
        self.run_id = run_id or self.started_at.strftime("%Y%m%dT%H%M%S%f")[:-3]
        self.job_settings = Settings(self.mapping, self.key, settings.settle_days, as_of)
        self.fingerprints = Fingerprints(self.receipts, self.job_settings)
        self._spark: SparkSession | None = None
        self._starting = threading.Lock()
        self._is_recorded = False
        self.files: dict[str, tuple[RawFile, ...]] = {}
        self.expected_days: set[date] = set()
        """Days of raw files that a plan expects to be landed before anything else."""
        self.expects_more_days = False
        """Whether a plan expects days besides, which are not known before files are read."""
        self.reports: list[StageReport] = []
        """What its stages did, in their order."""
        self.reason: str | None = None
        """Why it is run, if a person said so."""

    def report(self, report: StageReport, say: Say) -> StageReport:
        """Keep what a stage did, and say it in a line."""
        self.reports.append(report)
        say(summary(report))
        return report

    def note(self, work: Work, outputs: Mapping[date, Mapping[str, Any]], say: Say) -> StageReport:
        """Write the receipts of a stage that a process computed, and report it."""
        n = len(outputs)
        rows_out = dict.fromkeys(outputs, work.rows_out // n)
        self.receipts.write(receipts_of(work, outputs, rows_out, self.run_id))
        report = StageReport(work.stage, n, n, work.rows_in, work.rows_out, work.seconds)
        return self.report(report, say)

    def reused(self, stage: str, say: Say) -> StageReport:
        """Report a stage of which nothing was to be done."""
        return self.report(StageReport(stage, 1, 0), say)

    def reload(self, lease: Lease) -> None:
        """Read the receipts again and write by this lease: nobody else writes from now on."""
        self.lake.hold(lease)
        self.reload_receipts()
        drop_retired(self.lake, self.receipts)

    def reload_receipts(self) -> None:
        """Read the receipts again, after they were changed elsewhere."""
        self.receipts = Receipts(self.engine)
        self.hashes = RawFileHashes(self.engine)
        self.fingerprints = Fingerprints(self.receipts, self.job_settings)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks whose tables and fields the mapping has."""
        return enabled_tasks(self.mapping.mapped)

    @property
    def switched_off(self) -> dict[str, str]:
        """Tasks without a source, and what they lack."""
        return {
            task.name: f"no source for {', '.join(lacks)}"
            for task in TASKS
            if (lacks := lacking(task, self.mapping.mapped))
        }

    def look_at_files(self) -> None:
        """Find the raw files that had landed before midnight `as_of`.

        Raises:
            ContractError: there is none, or a day is missing of a source that says to stop.
        """
        self.files = files_before(self.mapping, self.raw_folder, self.as_of)

    @property
    def landed_days(self) -> tuple[date, ...]:
        """Days before `as_of` on which something landed, now or in an earlier mapping.

        Raises:
            ContractError: there is none.
        """
        days = {
            day
            for source in self.mapping.sources
            for day in self.fingerprints.digests(landing_stage(source), LANDED.name)
        }
        # A source that left the mapping leaves days that must be cleaned again, to nothing.
        days |= {day for table in CLEAN_TABLES for day in self.receipts.days(f"clean_{table.name}")}
        days |= self.expected_days
        landed = tuple(sorted(day for day in days if day < self.as_of))
        if not landed and not self.expects_more_days:
            raise ContractError(f"no row landed before {self.as_of}: every raw file is empty")
        return landed

    @property
    def example_days(self) -> tuple[date, ...]:
        """Past as-of days to learn from; none while no day is known on which rows landed."""
        landed = self.landed_days
        return self.settings.training_days.before(self.as_of, landed[0]) if landed else ()

    @property
    def first_days(self) -> dict[str, date]:
        """Task to the first day with raw rows that it is labelled from, going by what has landed
        and, once they were looked at, by the files; without tasks of which there is a file with
        days of its own that was not read as it is now."""
        of_sources = {source.name: self._raw_days(source) for source in self.mapping.sources}
        of_tables: dict[str, date | None] = {}
        for table in self.mapping.mapped_tables:
            known: set[date] = set()
            for source, _ in self.mapping.feeding(table):
                days = of_sources[source.name]
                if days is None:
                    of_tables[table] = None
                    break
                known |= days
            else:
                of_tables[table] = min(known, default=self.as_of)  # tonight at the earliest
        return first_days_of(self.tasks, of_tables)

    def _raw_days(self, source: Source) -> set[date] | None:
        """The days with raw rows of a source; None while they are not known."""
        stage = landing_stage(source)
        days = set(self.fingerprints.digests(stage, LANDED.name))
        if not self.files:
            return days
        if source.landed_on is None:
            days |= {file.landed_on for file in self.files[source.name] if file.landed_on}
        elif not self.receipts.days(stage) or not all(d.reuse for d in self.land_decisions(source)):
            return None
        return days

    @property
    def trainable(self) -> tuple[Trainable, ...]:
        """Which tasks can be trained tonight, and from when the rest can, as far as it is known."""
        return trainable(self.tasks, self.first_days, self.as_of, self.settings.training_days)

    def check_history(self) -> None:
        """Stop where dates alone say that nothing can be trained, and nothing was trained before.

        Not where nothing is to be trained: `no_train`.

        Raises:
            ContractError: no task can be trained; the message says from which night each can.
        """
        if self.settings.no_train or Releases(self.engine).champion(self.as_of) is not None:
            return
        trainable = self.trainable
        if len(trainable) == len(self.tasks) and not any(f.split for f in trainable):
            first_day = min(self.first_days.values())
            raise ContractError(
                "\n".join(
                    [
                        f"no task can be trained as of {self.as_of}: the data begin on "
                        f"{first_day}, which is too little history. Tasks can be trained",
                        *(f"  {line}" for line in waiting(trainable)),
                        "Until then --no-train publishes features and labels without scores",
                    ]
                )
            )

    def land_decisions(self, source: Source) -> tuple[Decision, ...]:
        """What is to be done about each day of a source's files; `date.min` if they have none."""
        by_day = self.files_by_day(source)
        hashes = self.hashes.of(file.path for group in by_day.values() for file in group)
        stage = landing_stage(source)
        return tuple(
            decide(
                stage,
                day,
                land_fingerprint(source, by_day[day], hashes),
                self.receipts.get(stage, day),
            )
            for day in sorted(by_day)
        )

    def files_by_day(self, source: Source) -> dict[date, list[RawFile]]:
        by_day: dict[date, list[RawFile]] = {}
        for file in self.files[source.name]:
            by_day.setdefault(file.landed_on or date.min, []).append(file)
        return by_day

    def check_database(self) -> None:
        """Before work that could not be kept.

        Raises:
            OperationalError: the database does not answer.
        """
        with self.engine.connect() as connection:
            connection.execute(select(1))

    def scratch_files(self, what: str) -> str:
        """Where a run that commits nothing may write files; housekeeping removes what it leaves."""
        if not self._is_recorded:
            with self.engine.begin() as connection:
                record_run(connection, self.run_id, what, self.started_at)
            self._is_recorded = True
        return self.lake.staging(self.run_id, what)

    @property
    def spark(self) -> SparkSession:
        with self._starting:
            if self._spark is None:
                self._spark = start_session(self.settings.spark, self.settings.home_folder.scratch)
            return self._spark
