"""Which tasks a night can learn, and from which day on the others: by dates alone.

Nothing of a row is needed for it, so that it is known before anything costly starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from contracts.days import example_days
from contracts.splits import Split, split_days
from contracts.tasks import Task


@dataclass(frozen=True)
class LearningDays:
    """Which past as-of days are learnt from: the settings of that name."""

    example_spacing_days: int
    example_max_days: int
    min_history_days: int
    settle_days: int

    def before(self, as_of: date, first_landed: date) -> tuple[date, ...]:
        """The days that the night of `as_of` learns from, oldest first."""
        return example_days(
            as_of,
            first_landed,
            self.example_spacing_days,
            self.example_max_days,
            self.min_history_days,
        )

    def split(self, task: Task, as_of: date, first_landed: date) -> Split | None:
        """How the task's days are split as of a night; None where there is no room for it."""
        return split_days(task, self.before(as_of, first_landed), as_of, self.settle_days)


@dataclass(frozen=True)
class Learnable:
    """Whether a task can be learnt as of a night."""

    task: Task
    split: Split | None
    """None: it cannot."""
    from_day: date | None
    """The first night, this one or a later one, on which it can; None: on none, because
    `example_max_days` of `example_spacing_days` are too few for its horizon."""


def learnable(
    tasks: Sequence[Task], first_landed: date, as_of: date, days: LearningDays
) -> tuple[Learnable, ...]:
    """What the night of `as_of` can learn from data that begin on `first_landed`, task by task."""
    found: dict[int, date | None] = {}
    for task in tasks:
        if task.closes_after not in found:
            found[task.closes_after] = _first_night(task, first_landed, as_of, days)
    return tuple(
        Learnable(task, days.split(task, as_of, first_landed), found[task.closes_after])
        for task in tasks
    )


def _first_night(task: Task, first_landed: date, as_of: date, days: LearningDays) -> date | None:
    """The first night from `as_of` on with room for the task's three parts."""
    window = task.closes_after + days.settle_days
    needed = days.min_history_days + 3 * (window + 2 * days.example_spacing_days)
    last = max(as_of, first_landed + timedelta(days=needed)) + timedelta(
        days=days.example_spacing_days
    )
    for n in range((last - as_of).days + 1):
        night = as_of + timedelta(days=n)
        if days.split(task, night, first_landed) is not None:
            return night
    return None


def waiting(found: Sequence[Learnable]) -> list[str]:
    """A line for each day from which tasks can be learnt that cannot be learnt yet."""
    later = [f for f in found if f.split is None]
    nights = sorted({f.from_day for f in later if f.from_day is not None})
    lines = [
        f"from {night} on: {', '.join(f.task.name for f in later if f.from_day == night)}"
        for night in nights
    ]
    never = [f.task for f in later if f.from_day is None]
    if never:
        lines.append(
            "never, with so few example days (example_max_days): "
            + ", ".join(task.name for task in never)
        )
    return lines
