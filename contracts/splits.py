"""Which as-of days a task learns from, stops on, and is tested on: always split by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from contracts.days import label_is_closed
from contracts.tasks import Task


@dataclass(frozen=True)
class Split:
    """As-of days of one task, each later than the ones before and than their labels' windows."""

    train: tuple[date, ...]
    valid: tuple[date, ...]
    test: tuple[date, ...]

    @property
    def used(self) -> tuple[date, ...]:
        """Days whose labels shaped the model."""
        return (*self.train, *self.valid)


def split_days(
    task: Task, as_ofs: Sequence[date], known_until: date, settle_days: int
) -> Split | None:
    """The newest closed days to test on, older ones to stop on, and all older ones to learn from.

    Between the three lie the days until a label is known and the settling days, so that no window
    reaches into the next part. Two days are held out for each where there is room, else one; None
    where there is no room at all. Tasks are split apart: a short horizon does not wait for a long
    one.
    """
    closed = sorted(
        a for a in as_ofs if label_is_closed(a, task.closes_after, settle_days, known_until)
    )
    for n in (2, 1):
        test = tuple(closed[-n:])
        if len(test) < n:
            continue
        valid = _closed_before(task, closed, test[0], settle_days)[-n:]
        if len(valid) < n:
            continue
        train = _closed_before(task, closed, valid[0], settle_days)
        if train:
            return Split(train, valid, test)
    return None


def _closed_before(
    task: Task, days: Sequence[date], day: date, settle_days: int
) -> tuple[date, ...]:
    return tuple(a for a in days if label_is_closed(a, task.closes_after, settle_days, day))
