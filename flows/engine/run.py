"""A run as a whole, which deployments open and hand to their steps.

Functions take those of its parts that they use: `RunContext` is what it knows, `HomeState` what it
works with, `RunDays` which days it is about, and `SparkProvider` where its Spark session is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine

from contracts.tables import RETIRED
from flows.engine.accounting import StageReport, StageReports, Work, receipts_of
from flows.engine.fingerprints import Fingerprints
from flows.engine.home_state import HomeState
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.engine.spark_provider import SparkProvider
from flows.lake.home_binding import open_home, open_lake
from flows.lake.lake import Lake
from flows.lifecycle.progress import Say
from flows.settings import NightjarSettings
from flows.state.receipts import Receipts
from flows.state.schema import bind_home
from flows.state.writer_lock import Lease, record_run
from jobs.landing.lookup_files import read_whole
from jobs.landing.raw_folder import files_before
from jobs.mapping.sources import RawFile, SourceMapping


def drop_retired(lake: Lake, receipts: Receipts) -> None:
    """Drop tables of earlier versions; their receipts first, which would be untrue without rows."""
    for name in RETIRED:
        receipts.drop(name, receipts.days(name))
        lake.drop(name)


class Run:
    """The parts of a run, and what its stages did so far.

    Args:
        settings: as read.
        as_of: a midnight UTC: all that landed before it is known.
        run_id: another id than one of the time.
        reason: why it is run, if a person said so.
    """

    def __init__(
        self,
        settings: NightjarSettings,
        as_of: date,
        run_id: str | None = None,
        reason: str | None = None,
    ):
        source, raw_folder = settings.raw_logs("a run")
        key = settings.user_key()
        mapping = read_whole(source, raw_folder, as_of)
        engine = open_home(settings)
        bind_home(engine, mapping.name, key.id)
        started_at = datetime.now(UTC)
        self.context = RunContext(
            run_id or started_at.strftime("%Y%m%dT%H%M%S%f")[:-3],
            as_of,
            started_at,
            settings,
            mapping,
            raw_folder,
            key,
            reason,
        )
        lake = open_lake(settings, engine)
        self.state = HomeState.read(engine, lake, self.context.job_settings)
        self.spark = SparkProvider(settings)
        self.reports = StageReports()
        """What its stages did, in their order."""
        self._files: Mapping[str, tuple[RawFile, ...]] = {}
        self._is_recorded = False

    @property
    def as_of(self) -> date:
        return self.context.as_of

    @property
    def run_id(self) -> str:
        return self.context.run_id

    @property
    def settings(self) -> NightjarSettings:
        return self.context.settings

    @property
    def mapping(self) -> SourceMapping:
        return self.context.mapping

    @property
    def engine(self) -> Engine:
        return self.state.engine

    @property
    def lake(self) -> Lake:
        return self.state.lake

    @property
    def receipts(self) -> Receipts:
        return self.state.receipts

    @property
    def fingerprints(self) -> Fingerprints:
        return self.state.fingerprints

    @property
    def days(self) -> RunDays:
        """Its days by what is there now."""
        return RunDays(self.context, self.state, self._files)

    def look_at_files(self) -> None:
        """Find the raw files that had landed before midnight `as_of`.

        Raises:
            ContractError: there is none, or a day is missing of a source that says to stop.
        """
        self._files = files_before(self.mapping, self.context.raw_folder, self.as_of)

    def reload(self, lease: Lease) -> None:
        """Read the receipts again and write by this lease: nobody else writes from now on."""
        self.lake.hold(lease)
        self.reload_receipts()
        drop_retired(self.lake, self.receipts)

    def reload_receipts(self) -> None:
        """Read the receipts again, after they were changed elsewhere."""
        self.state = HomeState.read(self.engine, self.lake, self.context.job_settings)

    def note(self, work: Work, outputs: Mapping[date, Mapping[str, Any]], say: Say) -> StageReport:
        """Write the receipts of a stage that a process computed, and report it."""
        n = len(outputs)
        rows_out = dict.fromkeys(outputs, work.rows_out // n)
        self.receipts.write(receipts_of(work, outputs, rows_out, self.run_id))
        report = StageReport(work.stage, n, n, work.rows_in, work.rows_out, work.seconds)
        return self.reports.add(report, say)

    def scratch_files(self, what: str) -> str:
        """Where a run that commits nothing may write files; housekeeping removes what it leaves."""
        if not self._is_recorded:
            with self.engine.begin() as connection:
                record_run(connection, self.run_id, what, self.context.started_at)
            self._is_recorded = True
        return self.lake.staging(self.run_id, what)
