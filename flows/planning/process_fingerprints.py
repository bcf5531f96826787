"""What each stage that a process computes is a function of, day by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date

from contracts.hashes import hash_of
from contracts.released_table import ReleasedTable
from contracts.table import Table
from contracts.tables import ON_BRANCH
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import table_shape
from flows.engine.run_days import RunDays
from flows.learning.fingerprints import score_fingerprint, train_fingerprint
from flows.monitor.scoreboard import scoreboard_fingerprint
from flows.state.receipts import Fingerprint
from jobs.stages import process_named

FingerprintOf = Callable[[RunDays, date, str | None], Fingerprint]
"""Takes the run's days, the day, and the model that scores if it is known."""


def declared(released: ReleasedTable, function: str) -> FingerprintOf:
    """Of a released table that declares a function for its rows: its code, and what it reads."""
    name = function.replace(":", ".")

    def fingerprint(days: RunDays, day: date, model_id: str | None) -> Fingerprint:
        inputs = [(table.name, _read(days, released, table, day, model_id))
                  for table in released.reads]  # fmt: skip
        return Fingerprint(
            code_fingerprint((name, "models.released_table.write_days"))
            + table_shape((released.table,)),
            hash_of(None),
            hash_of(inputs),
        )

    return fingerprint


def _read(
    days: RunDays, released: ReleasedTable, table: Table, day: date, model_id: str | None
) -> str | None:
    """A hash of what a table has of a day; of one that a process is about to write, of what that is
    a function of; None where it has nothing."""
    for other in ON_BRANCH:
        if other.table == table:
            return hash_of(asdict(FINGERPRINTS[str(other.stage)](days, day, model_id)))
    stage = process_named(str(released.stage))
    (writer,) = days.state.fingerprints.writers(stage, table)
    return days.state.fingerprints.digests(writer, table.name).get(day)


FINGERPRINTS: Mapping[str, FingerprintOf] = {
    "train": lambda days, day, model_id: train_fingerprint(days),
    "score": lambda days, day, model_id: score_fingerprint(days.context, days.state, model_id, day),
    "scoreboard": lambda days, day, model_id: scoreboard_fingerprint(
        days.context, days.state.receipts, day
    ),
    **{
        str(released.stage): declared(released, released.rows)
        for released in ON_BRANCH
        if released.rows is not None
    },
}
"""Stage to what a day of it is a function of."""
