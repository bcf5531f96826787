"""What a night took, step by step, beside the nights before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

from contracts.tables import ON_BRANCH
from flows.engine.accounting import StageReport
from flows.state.nights import Night
from flows.state.receipts import Receipts

NIGHTS_BEFORE = 7
READING, CLEANING, FEATURES = "reading raw files", "cleaning", "features"
EXAMPLES, TRAINING, SCORING = "labels and examples", "training", "scoring"
STEPS = (READING, CLEANING, FEATURES, EXAMPLES, TRAINING, SCORING)
"""In their order. Stages of a step may run side by side, so that a step works for more seconds than
pass."""
_BY_STAGE = {
    "late_data": CLEANING,
    "labels": EXAMPLES,
    "examples": EXAMPLES,
    "train": TRAINING,
    "scoreboard": SCORING,
} | {str(released.stage): SCORING for released in ON_BRANCH}


def step_of(stage: str) -> str:
    """The step that a stage is a part of."""
    if stage.startswith("land_"):
        return READING
    if stage.startswith("clean_"):
        return CLEANING
    return _BY_STAGE.get(stage, FEATURES)


@dataclass(frozen=True)
class Cost:
    """What a night took."""

    as_of: date
    seconds: float
    """From its start to the publication."""
    by_step: Mapping[str, float]
    """Seconds that the stages of a step have worked; a step that was all reused is absent."""

    def of(self, step: str | None) -> float:
        """Seconds of a step; None: of the whole night."""
        return self.seconds if step is None else self.by_step.get(step, 0.0)


def cost_of(as_of: date, stages: Iterable[StageReport], seconds: float) -> Cost:
    """A run's alone, by what its stages report."""
    return Cost(as_of, seconds, _by_step((s.stage, s.seconds) for s in stages if s.recomputed))


def cost_tonight(receipts: Receipts, nights: Sequence[Night], alone: Cost) -> Cost:
    """Tonight's as those of nights before are told: of all its runs, so that a night that was
    resumed, or whose parts other machines did, is comparable.

    Args:
        receipts: what was computed by which run.
        nights: those that have published a release.
        alone: what the run alone took, which is tonight's if the night is none of these.
    """
    tonight = [night for night in nights if night.as_of == alone.as_of]
    return _costs_of(receipts, tonight)[0] if tonight else alone


def costs_before(receipts: Receipts, nights: Sequence[Night], as_of: date) -> tuple[Cost, ...]:
    """Those of the last seven nights before `as_of`, oldest first."""
    before = [night for night in nights if night.as_of < as_of]
    return _costs_of(receipts, before[-NIGHTS_BEFORE:])


def _costs_of(receipts: Receipts, nights: Sequence[Night]) -> tuple[Cost, ...]:
    """What nights took.

    A receipt that a later run has replaced counts for that run: a past day of labels that is
    computed again a week later is missing in the night that computed it first.
    """
    of_run = {run_id: n for n, night in enumerate(nights) for run_id in night.run_ids}
    worked: list[list[tuple[str, float]]] = [[] for _ in nights]
    for receipt in receipts.all():
        n = of_run.get(receipt.run_id)
        if n is not None:
            worked[n].append((receipt.stage, receipt.seconds))
    return tuple(
        Cost(night.as_of, night.seconds, _by_step(stages))
        for night, stages in zip(nights, worked, strict=True)
    )


def usual_seconds(before: Sequence[Cost], step: str | None = None) -> float | None:
    """The median of the nights before: of all of it, or of a step; None where there are none."""
    if not before:
        return None
    return median(cost.of(step) for cost in before)


def _by_step(stages: Iterable[tuple[str, float]]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for stage, spent in stages:
        step = step_of(stage)
        seconds[step] = seconds.get(step, 0.0) + spent
    return seconds
