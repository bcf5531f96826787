"""The planner: what a run's list of stages would do to each of their days, before anything runs.

What a stage will read depends on what those before it will write. A day that reads a day which is
to be recomputed is taken to be recomputed as well; running it finds out whether what it reads
really changed, and stops there if it did not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import date
from typing import Any

from contracts.days import ONE_DAY
from contracts.hashes import hash_of
from flows.engine.fingerprints import NEVER_COMPUTED, Decision, decide
from flows.engine.run_days import RunDays
from flows.planning.plan import Plan, Planned, cost_of, plan_of
from flows.planning.process_fingerprints import Fingerprinted
from flows.planning.stage_list import (
    Check,
    Entry,
    Landing,
    SideBySide,
    StageDays,
    chunks_of,
    states_of,
)
from jobs.stage import Process, Stage
from jobs.stages import SPARK_JOBS, job_named, stage_named


def planned(
    days: RunDays,
    entries: Iterable[Entry],
    processes: Mapping[str, Fingerprinted],
    call: Mapping[str, Any],
    roots: Mapping[str, str] | None = None,
) -> Plan:
    """What executing the entries would do now.

    Args:
        days: the run's, by what is there now.
        entries: its list of stages.
        processes: stages that processes compute, by name.
        call: the command and its options.
        roots: what its token depends on besides raw files, code and configuration.

    Raises:
        ContractError: a check that needs no data says that the run would stop.
    """
    planner = _Planner(days, processes, roots or {})
    for entry in entries:
        planner.add(entry)
    return plan_of(call, planner.days, planner.roots)


class _Planner:
    """Walks the stages in the order in which they would run."""

    def __init__(
        self, days: RunDays, processes: Mapping[str, Fingerprinted], roots: Mapping[str, str]
    ):
        self._run_days = days
        """By what is there, and by what was planned so far."""
        self._state = days.state
        self._processes = processes
        self._pending: dict[str, list[date]] = {}
        """Stage-days that will be recomputed, in order."""
        self._unknown: set[str] = set()
        """Stages that will write days nobody knows yet."""
        self._costs: dict[str, tuple[int, float, int] | None] = {}
        self.days: list[Planned] = []
        self.roots = {f"{job.name} code": days.state.fingerprints.code(job) for job in SPARK_JOBS}
        self.roots |= {
            f"lookup {lookup.name}": lookup.content() for lookup in days.context.mapping.lookups
        }
        self.roots |= roots

    def add(self, entry: Entry) -> None:
        match entry:
            case Check.history:
                self._run_days.check_history()
            case Check():
                pass  # they need data, or choose what the score's own entry asks for
            case SideBySide(stages):
                for stage in stages:
                    self.add(stage)
            case Landing():
                self._land(entry)
            case StageDays():
                declared = stage_named(entry.stage)
                if isinstance(declared, Process):
                    self._process(entry, declared)
                else:
                    self._spark_job(entry)

    def _land(self, entry: Landing) -> None:
        """Raw files against what has landed."""
        stage, pending, has_more = entry.stage, [], False
        for d in self._run_days.land_decisions(entry.source):
            self.roots[f"{stage} {d.day}"] = hash_of(asdict(d.fingerprint))
            unknown = d.day == date.min
            self._add(d, None if unknown else d.day)
            if not d.reuse and not unknown:
                pending.append(d.day)
            elif not d.reuse:
                pending += [day for day in self._state.receipts.days(stage) if day != date.min]
                self._unknown.add(stage)
                has_more = True
        self._pending[stage] = sorted(pending)
        self._run_days = self._run_days.expecting(pending, has_more)

    def _spark_job(self, entry: StageDays) -> None:
        """Decide each day of a Spark job."""
        job, fingerprints = job_named(entry.stage), self._state.fingerprints
        days = entry.days(self._run_days)
        pending = []
        for d in fingerprints.decisions(job, days, entry.force):
            d, cause = self._cascaded(d, self._read_by(job, d.day))
            if job.settings(self._run_days.context.job_settings, d.day) is not None:
                self.roots[f"{d.stage} {d.day} configuration"] = d.fingerprint.configuration
            self._add(d, d.day, cause)
            if not d.reuse:
                pending.append(d.day)
        self._pending[entry.stage] = sorted(pending)
        if self._unknown & {w for read in job.reads for w in fingerprints.writers(job, read.table)}:
            self._unknown.add(entry.stage)
            if not days:
                self.days.append(Planned(entry.stage, None, False, NEVER_COMPUTED))
        for state in states_of(entry, chunks_of(entry, days, pending)):
            self._spark_job(state)

    def _process(self, entry: StageDays, process: Process) -> None:
        """Decide each day of a stage that a process computes."""
        planned_by = self._processes[process.name]
        model_id = entry.model(self._run_days) if entry.model is not None else None
        pending = []
        for day in entry.days(self._run_days):
            fingerprint = planned_by.fingerprint(self._run_days, day, model_id)
            self.roots[f"{entry.stage} {day} code"] = fingerprint.code
            self.roots[f"{entry.stage} {day} configuration"] = fingerprint.configuration
            receipt = self._state.receipts.get(entry.stage, day)
            decided = decide(entry.stage, day, fingerprint, receipt, day in entry.force)
            if planned_by.reads is not None:
                reads = planned_by.reads(self._run_days, day)
            else:
                reads = self._read_by(process, day)
            after = ((name, day, day + ONE_DAY) for name in process.after)
            d, cause = self._cascaded(decided, (*after, *reads))
            self._add(d, day, cause)
            if not d.reuse:
                pending.append(day)
        self._pending[entry.stage] = sorted(pending)

    def _cascaded(
        self, decision: Decision, reads: Iterable[tuple[str, date | None, date]]
    ) -> tuple[Decision, date | None]:
        """The decision, once it is known that what it reads will be written anew; and the earliest
        day of that.

        Args:
            decision: by what is there now.
            reads: stages, and the half-open range of their days.
        """
        if not (decision.reuse or decision.reason == "input moved"):
            return decision, None
        for name, start, end in reads:
            days = self._pending.get(name, [])
            first = 0 if start is None else bisect_left(days, start)
            is_pending = first < len(days) and days[first] < end
            if is_pending or name in self._unknown:
                cascaded = replace(decision, reuse=False, reason=f"cascaded from {name}")
                return cascaded, days[first] if is_pending else None
        return decision, None

    def _read_by(self, stage: Stage, day: date) -> Iterator[tuple[str, date | None, date]]:
        """Stages whose output a day of a stage reads, and the half-open range of their days."""
        for read in stage.reads:
            start, end, before = self._state.fingerprints.range(read, day)
            for writer in self._state.fingerprints.writers(stage, read.table):
                yield writer, start, end if before is None else min(end, before)

    def _add(self, decision: Decision, day: date | None, cause: date | None = None) -> None:
        planned = Planned(decision.stage, day, decision.reuse, decision.reason, cause)
        self.days.append(planned if planned.reuse else self._costed(planned))

    def _costed(self, planned: Planned) -> Planned:
        if planned.stage not in self._costs:
            self._costs[planned.stage] = cost_of(self._state.receipts, planned.stage)
        cost = self._costs[planned.stage]
        if cost is None:
            return planned
        rows, seconds, n_bytes = cost
        return replace(planned, rows=rows, seconds=seconds, bytes=n_bytes)
