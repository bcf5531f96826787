"""What `nightjar check` finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from contracts.history import Trainable
from flows.monitor.null_like_ids import NullLike
from jobs.run import Unfound


@dataclass(frozen=True)
class Sample:
    """A row that was dropped: where it lies, and its fields with letters and digits hidden."""

    place: str
    fields: str


@dataclass(frozen=True)
class Reason:
    """Why rows of a table were dropped."""

    text: str
    rows: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class CheckedTable:
    """What became of the rows meant for a clean table."""

    name: str
    rows_in: int
    clean: int
    duplicate: int
    quarantined: int
    reasons: tuple[Reason, ...]
    """The most frequent first."""
    users: int | None
    """Distinct keys among clean rows; None where rows are about nobody."""
    first: datetime | None
    last: datetime | None
    """Of `occurred_at` among clean rows."""


@dataclass(frozen=True)
class CheckedSource:
    """What was looked at of a source."""

    name: str
    files: int
    files_read: int
    rows: int
    first_day: date | None
    """On which a row landed, as far as it was looked at; of all files where their names say it."""
    too_late: int
    """Rows that land on `as_of` or later, so that a night does not see them yet."""


@dataclass(frozen=True)
class CheckedLookup:
    """A lookup, which is read whole."""

    name: str
    file: str
    rows: int


@dataclass(frozen=True)
class Checked:
    """What a night as of `as_of` would make of raw files, or of the first rows of each."""

    as_of: date
    max_rows: int | None
    sources: tuple[CheckedSource, ...]
    tables: tuple[CheckedTable, ...]
    tasks: tuple[Trainable, ...]
    """Tasks whose sources the mapping has: whether they can be trained by their dates, and from
    when."""
    switched_off: tuple[tuple[str, str], ...]
    """Other tasks, and the tables that they lack."""
    gaps: tuple[str, ...] = ()
    """Days without a file of sources that say to stop: a night would."""
    lookups: tuple[CheckedLookup, ...] = ()
    ids_with_decimals: tuple[str, ...] = ()
    """Fields of which some ids are written as 123.0 and others as 123, with what to write."""
    null_like: tuple[NullLike, ...] = ()
    """Ids that look as if there were none."""
    absent_keys: tuple[str, ...] = ()
    """Keys that the mapping names in elements of arrays, and none of the first rows has."""
    absent_from_first: tuple[str, ...] = ()
    """Files of which none of the rows that were read has a key of the mapping; there are more."""
    cut_off: tuple[str, ...] = ()
    """Files that end in the middle of a line."""
    unfound: tuple[Unfound, ...] = ()
    """Rows whose keys lookups have no row for."""
    over_limits: tuple[str, ...] = ()
    """Where cleaning drops more than the limits allow of the rows that were read."""
    read_whole: bool = True
    """Whether these are all rows there are."""
    too_few: tuple[tuple[str, str], ...] = ()
    """Of these tasks those that have too few rows to be trained, and how many they have at most;
    known only where all rows were read."""

    @property
    def would_stop(self) -> tuple[str, ...]:
        """Why a night would stop."""
        return self.gaps + (self.over_limits if self.read_whole else ())

    @property
    def may_stop(self) -> tuple[str, ...]:
        """Why a night would stop if the other rows are like those that were read."""
        return () if self.read_whole else self.absent_from_first + self.over_limits

    @property
    def first_day(self) -> date | None:
        return min((s.first_day for s in self.sources if s.first_day is not None), default=None)


def as_json(checked: Checked) -> dict[str, Any]:
    """For programs."""
    too_few = dict(checked.too_few)
    return {
        "as_of": checked.as_of.isoformat(),
        "rows": "all" if checked.max_rows is None else checked.max_rows,
        "sources": {
            s.name: {
                "files": s.files,
                "files_read": s.files_read,
                "rows": s.rows,
                "not_before_as_of": s.too_late,
            }
            for s in checked.sources
        },
        "lookups": {look.name: {"file": look.file, "rows": look.rows} for look in checked.lookups},
        "tables": {table.name: _table_as_json(table) for table in checked.tables},
        "tasks": {
            f.task.name: {
                "can_be_trained": f.split is not None and f.task.name not in too_few,
                "from": f.from_day and f.from_day.isoformat(),
                "too_few": too_few.get(f.task.name),
            }
            for f in checked.tasks
        },
        "switched_off": dict(checked.switched_off),
        "a_night_would_stop": list(checked.would_stop),
        "a_night_may_stop": list(checked.may_stop),
        "cut_off": list(checked.cut_off),
        "keys_of_no_element": list(checked.absent_keys),
        "ids_like_null": [
            {
                "source": one.source,
                "table": one.table,
                "field": one.field,
                "rows": one.rows,
                "texts": list(one.texts),
            }
            for one in checked.null_like
        ],
        "ids_with_decimals": list(checked.ids_with_decimals),
        "keys_not_in_lookups": [asdict(one) for one in checked.unfound],
    }


def _table_as_json(table: CheckedTable) -> dict[str, Any]:
    return {
        "in": table.rows_in,
        "clean": table.clean,
        "duplicate": table.duplicate,
        "quarantined": table.quarantined,
        "reasons": {reason.text: reason.rows for reason in table.reasons},
        "users": table.users,
        "first": _iso(table.first),
        "last": _iso(table.last),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
