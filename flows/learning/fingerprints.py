"""What training and scoring are functions of: they run in processes of their own, not in Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.hashes import hash_of
from contracts.spec_json import to_plain
from contracts.tables import EXAMPLES, USER_FEATURES, USER_SCORES
from contracts.train_config import TrainConfig
from contracts.training import untrained
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import table_shape
from flows.engine.run import Run
from flows.release.releases import Releases
from flows.state.receipts import WITHDRAWN, Fingerprint

SUNDAY = 6


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


def train_inputs(run: Run) -> TrainInputs:
    """What tonight's training is a function of besides its examples."""
    champion = Releases(run.engine).champion(run.as_of)
    return TrainInputs(
        tasks=tuple(task.name for task in run.tasks),
        first_as_of=first_as_of(run),
        settle_days=run.settings.settle_days,
        known_until=run.as_of,
        config=run.settings.train,
        champion=champion,
        champion_withheld=withheld_since(run, champion, run.as_of),
        single_task_twins=_twins_are_due(run),
    )


def first_as_of(run: Run) -> dict[str, date]:
    """Task to the first day that has history enough of what it is labelled from."""
    behind = timedelta(days=run.settings.min_history_days)
    return {name: day + behind for name, day in run.first_days.items()}


def tasks_and_features(run: Run) -> str:
    """Which tasks are trained on which features, as a hash."""
    return hash_of([[task.name for task in run.tasks], USER_FEATURES.names])


def _twins_are_due(run: Run) -> bool:
    """Whether tasks are trained alone as well: see `TrainConfig.single_task_twins`."""
    when = run.settings.train.evaluation.single_task_twins
    if when != "weekly":
        return when == "always"
    before = [day for day in run.receipts.days("train") if day < run.as_of]
    last = run.receipts.get("train", max(before)) if before else None
    now = tasks_and_features(run)
    changed = last is not None and last.outputs.get("learns", "") not in ("", now)
    return changed or run.as_of.weekday() == SUNDAY


def train_fingerprint(run: Run, days: Sequence[date]) -> Fingerprint:
    """Of the night's training on the examples of `days`."""
    digests = run.fingerprints.digests("examples", EXAMPLES.name)
    return Fingerprint(
        code_fingerprint(("models.train",)) + table_shape((EXAMPLES,)),
        hash_of(to_plain(train_inputs(run))),
        hash_of(sorted((str(day), digests[day]) for day in days if day in digests)),
    )


def not_trained(run: Run) -> dict[str, Any]:
    """What stands for training's report on a night that leaves it out."""
    why = "nothing was trained: no_train is set"
    home = run.settings.home_folder
    folder = home.process_folder(run.run_id, "train")
    return untrained({}, why, str(folder))


def withheld_since(run: Run, model_id: str | None, until: date) -> dict[str, str]:
    """Tasks of a model that nights before `until` found unfit to be published, and why.

    A model is judged again each night that compares it with a challenger, on test days that it has
    not seen. What a night found stands until another model scores, or the night is rolled back.
    """
    withheld: dict[str, str] = {}
    for day in run.receipts.days("train"):
        receipt = run.receipts.get("train", day)
        if receipt is None or day >= until or receipt.fingerprint.inputs == WITHDRAWN:
            continue
        if model_id is not None and receipt.outputs.get("champion") == model_id:
            of_night = receipt.outputs["gate"].get("champion_withheld", {})
            withheld = {name: f"{why}, as of {day}" for name, why in of_night.items()} | withheld
    return withheld


def withheld_tonight(run: Run, model_id: str | None) -> dict[str, str]:
    """Tasks of a model that are not published, as nights up to this one found, and why."""
    return withheld_since(run, model_id, run.as_of + timedelta(days=1))


def score_fingerprint(run: Run, model_id: str | None, day: date) -> Fingerprint:
    """Of the scores of one day, whose features or model may not be there yet."""
    digest = run.fingerprints.digests("user_features", USER_FEATURES.name).get(day)
    return Fingerprint(
        code_fingerprint(("models.score",)) + table_shape((USER_SCORES,)),
        hash_of([run.settings.failed_tasks, withheld_tonight(run, model_id)]),
        hash_of([model_id, digest]),
    )
