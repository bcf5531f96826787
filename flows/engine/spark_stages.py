"""Spark's stages: which of their days are up to date, and the others computed and committed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from contracts.counts import n_of
from contracts.errors import ContractError
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from flows.engine.accounting import (
    StageReport,
    Work,
    commit,
    receipts_of,
    report_of,
    rows_of,
    size_of,
)
from flows.engine.fingerprints import Decision, Fingerprints, landing_stage
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_days import RunDays
from flows.lifecycle.progress import Say
from flows.state.receipts import Fingerprint, Receipts
from flows.state.schema import suppressed
from jobs import erasure
from jobs.cleaning.mapping_analysis import check_expressions
from jobs.mapping.sources import Source, SourceMapping
from jobs.run import Result, run_job, run_landing
from jobs.spark.files import WrittenDay
from jobs.stage import Engine, Job
from jobs.stages import job_named


def check_mapping(run: Run, say: Say) -> None:
    """Analyse the mapping's expressions, unless nothing is to be computed of them.

    Raises:
        UsageError: some are wrong; all are named.
    """
    if any(not d.reuse for d in _decisions_of_expressions(run.days)):
        say("the mapping's expressions: analysing them")
        check_expressions(run.spark.session, run.mapping)


def _decisions_of_expressions(days: RunDays) -> Iterator[Decision]:
    """What is to be done about days of the stages that compute expressions."""
    for source in days.context.mapping.sources:
        yield from days.land_decisions(source)
    for table in days.context.mapping.mapped_tables:
        job = job_named(f"clean_{table}")
        yield from days.state.fingerprints.decisions(job, days.landed_days)


def land(run: Run, source: Source, say: Say) -> StageReport:
    """Land the source's new and changed files, in one go, and only those."""
    stage = landing_stage(source)
    decisions = run.days.land_decisions(source)
    todo = [d.day for d in decisions if not d.reuse]
    if not todo:
        return run.reports.add(StageReport(stage, len(decisions), 0), say)
    run.state.check_database()
    by_day = run.days.files_by_day(source)
    say(f"{stage}: reading {n_of(sum(len(by_day[d]) for d in todo), 'file')}")
    started = time.monotonic()
    result = run_landing(
        run.spark.session,
        source,
        [file for day in todo for file in by_day[day]],
        [] if source.landed_on is not None else todo,
        run.lake.staging(run.run_id, stage),
        run.settings.files_per_day,
        partial(
            erasure.blanked,
            source=source,
            settings=run.context.job_settings,
            keys=suppressed(run.engine),
        ),
    )
    fingerprints = {d.day: d.fingerprint for d in decisions}
    if source.landed_on is not None:
        landed = result.written[LANDED.name]
        _report_later_rows(stage, landed, run.as_of, say)
        landed |= vanished_days(run.receipts.days(stage), landed)
        fingerprints = dict.fromkeys((*landed, date.min), fingerprints[date.min])
    computed = Computed(stage, decisions, fingerprints, result, 0, started)
    return commit_and_record(run, computed, {LANDED.name: {"source": source.name}}, {}, say)


def _report_later_rows(
    stage: str, landed: Mapping[date, WrittenDay], as_of: date, say: Say
) -> None:
    later = sum(written.rows for day, written in landed.items() if day >= as_of)
    if later:
        rows = n_of(later, "row lands", "rows land")
        say(f"{stage}: {rows} on {as_of} or later: a later night's")


def vanished_days(
    before: Collection[date], landed: Mapping[date, WrittenDay]
) -> dict[date, WrittenDay]:
    """Days that an earlier version of a source's file had, emptied and not left behind; and the
    receipt of the source as a whole, `date.min`."""
    gone = [day for day in before if day != date.min and day not in landed]
    return {day: WrittenDay(day, 0, "", ()) for day in (*gone, date.min)}


def compute(
    run: Run,
    name: str,
    days: Sequence[date],
    say: Say,
    engine: Engine | None = None,
    force: Collection[date] = (),
    sample: int = 0,
) -> StageReport:
    """Bring these days of a Spark job up to date: reuse what can be, recompute the rest.

    Without an `engine`, several days go in one pass and one day goes alone. Of what went in one
    pass, `sample` days are computed alone as well and compared, before anything counts.

    Raises:
        ContractError: they differ.
    """
    job = job_named(name)
    decisions = run.fingerprints.decisions(job, days, force)
    todo = sorted(d.day for d in decisions if not d.reuse)
    if not todo:
        return run.reports.add(StageReport(name, len(decisions), 0), say)
    run.state.check_database()
    say(f"{name}: {span_of_days(todo)}")
    started = time.monotonic()
    result, rows_in = write(run, job, todo, engine, name)
    if result.reconciled or name.startswith("clean_"):
        run.lake.replace_rows(
            RECONCILIATION, result.reconciled, todo, {"table_name": job.writes[0].name}
        )
    notes = {"engine": "one-pass"} if engine == "one-pass" and len(todo) > 1 else {}
    if notes and sample and job.one_pass is not None:
        equal = compare_with_single_days(run, job, result, todo, sample, say)
        notes["equal_to_per_day"] = ", ".join(map(str, equal))
    fingerprints = {d.day: d.fingerprint for d in decisions}
    computed = Computed(name, decisions, fingerprints, result, rows_in, started)
    where = {QUARANTINE.name: {"table_name": job.writes[0].name}}
    return commit_and_record(run, computed, where, dict.fromkeys(todo, notes), say)


