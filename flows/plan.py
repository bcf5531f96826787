"""Which (stage, day) is reused, which recomputed, and why."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from contracts.table import Table
from contracts.tables import LANDED
from flows.code import code_fingerprint
from flows.receipts import Fingerprint, Receipt, Receipts
from jobs.sources import RawFile, Source
from jobs.stages import JOBS, Job, Settings

_MODULES = {
    "user_days": ("jobs.user_days",),
    "user_state": ("jobs.user_state",),
    "item_features": ("jobs.item_features",),
    "user_features": ("jobs.user_features",),
    "labels": ("jobs.labels",),
    "examples": ("jobs.labels",),
}
_CLEAN = ("jobs.clean", "jobs.clean_tables")
_WRITER: dict[str, str] = {
    table.name: job.name
    for job in JOBS
    for table in job.writes
    if not job.name.startswith("clean_") or table is job.writes[0]
}


@dataclass(frozen=True)
class Decision:
    """What is done about one day of one stage."""

    stage: str
    day: date
    fingerprint: Fingerprint
    reuse: bool
    reason: str


def decide(stage: str, day: date, fingerprint: Fingerprint, receipt: Receipt | None) -> Decision:
    """Reuse what a receipt shows to be a function of the same code, configuration and inputs."""
    if receipt is None:
        return Decision(stage, day, fingerprint, False, "never computed")
    before = receipt.fingerprint
    moved = [
        reason
        for reason, was, now in (
            ("code changed", before.code, fingerprint.code),
            ("configuration changed", before.configuration, fingerprint.configuration),
            ("input moved", before.inputs, fingerprint.inputs),
        )
        if was != now
    ]
    return Decision(stage, day, fingerprint, not moved, ", ".join(moved) or "nothing changed")


def hash_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def landing_stage(source: Source) -> str:
    return f"land_{source.name}"


def land_fingerprint(
    source: Source, files: Sequence[RawFile], hashes: Mapping[Any, str]
) -> Fingerprint:
    """Of the raw files of one day, or of all history where files have no day."""
    reading = [
        source.format,
        source.columns,
        source.encoding,
        source.separator,
        source.quote,
        source.header,
        source.multiline,
        source.landed_on,
        source.max_undecodable_share,
        source.lands_after_days,
    ]
    return Fingerprint(
        code_fingerprint(("jobs.land",)) + table_shape((LANDED,)),
        hash_of(reading),
        hash_of(sorted((file.name, hashes[file.path]) for file in files)),
    )


class Planner:
    """Fingerprints of the Spark jobs' days, from the receipts of what they read."""

    def __init__(self, receipts: Receipts, settings: Settings):
        self._receipts, self._settings = receipts, settings
        self._digests: dict[tuple[str, str], dict[date, tuple[Any, ...]]] = {}
        self._code: dict[str, str] = {}

    def decisions(self, job: Job, days: Iterable[date]) -> tuple[Decision, ...]:
        """What is to be done about these days, given what is there now."""
        return tuple(
            decide(job.name, day, self.fingerprint(job, day), self._receipts.get(job.name, day))
            for day in days
        )

    def fingerprint(self, job: Job, day: date) -> Fingerprint:
        if job.name not in self._code:
            modules = _CLEAN if job.name.startswith("clean_") else _MODULES[job.name]
            self._code[job.name] = code_fingerprint(modules) + table_shape(job.writes)
        inputs = []
        for read in job.reads:
            start, end = read.bounds(day, self._settings.known_until)
            for stage in self.writers(job, read.table):
                found = self.digests(stage, read.table.name)
                days = list(found)  # in order
                first = 0 if start is None else bisect_left(days, start)
                inputs += [
                    (read.table.name, stage, str(d), *found[d])
                    for d in days[first : bisect_left(days, end)]
                ]
        return Fingerprint(
            self._code[job.name],
            hash_of(job.settings(self._settings, day)),
            hash_of(sorted(inputs)),
        )

    def writers(self, job: Job, table: Table) -> tuple[str, ...]:
        """Stages whose output `job` reads as `table`."""
        if table is not LANDED:
            return (_WRITER[table.name],)
        fed = self._settings.mapping.feeding(job.writes[0].name)
        return tuple(dict.fromkeys(landing_stage(source) for source, _ in fed))

    def digests(self, stage: str, table: str) -> dict[date, tuple[Any, ...]]:
        """Content digests of a stage's days, without the days on which it wrote nothing."""
        found = self._digests.get((stage, table))
        if found is None:
            found = {}
            for day in self._receipts.days(stage):
                receipt = self._receipts.get(stage, day)
                output = receipt.outputs.get(table) if receipt else None
                if output and output["rows"]:
                    found[day] = (output["digest"],)
            self._digests[stage, table] = found
        return found

    def forget(self, stage: str) -> None:
        """Read a stage's digests again: it has written."""
        self._digests = {key: value for key, value in self._digests.items() if key[0] != stage}


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
