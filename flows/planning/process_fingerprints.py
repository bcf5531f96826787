"""What days of stages that processes compute are functions of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, Protocol

from contracts.hashes import hash_of
from contracts.released_table import ReleasedTable
from contracts.table import Table
from contracts.tables import ON_BRANCH
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import table_shape
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.state.receipts import Fingerprint
from jobs.stage import Process
from jobs.stages import process_named

FingerprintOf = Callable[[RunDays, date, str | None], Fingerprint]
"""Takes the run's days, the day, and the model that scores if it is known."""


ReadsOf = Callable[[RunDays, date], Iterable[tuple[str, date | None, date]]]
"""Takes the run's days and the day; stages, and the half-open range of their days that it reads."""


class Fingerprinted(Protocol):
    """A stage that a process computes, as far as a plan looks at it."""

    @property
    def fingerprint(self) -> FingerprintOf:
        """What a day of it is a function of."""

    @property
    def reads(self) -> ReadsOf | None:
        """What a day of it reads, where that is more than its declaration can say."""


def on_main(
    process: Process, code: Sequence[str], configuration: Callable[[RunContext], Any]
) -> FingerprintOf:
    """Of a table that a process writes on `main`: its code, what of the settings its rows depend
    on, and what it is declared to read."""

    def fingerprint(days: RunDays, day: date, model_id: str | None) -> Fingerprint:
        return Fingerprint(
            code_fingerprint(code) + table_shape(process.writes),
            hash_of(configuration(days.context)),
            days.state.fingerprints.inputs(process, day),
        )

    return fingerprint


def declared(
    released: ReleasedTable, function: str, fingerprint_of: Callable[[str], FingerprintOf]
) -> FingerprintOf:
    """Of a released table that declares a function for its rows: its code, and what it reads.

    Args:
        released: the table.
        function: the function, as `module:function`.
        fingerprint_of: what days of other stages that processes compute are functions of, by name.
    """
    name = function.replace(":", ".")

    def read(days: RunDays, table: Table, day: date, model_id: str | None) -> str | None:
        """A hash of what a table has of a day; of one that a process is about to write, of what
        that is a function of; None where it has nothing."""
        for other in ON_BRANCH:
            if other.table == table:
                return hash_of(asdict(fingerprint_of(str(other.stage))(days, day, model_id)))
        stage = process_named(str(released.stage))
        (writer,) = days.state.fingerprints.writers(stage, table)
        return days.state.fingerprints.digests(writer, table.name).get(day)

    def fingerprint(days: RunDays, day: date, model_id: str | None) -> Fingerprint:
        inputs = [(table.name, read(days, table, day, model_id)) for table in released.reads]
        return Fingerprint(
            code_fingerprint((name, "models.released_table.write_days"))
            + table_shape((released.table,)),
            hash_of(None),
            hash_of(inputs),
        )

    return fingerprint
