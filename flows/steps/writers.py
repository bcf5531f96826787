"""How processes write released tables: what they are asked for, and what they have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from contracts.table import Table
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.lake.iceberg import DataFile
from flows.state.receipts import Fingerprint, Receipts
from flows.storage.home import Home


@dataclass(frozen=True)
class WriteRequest:
    """Days of a table that a process is to write for a release."""

    days: Sequence[date]
    fingerprints: Mapping[date, Fingerprint]
    model_id: str
    release_id: str
    staging: str
    """The folder for its files."""
    files: Callable[[Table, date], Sequence[DataFile]]
    """The files of a day of a table, as the release will have them."""
    run_days: RunDays
    """The run's."""


@dataclass(frozen=True)
class WrittenFiles:
    """What a process has written for one day."""

    rows: int
    paths: tuple[str, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What the day's receipt keeps besides."""


@dataclass(frozen=True)
class WriteResult:
    """What a process has written."""

    rows_in: int
    days: Mapping[date, WrittenFiles]

    @property
    def rows_out(self) -> int:
        return sum(files.rows for files in self.days.values())

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for files in self.days.values() for path in files.paths)


def _nothing(home: Home) -> None:
    """Nothing is left behind."""


@dataclass(frozen=True)
class Writer:
    """How the rows of a released table come about."""

    write: Callable[[RunContext, Receipts, WriteRequest], WriteResult]
    """Has a process write files of the asked days; nothing is committed."""
    committed: Callable[[Home], None] = _nothing
    """Removes what a process that is killed would go on from."""
