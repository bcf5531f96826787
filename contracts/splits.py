"""What a task learns from, stops on, and is tested on: split by time, and where there is too little
history for that, by user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from contracts.counts import n_of
from contracts.days import label_is_closed
from contracts.tasks import Task

USER_FOLDS = 5
"""Parts that users fall into by a hash of their key, whatever the day."""
FOLDS_OF = {"train": frozenset({0, 1, 2}), "valid": frozenset({3}), "test": frozenset({4})}
"""What a task that is split by user learns from, stops on, and is tested on."""


LATER_DAYS, OTHER_USERS = "later days", "other users of the same days"
"""What a task is measured on."""


@dataclass(frozen=True)
class Cut:
    """Rows whose labels count for a task: of some days, and of all users or those of some folds."""

    days: tuple[date, ...]
    folds: frozenset[int] | None = None
    share: float = 1.0
    """Share of the rows, chosen by a hash of user and day, so that no part is ever too large."""
    spared: tuple[date, ...] = ()
    """Days on which users who test tasks that are split by user do not count."""


@dataclass(frozen=True)
class Split:
    """As-of days of one task, each later than the ones before and than their labels' windows.

    Of a task that is split by user the three are the same days, and no user is in two of them.
    """

    train: tuple[date, ...]
    valid: tuple[date, ...]
    test: tuple[date, ...]
    by_user: bool = False
    spared: tuple[date, ...] = ()
    """Days on which the task that this one lies within is tested on other users: those teach this
    one nothing there, for its answer is part of the other's."""

    @property
    def used(self) -> tuple[date, ...]:
        """Days whose labels shaped the model."""
        return (*self.train, *self.valid)

    @property
    def measured_on(self) -> str:
        """What the test says something of."""
        return OTHER_USERS if self.by_user else LATER_DAYS

    def cut(self, part: str, share: float = 1.0) -> Cut:
        """The rows of `train`, `valid` or `test`."""
        folds = FOLDS_OF[part] if self.by_user else None
        return Cut(getattr(self, part), folds, share, self.spared if part == "train" else ())

    def within(self, outer: Split | None) -> Split:
        """The split of a task that lies within one of a longer horizon."""
        if outer is None or not outer.by_user or self.by_user:
            return self
        return replace(self, spared=tuple(sorted(set(outer.test) & set(self.train))))

    def is_later_than(self, other: Split) -> bool:
        """Whether the test rows are none that shaped a model of the other split: they are of later
        days, or both go by user, whose folds are always the same."""
        return min(self.test) > max(other.used) or (self.by_user and other.by_user)


def too_few(rows: Mapping[str, int], min_rows: int) -> str | None:
    """Why a task is left out that has so many labelled rows in each part; None if it is not."""
    few = [f"{n_of(n, 'label')} in {part}" for part, n in rows.items() if n < min_rows]
    return f"{', '.join(few)}; min_rows is {min_rows}" if few else None


def most_rows(split: Split, n_users: Mapping[date, int]) -> dict[str, int]:
    """How many labelled rows each part of a task can have at most, where so many users are known
    as of each day. Parts by user share them: the smallest has a third at most."""
    if split.by_user:
        return {"the smallest part": sum(n_users[day] for day in split.test) // len(FOLDS_OF)}
    return {part: sum(n_users[day] for day in split.cut(part).days) for part in FOLDS_OF}


def split_days(
    task: Task, as_ofs: Sequence[date], known_until: date, settle_days: int
) -> Split | None:
    """The newest closed days to test on, older ones to stop on, and all older ones to learn from.

    Between the three lie the days until a label is known and the settling days, so that no window
    reaches into the next part. Two days are held out for each where there is room, else one. Where
    there is no room for three parts, all closed days are split by user: what is measured then holds
    for other users of the same days, and says nothing of later days. None where no day is closed.
    Tasks are split apart: a short horizon does not wait for a long one.
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
    days = tuple(closed)
    return Split(days, days, days, by_user=True) if days else None


def _closed_before(
    task: Task, days: Sequence[date], day: date, settle_days: int
) -> tuple[date, ...]:
    return tuple(a for a in days if label_is_closed(a, task.closes_after, settle_days, day))
