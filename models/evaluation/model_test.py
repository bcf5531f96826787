"""Test a trained model once on its test days: beside the constant, its twins, and the champion."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contracts.tasks import Task
from models.artifact.model import Model
from models.evaluation.feature_importance import TOP, importance
from models.evaluation.gate import (
    Comparison,
    Evidence,
    Rank,
    Verdict,
    decide_first,
    decide_next,
    relative_change,
)
from models.evaluation.held_out import HeldOut, Predictions, TaskRows
from models.evaluation.metrics import (
    MAIN_METRIC,
    Array,
    Scores,
    bootstrap,
    constant_scores,
    gain_over,
    main_metric,
    metrics,
    rank_metric,
)
from models.evaluation.plots import Reliability, draw_importance, draw_reliability
from models.evaluation.segments import SEGMENT_ROWS

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Members:
    """What is predicted of the held-out rows by a model and by what it is mixed of, per task."""

    model: Mapping[str, Predictions]
    network: Mapping[str, Predictions]
    """By the network alone, calibrated by itself."""
    twin: Mapping[str, Predictions]
    """By the trees alone: LightGBM as it comes."""


@dataclass(frozen=True)
class Champion:
    """What a model has to be better than."""

    model: Model | None
    why_none: str
    """Why there is none to compare with; empty where there is one."""


def evaluate_model(
    model: Model,
    train_labels: Mapping[str, Tensor],
    held_out: HeldOut,
    members: Members,
    files: Sequence[str],
    champion: Champion,
    folder: Path,
) -> dict[str, Any]:
    """Metrics, intervals, members and the gate's verdict, as the report's dictionary.

    `members` are what the model and its members predict of the rows of `held_out`.
    """
    evaluation = _Evaluation(model, champion)
    other = champion.model
    champions = {} if other is None else held_out.predictions_of(other, files)
    with ThreadPoolExecutor(1) as beside:
        shuffled = beside.submit(importance, model, files, held_out.cuts, model.config.seed)
        for task in model.tasks:
            evaluation.add(
                task,
                held_out.tasks[task.name],
                train_labels[task.name].double().numpy(),
                members,
                champions.get(task.name),
            )
            _LOG.info(_line(task, evaluation.tasks[task.name]))
        importances = shuffled.result()
    draw_reliability(evaluation.reliability, folder / "reliability.png")
    draw_importance(importances, folder / "importance.png")
    for name, features in importances.items():
        evaluation.tasks[name]["importance"] = dict(list(features.items())[:TOP])
    return {"tasks": evaluation.tasks, "gate": evaluation.gate()}


class _Evaluation:
    """What the tasks of a model came to, one after the other, beside the champion's."""

    def __init__(self, model: Model, champion: Champion):
        self._model, self._champion = model, champion
        self.tasks: dict[str, dict[str, Any]] = {}
        """Per task what the report says of it."""
        self.reliability: dict[str, Reliability] = {}
        """Of each binary task."""
        self._own, self._champions = Evidence(), Evidence()
        self._against_champion: dict[str, Comparison] = {}

    def add(
        self,
        task: Task,
        rows: TaskRows,
        train: Array,
        members: Members,
        by_champion: Predictions | None,
    ) -> None:
        """Judge one task by what the model, its members and the champion predict of its rows;
        `train` are its training labels."""
        model, champion = self._model, self._champion.model
        predicted, twin = members.model[task.name], members.twin[task.name].scores
        scores, labels = predicted.scores, rows.labels
        self.tasks[task.name] = {
            "test_rows": len(labels),
            "measured_on": model.splits[task.name].measured_on,
            "main": MAIN_METRIC[type(task.kind)],
            "model": metrics(task, labels, scores),
            "network_shares": list(model.weights_of(task)),
            "network": metrics(task, labels, members.network[task.name].scores),
            "twin": metrics(task, labels, twin),
            "constant": metrics(task, labels, constant_scores(task, train, len(labels))),
            "gain_over_twin": asdict(
                gain_over(task, labels, rows.users, scores, twin, model.config)
            ),
            "segments": _by_segment(task, rows, scores, twin),
        }
        losses = _losses(model, task, predicted.outputs, labels)
        constant = _constant_losses(model, task, train, labels)
        _judge(self._own, model, task, rows, scores, losses, constant)
        if task.name in self._own.ranks:
            self.tasks[task.name]["rank"] = asdict(self._own.ranks[task.name])
        if champion is not None and by_champion is not None and self._can_compare(champion, task):
            other = _losses(champion, task, by_champion.outputs, labels)
            self._against_champion[task.name] = _compare(rows, losses, other, model)
            _judge(self._champions, model, task, rows, by_champion.scores, other, constant)
        if "" in scores:
            self.reliability[task.name] = Reliability(scores[""], labels, rows.users)

    def _can_compare(self, champion: Model, task: Task) -> bool:
        """Whether the champion publishes the task, of the same classes, and has seen none of its
        test days."""
        model = self._model
        same = champion.layout.classes.get(task.name) == model.layout.classes.get(task.name)
        return (
            task in champion.published
            and same
            and model.splits[task.name].is_later_than(champion.splits[task.name])
        )

    def gate(self) -> dict[str, Any]:
        """The verdict, as the report's dictionary."""
        verdict, others = _verdict(
            self._model, self._champion, self._own, self._champions, self._against_champion
        )
        is_champion = others is self._against_champion
        return {
            "decision": verdict.decision,
            "reasons": list(verdict.reasons),
            "withheld": dict(verdict.withheld),
            "champion_withheld": dict(verdict.champion_withheld),
            "against": "the champion" if is_champion else "the constant",
            "comparisons": {name: {**asdict(c), "change": c.change} for name, c in others.items()},
        }


