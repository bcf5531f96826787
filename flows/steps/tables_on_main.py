"""Tables that processes outside of Spark write on `main`, as Spark's stages write theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from prefect.cache_policies import NO_CACHE

from contracts.table import Table
from flows.engine.fingerprints import Decision, decide
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.engine.spark_stages import Computed, commit_and_record, span_of_days
from flows.lake.iceberg import DataFile
from flows.planning.process_fingerprints import on_main
from flows.planning.stage_list import StageDays, chunks_of
from flows.state.receipts import Fingerprint
from flows.steps.prefect_tasks import say, task
from flows.steps.process_stage import ProcessStage
from flows.storage.home import Home
from jobs.run import Result
from jobs.spark.files import checked_day
from jobs.stage import Process
from jobs.stages import process_named


@dataclass(frozen=True)
class DaysToWrite:
    """Days of a table that a process is to write."""

    run_days: RunDays
    days: Sequence[date]
    inputs: Mapping[date, Mapping[str, tuple[str, ...]]]
    """Of each day, table to the Parquet files that the stage reads of it."""
    fingerprints: Mapping[date, Fingerprint]
    """What the rows of each day are a function of."""
    staging: str
    """The folder for its files."""

    def path(self, day: date) -> str:
        """Where the rows of a day are to be written."""
        return f"{self.staging}/{day}.parquet"


Notes = Mapping[date, Mapping[str, Any]]
"""What the receipts of days say besides their rows."""
WriteDays = Callable[[RunContext, DaysToWrite], Notes]
"""Has a process write the file of each day, sorted by the table's grain; nothing is committed."""
Committed = Callable[[Home], None]
"""Removes what a process that is killed would go on from."""


def table_on_main(
    stage: str,
    code: Sequence[str],
    configuration: Callable[[RunContext], Any],
    write: WriteDays,
    committed: Committed,
    together: bool = False,
) -> ProcessStage:
    """A stage whose process writes its one table on `main`, for stages after it to read.

    A day of it is a function of its code, its configuration, and the content of what `PROCESSES`
    declares that it reads. What it writes is checked against its contract and hashed row by row, so
    that the invalidation stops where no row has changed.

    Args:
        stage: its name.
        code: dotted names of what computes it.
        configuration: what of the settings its rows depend on.
        write: has its process write files.
        committed: what is done once they are committed.
        together: whether each day is given the files of all days, which it tells apart by itself:
            looking for those of hundreds of days one by one would take minutes.
    """
    process = process_named(stage)
    fingerprint = on_main(process, code, configuration)

    def execute(run: Run, entry: StageDays, results: Mapping[str, Any]) -> None:
        days = entry.days(run.days)
        decisions = [
            decide(
                stage,
                day,
                fingerprint(run.days, day, None),
                run.receipts.get(stage, day),
                day in entry.force,
            )
            for day in days
        ]
        todo = {d.day for d in decisions if not d.reuse}
        if not todo:
            run.reports.reused(stage, say)
        for chunk in chunks_of(entry, days, todo):
            of_chunk = [d for d in decisions if d.day in chunk.todo]
            write_days(run, process, of_chunk, write, together)
            committed(run.settings.home_folder)

    return ProcessStage(fingerprint, execute)


@task(name="write_days", task_run_name="{process.name}", cache_policy=NO_CACHE)
def write_days(
    run: Run,
    process: Process,
    decisions: Sequence[Decision],
    write: WriteDays,
    together: bool = False,
) -> None:
    """Have a process write days of its table, check them, commit them, and write their receipts.

    Killed before the receipts are written, nothing counts, and the next run replaces the days.

    Raises:
        ContractError: rows break the table's contract; nothing of the days is committed.
    """
    started, (table,) = time.monotonic(), process.writes
    run.state.check_database()
    days = sorted(d.day for d in decisions)
    say(f"{process.name}: {span_of_days(days)}")
    of_all = inputs_of(run, process, days) if together else None
    files = {day: of_all or inputs_of(run, process, [day]) for day in days}
    fingerprints = {d.day: d.fingerprint for d in decisions}
    asked = DaysToWrite(
        run.days,
        days,
        {
            day: {name: tuple(file.path for file in group) for name, group in by_table.items()}
            for day, by_table in files.items()
        },
        fingerprints,
        run.lake.staging(run.run_id, process.name),
    )
    notes = write(run.context, asked)
    written = {day: checked_day(table, day, asked.path(day)) for day in days}
    read = {f for by_table in files.values() for group in by_table.values() for f in group}
    rows_in = sum(file.rows for file in read)
    result = Result({table.name: written})
    computed = Computed(process.name, decisions, fingerprints, result, rows_in, started)
    commit_and_record(run, computed, {}, notes, say)


def inputs_of(run: Run, process: Process, days: Sequence[date]) -> dict[str, tuple[DataFile, ...]]:
    """Files that days of the stage read, by table."""
    tables: tuple[Table, ...] = tuple(dict.fromkeys(read.table for read in process.reads))
    return {
        table.name: run.lake.files_of_days(
            table,
            {
                partition
                for day in days
                for partition in run.fingerprints.partitions(process, table, day, None)
            },
        )
        for table in tables
    }
