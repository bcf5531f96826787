"""Half-open ranges of UTC days, look-back, and when a label has matured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from contracts.errors import ContractError, UsageError

MAX_DAYS = 36_500
"""What a number of days may be set to: a date cannot say many times more."""
ONE_DAY = timedelta(days=1)

EPOCH = date(1970, 1, 1)
"""Where days that are numbers count from."""

DEDUP_DAYS = 7
"""Days back from its own in which an earlier row of the same id makes a landed row a retry."""

MAX_DAYS_EARLY = 1
"""A row may carry a time up to the end of the day after it landed: clocks and zones differ."""


@dataclass(frozen=True)
class Days:
    """The half-open range of UTC days `[start, end)`."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ContractError(
                f"a range of days must not end ({self.end}) before it starts ({self.start})"
            )

    def __iter__(self) -> Iterator[date]:
        for offset in range(len(self)):
            yield self.start + timedelta(days=offset)

    def __len__(self) -> int:
        return (self.end - self.start).days

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day < self.end


def label_is_closed(as_of: date, horizon: int, settle_days: int, known_until: date) -> bool:
    """Whether the window `[as_of, as_of + horizon)` and the days for late rows are all past.

    `known_until` is a midnight: rows that landed before it are known.
    """
    return as_of + timedelta(days=horizon + settle_days) <= known_until


def example_days(
    as_of: date, first_landed: date, spacing_days: int, max_days: int, min_history_days: int
) -> tuple[date, ...]:
    """Past as-of days to learn from, oldest first: the newest ones before `as_of` of a fixed grid.

    The grid does not move with the night, so what was computed for a day is there the next night.
    None of them has fewer than `min_history_days` of landed rows behind it.
    """
    earliest = first_landed + timedelta(days=min_history_days)
    newest = date.fromordinal((as_of.toordinal() - 1) // spacing_days * spacing_days)
    days = (newest - timedelta(days=spacing_days * k) for k in range(max_days))
    return tuple(sorted(day for day in days if day >= earliest))


def parse_day(text: str, what: str = "day") -> date:
    """The day that `text` names, as YYYY-MM-DD.

    Raises:
        UsageError: `text` is anything else.
    """
    try:
        return date.fromisoformat(text) if len(text) == 10 else _no_day(text, what)
    except ValueError:
        return _no_day(text, what)


def _no_day(text: str, what: str) -> date:
    raise UsageError(f"{what}: expected a day such as 2025-01-31, found {text!r}")


def midnight_before(moment: datetime) -> date:
    """The latest UTC midnight at or before `moment`, as a day."""
    if moment.tzinfo is None:
        raise ContractError(f"a moment must say its time zone; {moment.isoformat()} does not")
    return moment.astimezone(UTC).date()


def as_ranges(days: Iterable[date]) -> tuple[Days, ...]:
    """The fewest ranges that cover exactly `days`, in order. For messages and for reads."""
    ranges: list[Days] = []
    for day in sorted(set(days)):
        if ranges and ranges[-1].end == day:
            ranges[-1] = Days(ranges[-1].start, day + ONE_DAY)
        else:
            ranges.append(Days(day, day + ONE_DAY))
    return tuple(ranges)
