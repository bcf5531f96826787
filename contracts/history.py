"""Which tasks a night can train, and from which day on the others: by dates alone.

Nothing of a row is needed for it, so that it is known before anything costly starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from contracts.days import example_days
from contracts.splits import Split, split_days
from contracts.tasks import Task


@dataclass(frozen=True)
class TrainingDays:
    """Which past as-of days are trained on: the settings of that name."""

    example_spacing_days: int
    example_max_days: int
    min_history_days: int
    settle_days: int

    def before(self, as_of: date, first_landed: date) -> tuple[date, ...]:
        """The days that the night of `as_of` trains on, oldest first."""
        return example_days(
            as_of,
            first_landed,
            self.example_spacing_days,
            self.example_max_days,
            self.min_history_days,
        )

    def split(self, task: Task, as_of: date, first_landed: date) -> Split | None:
        """How the task's examples are split as of a night; None where there is none."""
        return split_days(task, self.before(as_of, first_landed), as_of, self.settle_days)


@dataclass(frozen=True)
class Trainable:
    """Whether a task can be trained as of a night."""

    task: Task
    split: Split | None
    """None: it cannot."""
    from_day: date | None
    """The first night, this one or a later one, on which it can; None: on none, because
    `example_max_days` of `example_spacing_days` do not reach back as far as its horizon."""
    by_time_from: date | None
    """The first such night on which it is tested on later days than it was trained on."""


def first_days_of(tasks: Sequence[Task], first_days: Mapping[str, date | None]) -> dict[str, date]:
    """Task to the day on which the data begin that it is labelled from, going by the first day of
    each mapped table; without tasks of which it is not known (None) of such a table.

    Where no such table is mapped it goes by all.
    """
    first_day = {}
    for task in tasks:
        known = [first_days[t] for t in task.labelled_from if t in first_days]
        days = [day for day in known or first_days.values() if day is not None]
        if days and len(days) == len(known or first_days):
            first_day[task.name] = min(days)
    return first_day


def trainable(
    tasks: Sequence[Task], first_landed: Mapping[str, date], as_of: date, days: TrainingDays
) -> tuple[Trainable, ...]:
    """What the night of `as_of` can train, task by task, on data that begin for each task on the
    day that `first_landed` says; of tasks that it does not name nothing is known."""
    first_nights: dict[tuple[int, date], tuple[date | None, date | None]] = {}
    by_task = []
    for task in tasks:
        first = first_landed.get(task.name)
        if first is None:
            continue
        of = (task.closes_after, first)
        if of not in first_nights:
            first_nights[of] = _first_nights(task, first, as_of, days)
        by_task.append(Trainable(task, days.split(task, as_of, first), *first_nights[of]))
    return tuple(by_task)


def _first_nights(
    task: Task, first_landed: date, as_of: date, days: TrainingDays
) -> tuple[date | None, date | None]:
    """The first nights from `as_of` on with a closed day, and with room for three parts by time."""
    window = task.closes_after + days.settle_days
    needed = days.min_history_days + 3 * (window + 2 * days.example_spacing_days)
    last = max(as_of, first_landed + timedelta(days=needed)) + timedelta(
        days=days.example_spacing_days
    )
    first: date | None = None
    for n in range((last - as_of).days + 1):
        night = as_of + timedelta(days=n)
        split = days.split(task, night, first_landed)
        if split is not None:
            first = first or night
            if not split.by_user:
                return first, night
    return first, None


def waiting(tasks: Sequence[Trainable]) -> list[str]:
    """A line for each day from which tasks can be trained that cannot be yet."""
    return _by_night([(f.task.name, f.from_day) for f in tasks if f.split is None])


def by_user(tasks: Sequence[Trainable]) -> list[str]:
    """A line for each day from which tasks are split by time that are split by user until then."""
    return _by_night(
        [(f.task.name, f.by_time_from) for f in tasks if f.split is not None and f.split.by_user]
    )


def _by_night(nights: Sequence[tuple[str, date | None]]) -> list[str]:
    lines = [
        f"from {night} on: {', '.join(name for name, of in nights if of == night)}"
        for night in sorted({night for _, night in nights if night is not None})
    ]
    never = [name for name, night in nights if night is None]
    if never:
        listed = ", ".join(never)
        lines.append(f"never, with so few example days (example_max_days): {listed}")
    return lines
