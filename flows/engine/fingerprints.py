"""Fingerprints: what a stage's day is a function of, and whether its receipt still holds."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.clean_tables import clean_table_named
from contracts.hashes import hash_of, text_hash
from contracts.mapping import SOURCE_SETTINGS
from contracts.source_table import content
from contracts.table import Table
from contracts.tables import LANDED
from flows.engine.code_hash import code_fingerprint, name_of
from flows.state.receipts import WITHDRAWN, Fingerprint, Receipt, Receipts
from jobs.mapping.sources import RawFile, Source
from jobs.stage import Job, Read, Settings, Stage
from jobs.stages import JOBS

CODE_OF_FILES = ("jobs.spark.files.read_table", "jobs.spark.files.write_days")
"""How every job's rows come out of files and go into them."""
CODE_OF_LANDING = ("jobs.run.run_landing", "jobs.erasure.blanked")
_WRITER: dict[str, str] = {
    table.name: job.name
    for job in JOBS
    for table in job.writes
    if not job.name.startswith("clean_") or table is job.writes[0]
}
_AND = " "
"""Between the hash of what a stage reads of tables and those of lookups, which are named."""
NEVER_COMPUTED, FORCED, ROLLED_BACK = "never computed", "forced", "rolled back"


@dataclass(frozen=True)
class Decision:
    """What is done about one day of one stage."""

    stage: str
    day: date
    fingerprint: Fingerprint
    reuse: bool
    reason: str


def decide(
    stage: str, day: date, fingerprint: Fingerprint, receipt: Receipt | None, force: bool = False
) -> Decision:
    """Reuse what a receipt shows to be a function of the same code, configuration and inputs."""
    if receipt is None:
        return Decision(stage, day, fingerprint, False, NEVER_COMPUTED)
    if force:
        return Decision(stage, day, fingerprint, False, FORCED)
    before = receipt.fingerprint
    if before.inputs == WITHDRAWN:
        return Decision(stage, day, fingerprint, False, ROLLED_BACK)
    tables_were, were = _parts(before.inputs)
    tables_are, are = _parts(fingerprint.inputs)
    moved = [
        reason
        for reason, was, now in (
            ("code changed", before.code, fingerprint.code),
            ("configuration changed", before.configuration, fingerprint.configuration),
            ("input moved", tables_were, tables_are),
        )
        if was != now
    ]
    moved += [
        f"lookup {name} changed"
        for name in sorted(were.keys() | are.keys())
        if were.get(name) != are.get(name) and ({name} <= were.keys() & are.keys() or not moved)
    ]
    return Decision(stage, day, fingerprint, not moved, ", ".join(moved) or "nothing changed")


def _parts(inputs: str) -> tuple[str, dict[str, str]]:
    """The hash of what was read of tables, and those of lookups by name."""
    tables, *lookups = inputs.split(_AND)
    return tables, dict(lookup.split("=") for lookup in lookups)


LANDING = "land_"


def landing_stage(source: Source) -> str:
    return f"{LANDING}{source.name}"


def land_fingerprint(
    source: Source, files: Sequence[RawFile], hashes: Mapping[Any, str]
) -> Fingerprint:
    """Of the raw files of one day, or of all history where files have no day."""
    reading = [getattr(source, setting.name) for setting in SOURCE_SETTINGS if setting.landing]
    # which rows name a person who was erased
    reading += [content(clean_table_named(t.table).cleaning) for t in source.tables]
    return Fingerprint(
        code_fingerprint(CODE_OF_LANDING) + table_shape((LANDED,)),
        hash_of(reading),
        hash_of(sorted((file.name, hashes[file.path]) for file in files)),
    )


class Outputs:
    """What a stage has written of a table, day by day, hashed so that any range of days is quick.

    Days on which it wrote nothing are left out.
    """

    def __init__(self, written: Mapping[date, tuple[str, date]]):
        self._days = sorted(written)
        self._items = [f"{day}:{written[day][0]}" for day in self._days]
        self._firsts = [written[day][1] for day in self._days]
        self._prefixes = [""]
        for item in self._items:
            self._prefixes.append(text_hash(self._prefixes[-1] + item))
        self.digests = {day: written[day][0] for day in self._days}

    def places(self, start: date | None, end: date) -> tuple[int, int]:
        first = 0 if start is None else bisect_left(self._days, start)
        return first, max(first, bisect_left(self._days, end))

    def hash(self, start: date | None, end: date, before: date | None) -> str:
        """A hash of the days `[start, end)` on which something happened `before` a day.

        What lies outside does not count: a range with a start is hashed alike whether or not there
        are days before it.
        """
        first, last = self.places(start, end)
        if before is None:
            if start is None:
                return self._prefixes[last]
            return text_hash("".join(self._items[first:last]))
        return text_hash(
            "".join(self._items[i] for i in range(first, last) if self._firsts[i] < before)
        )

    def days(self, start: date | None, end: date, before: date | None) -> list[date]:
        """Those days."""
        first, last = self.places(start, end)
        return [
            self._days[i] for i in range(first, last) if before is None or self._firsts[i] < before
        ]


