"""Whether a challenger becomes champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Comparison:
    """A task's mean loss on the test days of the challenger that the other never used."""

    rows: int
    challenger: float
    other: float
    low: float
    """95 % interval, over users, of challenger's less other's loss over other's loss."""
    high: float

    @property
    def change(self) -> float:
        """Relative change of the loss; below 0 is better."""
        return self.challenger / self.other - 1


@dataclass(frozen=True)
class Verdict:
    decision: Literal["promote", "keep", "ask", "stop"]
    """`ask`: better over all and worse somewhere, so that a person must weigh one against the
    other; `stop`: there is nothing to keep, and the challenger is not fit."""
    reasons: tuple[str, ...]


def decide_first(against_constant: Mapping[str, Comparison], max_worse: float) -> Verdict:
    """A first model must beat the constant over all, and be significantly worse on no task.

    `max_worse` is the relative loss by which a task may be worse all the same.
    """
    if not against_constant:
        return Verdict("stop", ("no task has enough labelled rows to test on",))
    mean = sum(c.change for c in against_constant.values()) / len(against_constant)
    worse = [
        f"{name} loses to the constant: loss {c.change:+.1%} ({c.low:+.1%} to {c.high:+.1%})"
        for name, c in against_constant.items()
        if c.low > max_worse
    ]
    told = f"mean loss against the constant {mean:+.1%} over {len(against_constant)} tasks"
    if mean >= 0 or worse:
        return Verdict("stop", (told, *worse))
    return Verdict("promote", ("there is no champion yet", told))


def decide(against_champion: Mapping[str, Comparison], max_worse: float, min_rows: int) -> Verdict:
    """Promote what is no worse over all and significantly worse nowhere.

    What is better over all and worse somewhere is a person's to weigh. Fewer than `min_rows` common
    test rows say nothing about a task.
    """
    told = {name: c for name, c in against_champion.items() if c.rows >= min_rows}
    if not told:
        return Verdict(
            "keep",
            (f"no task has {min_rows} test rows later than every day that either model used",),
        )
    mean = sum(c.change for c in told.values()) / len(told)
    worse = tuple(
        f"{name} is worse: loss {c.change:+.1%} ({c.low:+.1%} to {c.high:+.1%})"
        for name, c in told.items()
        if c.low > max_worse
    )
    summary = f"mean loss against the champion {mean:+.2%} over {len(told)} tasks"
    if worse:
        return Verdict("ask" if mean < 0 else "keep", (summary, *worse))
    if mean > 0:
        return Verdict("keep", (summary,))
    return Verdict("promote", (summary,))
