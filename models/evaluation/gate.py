"""Which tasks of a model are published, and whether a challenger becomes champion."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from contracts.counts import n_of


@dataclass(frozen=True)
class Comparison:
    """A task's mean loss on the test days of the challenger that the other never used."""

    rows: int
    challenger: float
    other: float
    low: float
    """95 % interval, over users, of the relative change."""
    high: float

    @property
    def change(self) -> float:
        """Relative change of the loss; below 0 is better."""
        return relative_change(self.challenger, self.other)

    def is_surely_above(self, limit: float) -> bool:
        """Whether more than chance says so of the change. A loss that is not finite is above any
        limit, whatever the interval of those resamples in which it happens not to occur."""
        return not math.isfinite(self.challenger) or self.low > limit

    def __str__(self) -> str:
        if not math.isfinite(self.challenger):
            return "loss is not a finite number"
        return f"loss {self.change:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def relative_change(ours: float, theirs: float) -> float:
    """How far a mean loss is above another, as a share of it; below 0 is better.

    A loss that is not finite is worse than any other. The loss of amounts is that of a density,
    and may be negative.
    """
    if not math.isfinite(ours):
        return math.inf
    if not math.isfinite(theirs):
        return -1.0
    if theirs == 0:
        return 0.0 if ours == 0 else math.copysign(math.inf, ours)
    return (ours - theirs) / abs(theirs)


@dataclass(frozen=True)
class Rank:
    """How well a task's scores order users: an AUC, where 0.5 is chance, with its interval."""

    auc: float
    low: float
    high: float

    @property
    def is_worse_than_chance(self) -> bool:
        """Significantly so; an interval that is not known says nothing."""
        return self.high < 0.5

    def __str__(self) -> str:
        return f"AUC {self.auc:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Verdict:
    decision: Literal["promote", "keep", "ask", "stop"]
    """`ask`: better over all and worse somewhere, so that promoting it needs approval;
    `stop`: there is nothing to keep, and no task of the challenger is fit."""
    reasons: tuple[str, ...]
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Tasks of the challenger that are not fit to be published, and why."""
    champion_withheld: Mapping[str, str] = field(default_factory=dict)
    """Tasks that the champion publishes and that are not fit for it any more, and why."""


@dataclass
class Evidence:
    """What says whether a model's tasks are fit to be published, task by task."""

    against_constant: dict[str, Comparison] = field(default_factory=dict)
    ranks: dict[str, Rank] = field(default_factory=dict)

    @property
    def withheld(self) -> dict[str, str]:
        """Tasks that are not fit to be published, and why: see `withheld`."""
        return withheld(self.against_constant, self.ranks)


def withheld(
    against_constant: Mapping[str, Comparison], ranks: Mapping[str, Rank]
) -> dict[str, str]:
    """Tasks that are not published, and why: they lose to the constant, or rank users worse than
    chance. Each task is judged by itself, of a first model as of any later one."""
    reasons = {}
    for name, comparison in against_constant.items():
        rank = ranks.get(name)
        if not comparison.change < 0:
            reasons[name] = f"it loses to the constant: {comparison}"
        elif rank is not None and rank.is_worse_than_chance:
            reasons[name] = f"it ranks users worse than chance: {rank}"
    return reasons


NO_CHAMPION = "there was no champion to compare with"


def decide_first(
    against_constant: Mapping[str, Comparison],
    ranks: Mapping[str, Rank],
    why: str = NO_CHAMPION,
) -> Verdict:
    """A first model is published if any of its tasks is fit, with those that are."""
    unfit = withheld(against_constant, ranks)
    sentences = tuple(f"{name} is not published: {why}" for name, why in unfit.items())
    n = len(against_constant)
    if len(unfit) == n:
        return Verdict("stop", ("no task is fit to be published", *sentences), unfit)
    fit = f"{n - len(unfit)} of {n_of(n, 'task is', 'tasks are')} fit to be published"
    return Verdict("promote", (why, fit, *sentences), unfit)


def decide_next(
    challenger: Evidence,
    champion: Evidence,
    against_champion: Mapping[str, Comparison],
    published: Collection[str],
    max_worse: float,
    min_rows: int,
) -> Verdict:
    """Judge the champion's tasks on tonight's test rows by the challenger's rule, and decide
    between the two by the tasks of `published` for which the champion is still fit.

    What it is not fit for says nothing for it. A champion that is fit for nothing is none.
    """
    unfit = champion.withheld
    sentences = tuple(
        f"the champion's {name} is not published any more: {w}" for name, w in unfit.items()
    )
    if not set(published) - set(unfit):
        why = "no task of the champion is fit to be published"
        verdict = decide_first(challenger.against_constant, challenger.ranks, why)
    else:
        verdict = decide(
            {name: c for name, c in against_champion.items() if name not in unfit},
            max_worse,
            min_rows,
            challenger.against_constant,
            challenger.ranks,
            set(published) - set(unfit),
        )
    return replace(verdict, reasons=(*verdict.reasons, *sentences), champion_withheld=unfit)


def decide(
    against_champion: Mapping[str, Comparison],
    max_worse: float,
    min_rows: int,
    against_constant: Mapping[str, Comparison] | None = None,
    ranks: Mapping[str, Rank] | None = None,
    published: Collection[str] = (),
) -> Verdict:
    """Promote what is no worse over all and significantly worse nowhere.

    What is better over all and worse somewhere needs approval. Fewer than `min_rows`
    common test rows say nothing about a task. A task that is not fit is not published, whoever
    wins; if it is one that the champion publishes, and by more than chance not fit, that is worse
    too.
    """
    constant, ranks = against_constant or {}, ranks or {}
    unfit = withheld(constant, ranks)
    compared = {name: c for name, c in against_champion.items() if c.rows >= min_rows}
    if constant and len(unfit) == len(constant):
        return Verdict("keep", ("no task is fit to be published",), unfit)
    if not compared:
        return Verdict(
            "keep",
            (f"no task has {min_rows} test rows later than every day that either model used",),
            unfit,
        )
    mean = sum(c.change for c in compared.values()) / len(compared)
    worse = [
        f"{name} is worse: {comparison}"
        for name, comparison in compared.items()
        if comparison.is_surely_above(max_worse)
    ]
    worse += [
        f"{name} would no longer be published: {why}"
        for name, why in unfit.items()
        if name in published and _surely(constant[name], ranks.get(name))
    ]
    change = f"{mean:+.2%}" if math.isfinite(mean) else "is not a finite number"
    summary = f"mean loss against the champion {change} over {n_of(len(compared), 'task')}"
    if worse:
        return Verdict("ask" if mean < 0 else "keep", (summary, *worse), unfit)
    if not mean <= 0:  # nor where it is no number
        return Verdict("keep", (summary,), unfit)
    sentences = tuple(f"{name} is not published: {why}" for name, why in unfit.items())
    return Verdict("promote", (summary, *sentences), unfit)


def _surely(constant: Comparison, rank: Rank | None) -> bool:
    """Whether more than chance says that a task is not fit."""
    return constant.is_surely_above(0) or (rank is not None and rank.is_worse_than_chance)
