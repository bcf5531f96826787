"""Receipts: what was computed from what, by which code, at what cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, RowMapping, delete, insert, select

from contracts.tables import EXAMPLES, LABELS
from flows.state.schema import RECEIPTS, as_utc

WITHDRAWN = "withdrawn"
"""Stands for the inputs of what was rolled back: nothing equals it, so it is made again."""
CONTENT = "content"
"""What receipts call by what a day's texts were scored."""


@dataclass(frozen=True)
class Fingerprint:
    """What an output is a function of: three hashes, so that a change can be named."""

    code: str
    configuration: str
    inputs: str


@dataclass(frozen=True)
class Receipt:
    """One stage's day, done."""

    stage: str
    day: date
    fingerprint: Fingerprint
    outputs: Mapping[str, Any]
    """Per table: its content's digest, rows and snapshot; for other stages, what they made."""
    rows_in: int
    rows_out: int
    seconds: float
    bytes: int
    git_commit: str | None
    run_id: str
    finished_at: datetime


class Receipts:
    """All receipts, the newest per stage and day, held in memory beside the database."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._known: dict[str, dict[date, Receipt]] = {}
        with engine.connect() as connection:
            for row in connection.execute(select(RECEIPTS)).mappings():
                receipt = _receipt(row)
                self._known.setdefault(receipt.stage, {})[receipt.day] = receipt

    def get(self, stage: str, day: date) -> Receipt | None:
        return self._known.get(stage, {}).get(day)

    def days(self, stage: str) -> tuple[date, ...]:
        """Days that the stage has been computed for, in order."""
        return tuple(sorted(self._known.get(stage, ())))

    def all(self) -> Iterator[Receipt]:
        for days in self._known.values():
            yield from days.values()

    def codes(self) -> dict[str, str]:
        """Stage to the hash of the code that has computed it last."""
        last = {stage: max(days.values(), key=lambda r: (r.finished_at, r.day))
                for stage, days in self._known.items() if days}  # fmt: skip
        return {stage: receipt.fingerprint.code for stage, receipt in last.items()}

    def write(self, receipts: Iterable[Receipt]) -> None:
        """Replace the receipts of these stages and days, all in one transaction."""
        receipts = list(receipts)
        rows = [
            {
                "code": r.fingerprint.code,
                "configuration": r.fingerprint.configuration,
                "inputs": r.fingerprint.inputs,
                **{name: getattr(r, name) for name in _PLAIN},
            }
            for r in receipts
        ]
        with self._engine.begin() as connection:
            for r in receipts:
                connection.execute(
                    delete(RECEIPTS).where(RECEIPTS.c.stage == r.stage, RECEIPTS.c.day == r.day)
                )
            if rows:
                connection.execute(insert(RECEIPTS), rows)
        for r in receipts:
            self._known.setdefault(r.stage, {})[r.day] = r

    def drop(self, stage: str, days: Iterable[date]) -> None:
        """Drop the receipts of days whose rows are dropped."""
        wanted = tuple(days)
        with self._engine.begin() as connection:
            connection.execute(
                delete(RECEIPTS).where(RECEIPTS.c.stage == stage, RECEIPTS.c.day.in_(wanted))
            )
        for day in wanted:
            self._known.get(stage, {}).pop(day, None)

    def of_run(self, run_id: str) -> tuple[Receipt, ...]:
        """What one run computed, in the order in which it finished."""
        mine = (r for r in self.all() if r.run_id == run_id)
        return tuple(sorted(mine, key=lambda r: (r.finished_at, r.stage, r.day)))


def trained_on(receipts: Receipts, models: Collection[str] | None = None) -> dict[str, set[int]]:
    """Table to the snapshots that models were trained on: of `models`, or of all."""
    snapshots: dict[str, set[int]] = {}
    for day in receipts.days("train"):
        receipt = receipts.get("train", day)
        if receipt is None or (models is not None and receipt.outputs["model_id"] not in models):
            continue
        for table in (EXAMPLES, LABELS):
            snapshot = receipt.outputs.get(f"{table.name}_snapshot")
            if snapshot is not None:
                snapshots.setdefault(table.name, set()).add(int(snapshot))
    return snapshots


_PLAIN = (
    "stage",
    "day",
    "outputs",
    "rows_in",
    "rows_out",
    "seconds",
    "bytes",
    "git_commit",
    "run_id",
    "finished_at",
)


def _receipt(row: RowMapping) -> Receipt:
    return Receipt(
        fingerprint=Fingerprint(row["code"], row["configuration"], row["inputs"]),
        **{name: row[name] for name in _PLAIN} | {"finished_at": as_utc(row["finished_at"])},
    )


def newest(engine: Engine, stage: str, limit: int) -> tuple[Receipt, ...]:
    """A stage's receipts of its newest days, oldest first; no other is read."""
    asked = select(RECEIPTS).where(RECEIPTS.c.stage == stage)
    with engine.connect() as connection:
        rows = connection.execute(asked.order_by(RECEIPTS.c.day.desc()).limit(limit)).mappings()
        return tuple(_receipt(row) for row in rows)[::-1]
