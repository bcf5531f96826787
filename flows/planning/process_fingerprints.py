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
from flows.engine.run import Run
from flows.learning.fingerprints import score_fingerprint, train_fingerprint
from flows.monitor.scoreboard import scoreboard_fingerprint
from flows.state.receipts import Fingerprint
from jobs.stages import process_named

FingerprintOf = Callable[[Run, date, str | None], Fingerprint]
"""Takes the run, the day, and the model that scores if it is known."""


def declared(released: ReleasedTable, function: str) -> FingerprintOf:
    """Of a released table that declares a function for its rows: its code, and what it reads."""
    name = function.replace(":", ".")

    def fingerprint(run: Run, day: date, model_id: str | None) -> Fingerprint:
        inputs = [(table.name, _read(run, released, table, day, model_id))
                  for table in released.reads]  # fmt: skip
        return Fingerprint(
            code_fingerprint((name, "models.released_table.write_days"))
            + table_shape((released.table,)),
            hash_of(None),
            hash_of(inputs),
        )

    return fingerprint


def _read(
    run: Run, released: ReleasedTable, table: Table, day: date, model_id: str | None
) -> str | None:
    """A hash of what a table has of a day; of one that a process is about to write, of what that is
    a function of; None where it has nothing."""
    for other in ON_BRANCH:
        if other.table == table:
            return hash_of(asdict(FINGERPRINTS[str(other.stage)](run, day, model_id)))
    stage = process_named(str(released.stage))
    (writer,) = run.fingerprints.writers(stage, table)
    return run.fingerprints.digests(writer, table.name).get(day)


FINGERPRINTS: Mapping[str, FingerprintOf] = {
    "train": lambda run, day, model_id: train_fingerprint(run, run.example_days),
    "score": lambda run, day, model_id: score_fingerprint(run, model_id, day),
    "scoreboard": lambda run, day, model_id: scoreboard_fingerprint(run, day),
    **{
        str(released.stage): declared(released, released.rows)
        for released in ON_BRANCH
        if released.rows is not None
    },
}
"""Stage to what a day of it is a function of."""
