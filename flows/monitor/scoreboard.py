"""The scoreboard: scores that were published, beside what then happened, once that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.days import ONE_DAY, label_is_closed
from contracts.errors import ContractError
from contracts.hashes import hash_of
from contracts.segments import ALL
from contracts.specs import ScoreboardDay, ScoreboardSpec
from contracts.tables import LABELS, SCOREBOARD, USER_FEATURES, USER_SCORES
from contracts.tasks import TASKS, task_named
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import decide, table_shape
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.lifecycle.progress import Say
from flows.monitor.comparison import Row, write_comparison
from flows.release.releases import Releases
from flows.state.receipts import WITHDRAWN, Fingerprint, Receipts

STAGE = SCOREBOARD.name
CATCH_UP_DAYS = 31
"""Nights that may fail or be left out before a window that closes goes unseen."""
MIN_ERRORS = 3.0
"""Standard errors that a mean must be off before it counts as more than chance."""


def due(context: RunContext, state: HomeState) -> tuple[date, ...]:
    """Published days of which more is known than the scoreboard says, oldest first.

    Each comes up once per task: on the night after its window, and the days for late rows, are
    over.
    """
    published, receipts = _published(context, state), state.receipts
    days = []
    for day in receipts.days("score"):
        scored = receipts.get("score", day)
        if scored is None or scored.outputs["path"] not in published:
            continue
        if scored.fingerprint.inputs == WITHDRAWN:
            continue
        if not closed_tasks(context, day, scored.outputs["tasks"]):
            continue
        fingerprint = scoreboard_fingerprint(context, receipts, day)
        if not decide(STAGE, day, fingerprint, receipts.get(STAGE, day)).reuse:
            days.append(day)
    return tuple(days)


def _published(context: RunContext, state: HomeState) -> set[str]:
    """Files of the scores that are published, as far back as an outcome may become known."""
    current = Releases(state.engine).current()
    if current is None:
        return set()
    settle_days = context.settings.settle_days
    reach = max(t.closes_after for t in TASKS) + settle_days + CATCH_UP_DAYS
    earliest = context.as_of - timedelta(days=reach)
    snapshot = current.snapshots[USER_SCORES.name]
    files = state.lake.files(USER_SCORES, earliest, context.as_of, None, snapshot)
    return {file.path for file in files}


def scoreboard_fingerprint(context: RunContext, receipts: Receipts, day: date) -> Fingerprint:
    """Of the comparison of one scored day with what happened.

    Raises:
        ContractError: the day was never scored.
    """
    scored = receipts.get("score", day)
    if scored is None:
        raise ContractError(f"there are no scores as of {day} to compare with what happened")
    return Fingerprint(
        code_fingerprint(("models.evaluation.scoreboard",)) + table_shape((SCOREBOARD,)),
        hash_of(closed_tasks(context, day, scored.outputs["tasks"])),
        hash_of([scored.outputs["release_id"], scored.outputs["model_id"]]),
    )


def closed_tasks(context: RunContext, day: date, tasks: Sequence[str]) -> list[str]:
    """Of the tasks that were scored as of `day`, those whose outcome is known."""
    settle = context.settings.settle_days
    return [
        name
        for name in tasks
        if label_is_closed(day, task_named(name).closes_after, settle, context.as_of)
    ]


def compare(run: Run, days: Sequence[date], say: Say) -> list[dict[str, Any]]:
    """Compare the scores of these days with their labels, and write the rows.

    Returns:
        The rows.
    """
    if not days:
        run.reports.reused(STAGE, say)
        return []
    fingerprints = {day: scoreboard_fingerprint(run.context, run.receipts, day) for day in days}
    spec = ScoreboardSpec(_days(run.context, run.state, days))
    return write_comparison(run, SCOREBOARD, spec, fingerprints, _is_of_all, say)


def _is_of_all(row: Row) -> bool:
    return bool(row["segment"] == ALL)


def _days(context: RunContext, state: HomeState, days: Sequence[date]) -> tuple[ScoreboardDay, ...]:
    """What the process is to compare; without days of which a table has no rows any more."""
    current = Releases(state.engine).current()
    snapshot = None if current is None else current.snapshots[USER_SCORES.name]
    compared = []
    for day in days:
        span = (day, day + ONE_DAY)
        scored = state.receipts.get("score", day)
        files = {
            "scores": state.lake.files(USER_SCORES, *span, snapshot=snapshot),
            "labels": state.lake.files(LABELS, *span),
            "features": state.lake.files(USER_FEATURES, *span),
        }
        if scored is not None and all(files.values()):
            tasks = closed_tasks(context, day, scored.outputs["tasks"])
            paths = {name: tuple(f.path for f in listed) for name, listed in files.items()}
            compared.append(ScoreboardDay(day, **paths, tasks=tuple(tasks)))
    return tuple(compared)


@dataclass(frozen=True)
class Drift:
    """A task whose published scores were off on average by more than they may, and by chance."""

    task: str
    as_of: date
    predicted: float
    observed: float

    def __str__(self) -> str:
        return (
            f"{self.task} as of {self.as_of}: {self.predicted:.4g} was predicted on average, "
            f"{self.observed:.4g} happened"
        )


def drifted(rows: Sequence[Mapping[str, Any]], max_drift: float | None) -> tuple[Drift, ...]:
    """Rows of all users whose mean prediction is off by more than `max_drift` of what happened,
    and by more than `MIN_ERRORS` standard errors. None turns it off."""
    if max_drift is None:
        return ()
    drifts = []
    for row in rows:
        if row["segment"] != ALL or row["mean_predicted"] is None:
            continue
        off = abs(row["mean_predicted"] - row["mean_observed"])
        if off > max_drift * row["mean_observed"] and off > MIN_ERRORS * row["standard_error"]:
            drifts.append(
                Drift(row["task"], row["as_of"], row["mean_predicted"], row["mean_observed"])
            )
    return tuple(drifts)