class Fingerprints:
    """Fingerprints of the Spark jobs' days, from the receipts of what they read."""

    def __init__(self, receipts: Receipts, settings: Settings):
        self._receipts, self._settings = receipts, settings
        self._outputs: dict[tuple[str, str], Outputs] = {}
        self._lock = threading.Lock()  # stages of a night run side by side
        self._code: dict[str, str] = {}

    def decisions(
        self, job: Job, days: Iterable[date], force: Collection[date] = ()
    ) -> tuple[Decision, ...]:
        """What is to be done about these days, given what is there now."""
        return tuple(
            decide(
                job.name,
                day,
                self.fingerprint(job, day),
                self._receipts.get(job.name, day),
                day in force,
            )
            for day in days
        )

    def code(self, job: Job) -> str:
        if job.name not in self._code:
            computing = [name_of(f) for f in (job.compute, job.one_pass) if f is not None]
            written = code_fingerprint([*computing, *CODE_OF_FILES])
            declared = "" if job.declared is None else hash_of(job.declared)
            self._code[job.name] = written + table_shape(job.writes) + declared
        return self._code[job.name]

    def configuration(self, job: Job, day: date) -> str:
        return hash_of(job.settings(self._settings, day))

    def fingerprint(self, job: Job, day: date) -> Fingerprint:
        inputs, lookups = self.inputs(job, day), job.lookups(self._settings, day)
        return Fingerprint(
            self.code(job),
            self.configuration(job, day),
            _AND.join([inputs, *(f"{name}={lookups[name]}" for name in sorted(lookups))]),
        )

    def inputs(self, stage: Stage, day: date) -> str:
        """A hash of what a day of a stage reads of tables."""
        return hash_of(
            [
                (
                    read.table.name,
                    writer,
                    self.outputs(writer, read.table.name).hash(*self.range(read, day)),
                )
                for read in stage.reads
                for writer in self.writers(stage, read.table)
            ]
        )

    def range(self, read: Read, day: date) -> tuple[date | None, date, date | None]:
        """Partitions that a day depends on: from, to, and with something that happened before."""
        before = None if read.within is None else day + timedelta(days=read.within)
        return (*read.bounds(day, self._settings.known_until), before)

    def partitions(self, stage: Stage, table: Table, day: date, carried: date | None) -> set[date]:
        """The days of `table` that a day of the stage must read if it starts from `carried`."""
        days: set[date] = set()
        for read in stage.reads:
            if read.table is not table:
                continue
            start, end, before = self.range(read, day)
            if read.carried and carried is not None:
                # A row may be known a day after it landed.
                start = carried - timedelta(days=1)
            for writer in self.writers(stage, table):
                days.update(self.outputs(writer, table.name).days(start, end, before))
        return days

    def writers(self, stage: Stage, table: Table) -> tuple[str, ...]:
        """Stages whose output `stage` reads as `table`."""
        if table is not LANDED:
            return (_WRITER[table.name],)
        fed = self._settings.mapping.feeding(stage.writes[0].name)
        return tuple(dict.fromkeys(landing_stage(source) for source, _ in fed))

    def outputs(self, stage: str, table: str) -> Outputs:
        with self._lock:
            return self._outputs_of(stage, table)

    def _outputs_of(self, stage: str, table: str) -> Outputs:
        outputs = self._outputs.get((stage, table))
        if outputs is None:
            written = {}
            for day in self._receipts.days(stage):
                receipt = self._receipts.get(stage, day)
                output = receipt.outputs.get(table) if receipt else None
                if output and output["rows"]:
                    first = output.get("first")
                    written[day] = (
                        output["digest"],
                        date.fromisoformat(first) if first else date.min,
                    )
            outputs = self._outputs[stage, table] = Outputs(written)
        return outputs

    def digests(self, stage: str, table: str) -> dict[date, str]:
        """Content digests of a stage's days, without the days on which it wrote nothing."""
        return self.outputs(stage, table).digests

    def invalidate(self, stage: str) -> None:
        """Read a stage's outputs again: it has written."""
        with self._lock:
            self._outputs = {key: value for key, value in self._outputs.items() if key[0] != stage}


def table_shape(tables: Sequence[Table]) -> str:
    """A hash of what a contract says of rows, without its prose."""
    return hash_of(
        [
            (
                t.name,
                t.grain,
                t.day,
                t.partition,
                [(c.name, c.type, c.nullable, c.minimum, c.maximum, c.values) for c in t.columns],
            )
            for t in tables
        ]
    )