def _verdict(
    model: Model,
    champion: Champion,
    own: Evidence,
    champions: Evidence,
    against: Mapping[str, Comparison],
) -> tuple[Verdict, Mapping[str, Comparison]]:
    """What the gate says, and the comparisons that it went by."""
    if champion.model is None:
        verdict = decide_first(own.against_constant, own.ranks, champion.why_none)
        return verdict, own.against_constant
    limits, published = model.config.evaluation, {task.name for task in champion.model.published}
    verdict = decide_next(
        own, champions, against, published, limits.gate_max_worse, limits.gate_min_rows
    )
    no_champion = published <= set(verdict.champion_withheld)
    return verdict, own.against_constant if no_champion else against


def _judge(
    evidence: Evidence,
    model: Model,
    task: Task,
    rows: TaskRows,
    scores: Scores,
    losses: Array,
    constant: Array,
) -> None:
    """Note how scores and losses (n,) of a task do beside the constant's losses, and by chance."""
    evidence.against_constant[task.name] = _compare(rows, losses, constant, model)
    rank = _rank(model, task, rows, scores)
    if rank is not None:
        evidence.ranks[task.name] = rank


def _rank(model: Model, task: Task, rows: TaskRows, scores: Scores) -> Rank | None:
    """How well the scores order users; None where too few rows say so."""
    order = rank_metric(task, rows.labels, scores)
    if order is None:
        return None
    config = model.config
    low, high = bootstrap(rows.users, order, config.evaluation.bootstrap_samples, config.seed)
    return Rank(order(np.ones(len(rows.labels))), low, high)


def _by_segment(
    task: Task, rows: TaskRows, ours: Scores, twin: Scores
) -> dict[str, dict[str, float]]:
    """Rows of new, active and dormant users, and the main metric of both where they are enough."""
    segments: dict[str, dict[str, float]] = {}
    for name, in_segment in rows.segments.items():
        weights = in_segment.astype(np.float64)
        if not in_segment.sum():
            continue
        segments[name] = {"rows": int(in_segment.sum())}
        if in_segment.sum() >= SEGMENT_ROWS:
            segments[name] |= {
                "model": main_metric(task, rows.labels, ours)(weights),
                "twin": main_metric(task, rows.labels, twin)(weights),
            }
    return segments


def _losses(model: Model, task: Task, outputs: Tensor, labels: Array) -> Array:
    """Loss per row after calibration, (n,)."""
    head, calibration = model.network.heads[task.name], model.calibrations[task.name]
    with torch.inference_mode():
        losses = head.loss(head.calibrated(outputs, calibration), torch.from_numpy(labels).float())
    return losses.double().numpy()


def _constant_losses(model: Model, task: Task, train: Array, labels: Array) -> Array:
    head = model.network.heads[task.name]
    start = head.start(torch.from_numpy(train).float()).unsqueeze(0).expand(len(labels), -1)
    return head.loss(start, torch.from_numpy(labels).float()).double().numpy()


def _compare(rows: TaskRows, ours: Array, theirs: Array, model: Model) -> Comparison:
    low, high = bootstrap(
        rows.users,
        lambda w: relative_change(float(ours @ w), float(theirs @ w)),
        model.config.evaluation.bootstrap_samples,
        model.config.seed,
    )
    return Comparison(len(rows.labels), float(ours.mean()), float(theirs.mean()), low, high)


def _line(task: Task, report: Mapping[str, Any]) -> str:
    main, gain = report["main"], report["gain_over_twin"]

    def value(who: str) -> str:
        return f"{report[who].get(main, float('nan')):,.4g}"

    return (
        f"  {task.name:<18} {main:<4} {value('model'):>9}   network {value('network'):>9}   "
        f"LightGBM {value('twin'):>9}   "
        f"constant {value('constant'):>9}   gain {gain['gain']:+.4g} "
        f"({gain['low']:+.4g} to {gain['high']:+.4g})"
    )