def compare_with_single_days(
    run: Run, job: Job, result: Result, days: Sequence[date], sample: int, say: Say
) -> list[date]:
    """Days spread over `days` that came out of one pass as they do alone.

    Raises:
        ContractError: some do not.
    """
    n = min(sample, len(days))
    chosen = sorted({days[(2 * i + 1) * len(days) // (2 * n)] for i in range(n)})
    (table,) = job.writes
    problems = []
    for day in chosen:
        alone, _ = write(run, job, [day], "per-day", f"{job.name}_alone")
        in_one_pass = result.written[table.name][day].digest
        expected = alone.written[table.name][day].digest
        if in_one_pass != expected:
            problems.append(f"  {day}: one pass gave {in_one_pass}, the day alone {expected}")
    if problems:
        raise ContractError(
            "\n".join([f"{job.name}: nothing was committed, because engines differ:", *problems])
        )
    say(f"{job.name}: {', '.join(map(str, chosen))} alone gave the same rows")
    return chosen


def write(
    run: Run, job: Job, days: Sequence[date], engine: Engine | None, folder: str
) -> tuple[Result, int]:
    """Compute days of a job into a folder of this run, committing nothing; and rows read."""
    inputs, rows_in = inputs_of(run.state, run.mapping, job, days)
    result = run_job(
        run.spark.session,
        job,
        inputs,
        days,
        run.lake.staging(run.run_id, folder),
        run.context.job_settings,
        run.settings.files_per_day,
        engine or ("one-pass" if len(days) > 1 else "per-day"),
    )
    return result, rows_in


def inputs_of(
    state: HomeState, mapping: SourceMapping, job: Job, days: Sequence[date]
) -> tuple[dict[str, list[str]], int]:
    """Files that the job reads for these days, by table, and their rows."""
    lake, fingerprints = state.lake, state.fingerprints
    base = base_of(fingerprints, state.receipts, job, days[0])
    inputs: dict[str, list[str]] = {}
    rows = 0
    for table in dict.fromkeys(read.table for read in job.reads):
        where = None
        if table is LANDED:
            fed = mapping.feeding(job.writes[0].name)
            where = {"source": [source.name for source, _ in fed]}
        wanted = {p for day in days for p in fingerprints.partitions(job, table, day, base)}
        files = lake.files_of_days(table, wanted, where)
        inputs[table.name] = [file.path for file in files]
        rows += sum(file.rows for file in files)
    if job.incremental is not None:
        files = lake.files_of_days(job.incremental, [base] if base else [])
        inputs[job.incremental.name] = [file.path for file in files]
        rows += sum(file.rows for file in files)
    return inputs, rows


def base_of(fingerprints: Fingerprints, receipts: Receipts, job: Job, first: date) -> date | None:
    """The newest day of the table that an incremental job may start from to compute `first`."""
    if job.incremental is None:
        return None
    states = job_named(job.incremental.name)
    for day in reversed(receipts.days(states.name)):
        early = day < first or (day == first and states is not job)
        if early and fingerprints.decisions(states, [day])[0].reuse:
            return day
    return None


@dataclass(frozen=True)
class Computed:
    """What Spark has computed of some days of a stage; nothing is committed yet."""

    stage: str
    decisions: Sequence[Decision]
    fingerprints: Mapping[date, Fingerprint]
    result: Result
    rows_in: int
    """0: as many as it wrote of its first table."""
    started: float
    """By the monotonic clock."""


def commit_and_record(
    run: Run,
    computed: Computed,
    where: Mapping[str, Mapping[str, str]],
    notes: Mapping[date, Mapping[str, Any]],
    say: Say,
) -> StageReport:
    """Commit what was written, then write the receipts of what was committed; only then does the
    stage count."""
    written = computed.result.written
    outputs = commit(run.lake, written, where, notes)
    rows = rows_of(outputs)
    first_table = next(iter(written))
    work = Work(
        computed.stage,
        computed.fingerprints,
        computed.rows_in or sum(by_table[first_table]["rows"] for by_table in outputs.values()),
        sum(rows.values()),
        time.monotonic() - computed.started,
        size_of(run.lake.storage, written),
    )
    run.receipts.write(receipts_of(work, outputs, rows, run.run_id))
    run.fingerprints.invalidate(computed.stage)
    return run.reports.add(report_of(work, computed.decisions, computed.result), say)


def span_of_days(days: Sequence[date]) -> str:
    if len(days) == 1:
        return str(days[0])
    return f"{n_of(len(days), 'day')}, {days[0]} to {days[-1]}"
