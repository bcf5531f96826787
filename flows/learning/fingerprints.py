"""What training and scoring are functions of: they run in processes of their own, not in Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.hashes import hash_of
from contracts.spec_json import to_plain
from contracts.tables import EXAMPLES, USER_FEATURES, USER_SCORES
from contracts.tasks import Task
from contracts.train_config import TrainConfig
from contracts.training import untrained
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import table_shape
from flows.engine.home_state import HomeState
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.release.releases import Releases
from flows.state.receipts import WITHDRAWN, Fingerprint, Receipts

SUNDAY = 6
NO_TRAINING = "nothing was trained: no_train is set"
"""Why a night that leaves training out has no new model."""


@dataclass(frozen=True)
class TrainInputs:
    """What training is a function of besides its examples."""

    tasks: tuple[str, ...]
    first_as_of: Mapping[str, date]
    """Task to the first day that has history enough of what it is labelled from."""
    settle_days: int
    known_until: date
    config: TrainConfig
    champion: str | None
    champion_withheld: Mapping[str, str]
    """Tasks of the champion that earlier nights found unfit to be published, and why."""
    single_task_twins: bool


def train_inputs(days: RunDays) -> TrainInputs:
    """What tonight's training is a function of besides its examples."""
    context, receipts = days.context, days.state.receipts
    champion = Releases(days.state.engine).champion(days.as_of)
    return TrainInputs(
        tasks=tuple(task.name for task in context.tasks),
        first_as_of=first_as_of(days),
        settle_days=context.settings.settle_days,
        known_until=days.as_of,
        config=context.settings.train,
        champion=champion,
        champion_withheld=withheld_since(receipts, champion, days.as_of),
        single_task_twins=_twins_are_due(context, receipts),
    )


def first_as_of(days: RunDays) -> dict[str, date]:
    """Task to the first day that has history enough of what it is labelled from."""
    behind = timedelta(days=days.context.settings.min_history_days)
    return {name: day + behind for name, day in days.first_days.items()}


def tasks_and_features(tasks: Sequence[Task]) -> str:
    """Which tasks are trained on which features, as a hash."""
    return hash_of([[task.name for task in tasks], USER_FEATURES.names])


def _twins_are_due(context: RunContext, receipts: Receipts) -> bool:
    """Whether tasks are trained alone as well: see `TrainConfig.single_task_twins`."""
    when = context.settings.train.evaluation.single_task_twins
    if when != "weekly":
        return when == "always"
    before = [day for day in receipts.days("train") if day < context.as_of]
    last = receipts.get("train", max(before)) if before else None
    now = tasks_and_features(context.tasks)
    changed = last is not None and last.outputs.get("learns", "") not in ("", now)
    return changed or context.as_of.weekday() == SUNDAY


def train_fingerprint(days: RunDays) -> Fingerprint:
    """Of the night's training on the examples of its past days."""
    digests = days.state.fingerprints.digests("examples", EXAMPLES.name)
    examples = [(str(day), digests[day]) for day in days.example_days if day in digests]
    return Fingerprint(
        code_fingerprint(("models.train",)) + table_shape((EXAMPLES,)),
        hash_of(to_plain(train_inputs(days))),
        hash_of(sorted(examples)),
    )


def not_trained(context: RunContext) -> dict[str, Any]:
    """What stands for training's report on a night that leaves it out."""
    home = context.settings.home_folder
    folder = home.process_folder(context.run_id, "train")
    return untrained({}, NO_TRAINING, str(folder))


def withheld_since(receipts: Receipts, model_id: str | None, until: date) -> dict[str, str]:
    """Tasks of a model that nights before `until` found unfit to be published, and why.

    A model is judged again each night that compares it with a challenger, on test days that it has
    not seen. What a night found stands until another model scores, or the night is rolled back.
    """
    withheld: dict[str, str] = {}
    for day in receipts.days("train"):
        receipt = receipts.get("train", day)
        if receipt is None or day >= until or receipt.fingerprint.inputs == WITHDRAWN:
            continue
        if model_id is not None and receipt.outputs.get("champion") == model_id:
            of_night = receipt.outputs["gate"].get("champion_withheld", {})
            withheld = {name: f"{why}, as of {day}" for name, why in of_night.items()} | withheld
    return withheld


def withheld_tonight(receipts: Receipts, model_id: str | None, as_of: date) -> dict[str, str]:
    """Tasks of a model that are not published, as nights up to `as_of` found, and why."""
    return withheld_since(receipts, model_id, as_of + timedelta(days=1))


def score_fingerprint(
    context: RunContext, state: HomeState, model_id: str | None, day: date
) -> Fingerprint:
    """Of the scores of one day, whose features or model may not be there yet."""
    digest = state.fingerprints.digests("user_features", USER_FEATURES.name).get(day)
    withheld = withheld_tonight(state.receipts, model_id, context.as_of)
    return Fingerprint(
        code_fingerprint(("models.score",)) + table_shape((USER_SCORES,)),
        hash_of([context.settings.failed_tasks, withheld]),
        hash_of([model_id, digest]),
    )
