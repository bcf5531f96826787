"""The scoreboard: scores that were published, beside what then happened, once that is known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.days import label_is_closed
from contracts.tables import LABELS, SCOREBOARD, USER_FEATURES, USER_SCORES
from contracts.tasks import TASKS, task_named
from flows.engine.code_hash import code_fingerprint
from flows.engine.context import Context
from flows.engine.fingerprints import Decision, decide, hash_of, table_shape
from flows.engine.model_process import run_models
from flows.engine.run import Night
from flows.release.releases import Releases
from flows.state.receipts import WITHDRAWN, Fingerprint
from flows.steps.prefect_tasks import Say

STAGE = SCOREBOARD.name
CATCH_UP_DAYS = 31
"""Nights that may fail or be left out before a window that closes goes unseen."""
_ONE = timedelta(days=1)
ALL = "all"
MIN_ERRORS = 3.0
"""Standard errors that a mean must be off before it counts as more than chance."""


def due(context: Context) -> tuple[Decision, ...]:
    """Published days of which more is known than the scoreboard says, oldest first.

    Each comes up once per task: on the night after its window, and the days for late rows, are
    over.
    """
    current = Releases(context.engine).current()
    if current is None:
        return ()
    reach = max(t.closes_after for t in TASKS) + context.settings.settle_days + CATCH_UP_DAYS
    earliest = context.as_of - timedelta(days=reach)
    snapshot = current.snapshots[USER_SCORES.name]
    published = {
        file.path
        for file in context.lake.files(USER_SCORES, earliest, context.as_of, None, snapshot)
    }
    made = []
    for day in context.receipts.days("score"):
        scored = context.receipts.get("score", day)
        if scored is None or scored.outputs["path"] not in published:
            continue
        tasks = closed_tasks(context, day, scored.outputs["tasks"])
        if not tasks or scored.fingerprint.inputs == WITHDRAWN:
            continue
        fingerprint = Fingerprint(
            code_fingerprint(("models.evaluation.scoreboard",)) + table_shape((SCOREBOARD,)),
            hash_of(tasks),
            hash_of([scored.outputs["release_id"], scored.outputs["model_id"]]),
        )
        receipt = context.receipts.get(STAGE, day)
        decision = decide(STAGE, day, fingerprint, receipt)
        if not decision.reuse:
            made.append(decision)
    return tuple(made)


def closed_tasks(context: Context, day: date, tasks: Sequence[str]) -> list[str]:
    """Of the tasks that were scored as of `day`, those whose outcome is known."""
    settle = context.settings.settle_days
    return [
        name
        for name in tasks
        if label_is_closed(day, task_named(name).closes_after, settle, context.as_of)
    ]


def keep_score(night: Night, decisions: Sequence[Decision], say: Say) -> list[dict[str, Any]]:
    """Compare the scores of these days with their labels, and write the rows.

    Returns:
        The rows.
    """
    current = Releases(night.engine).current()
    if current is None or not decisions:
        night.reused(STAGE, say)
        return []
    started = time.monotonic()
    days = []
    for decision in decisions:
        span = (decision.day, decision.day + _ONE)
        snapshot = current.snapshots[USER_SCORES.name]
        scored = night.receipts.get("score", decision.day)
        files = {
            "scores": night.lake.files(USER_SCORES, *span, snapshot=snapshot),
            "labels": night.lake.files(LABELS, *span),
            "features": night.lake.files(USER_FEATURES, *span),
        }
        if scored is not None and all(files.values()):
            tasks = closed_tasks(night, decision.day, scored.outputs["tasks"])
            paths = {name: [file.path for file in found] for name, found in files.items()}
            days.append({"as_of": decision.day.isoformat(), "tasks": tasks, **paths})
    home = night.settings.home_folder
    made = run_models(
        "scoreboard",
        {"threads": 1, "days": days},
        home.storage.local_path(home.run(night.run_id)),
        say,
    )["days"]
    rows = [row | {"as_of": date.fromisoformat(row["as_of"])} for day in made for row in day]
    known = [decision.day for decision in decisions]
    snapshot = night.lake.replace_rows(SCOREBOARD, rows, known, {})
    outputs = {}
    for day in known:
        mine = [row for row in rows if row["as_of"] == day]
        outputs[day] = {
            SCOREBOARD.name: {"digest": hash_of(mine), "rows": len(mine), "snapshot": snapshot}
        }
    night.note(
        STAGE,
        {decision.day: decision.fingerprint for decision in decisions},
        outputs,
        sum(row["n_users"] for row in rows if row["segment"] == ALL),
        len(rows),
        started,
        0,
        say,
    )
    night.planner.forget(STAGE)
    return rows


@dataclass(frozen=True)
class Drift:
    """A task whose published scores were off on average by more than they may, and by chance."""

    task: str
    as_of: date
    predicted: float
    observed: float

    def __str__(self) -> str:
        return (
            f"{self.task} as of {self.as_of}: {self.predicted:.4g} was foretold on average, "
            f"{self.observed:.4g} happened"
        )


def drifted(rows: Sequence[Mapping[str, Any]], max_drift: float | None) -> tuple[Drift, ...]:
    """Rows of all users whose mean prediction is off by more than `max_drift` of what happened,
    and by more than `MIN_ERRORS` standard errors. None turns it off."""
    if max_drift is None:
        return ()
    found = []
    for row in rows:
        if row["segment"] != ALL or row["mean_predicted"] is None:
            continue
        off = abs(row["mean_predicted"] - row["mean_observed"])
        if off > max_drift * row["mean_observed"] and off > MIN_ERRORS * row["standard_error"]:
            found.append(
                Drift(row["task"], row["as_of"], row["mean_predicted"], row["mean_observed"])
            )
    return tuple(found)
