"""Network, trees and mixture of a training beside the constant, on held-out rows, as JSON lines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from contracts.specs import TrainSpec
from contracts.tasks import Task
from contracts.train_config import TrainConfig
from models.evaluation.held_out import HeldOut, Predictions
from models.evaluation.metrics import (
    MAIN_METRIC,
    Scores,
    constant_scores,
    gain_over,
    main_metric,
    metrics,
)
from models.evaluation.single_task_twins import single_task_twins
from models.training.mixture_fit import fit_members, fit_mixture
from models.training.task_choice import Chosen
from tests.bench.lines import as_table

SHARES = (0.0, 1.5)
"""Bounds of a task's share in the mean: one of a twin that gains next to nothing says nothing."""
MEMBERS = ("network", "twin", "mixture", "constant")
Measured = Mapping[str, Mapping[str, Any]]
"""Task to what one training came to."""


@dataclass(frozen=True)
class Trial:
    """What is trained, and the rows that it is judged on."""

    spec: TrainSpec
    chosen: Chosen
    held_out: HeldOut


def measure(trial: Trial, seed: int, alone: bool = False) -> Measured:
    """Train once and judge each task; with `alone` beside single-task twins of the network too."""
    with tempfile.TemporaryDirectory() as folder:
        config = trial.spec.config.changed(seed=seed)
        spec = replace(trial.spec, config=config, folder=folder)
        started = time.process_time()
        fitted, trees = fit_members(spec, trial.chosen)
        mixture = fit_mixture(fitted.model, trees, spec.files, trial.chosen)
        seconds = time.process_time() - started
        models = {"network": mixture.network, "twin": mixture.twin, "mixture": mixture.model}
        by = {who: trial.held_out.predictions_of(m, spec.files) for who, m in models.items()}
        twins = {}
        if alone:
            twins = single_task_twins(spec, trial.chosen, trial.held_out, by["network"])
    return {
        task.name: _of_task(trial, task, by)
        | {"network_shares": mixture.model.weights_of(task), "cpu_seconds": seconds}
        | ({"over_single_task": twins[task.name]["gain"]} if alone else {})
        for task in trial.chosen.tasks
    }


def _of_task(
    trial: Trial, task: Task, by: Mapping[str, Mapping[str, Predictions]]
) -> dict[str, Any]:
    rows = trial.held_out.tasks[task.name]
    train = trial.chosen.labels[task.name].double().numpy()
    scores: dict[str, Scores] = {who: of[task.name].scores for who, of in by.items()}
    scores["constant"] = constant_scores(task, train, len(rows.labels))
    every = np.ones(len(rows.labels))
    gain = gain_over(
        task, rows.labels, rows.users, scores["mixture"], scores["twin"], trial.spec.config
    )
    measured = {who: main_metric(task, rows.labels, scores[who])(every) for who in MEMBERS}
    calibration = metrics(task, rows.labels, scores["mixture"])
    return {
        "metric": MAIN_METRIC[type(task.kind)],
        "test_rows": len(rows.labels),
        **measured,
        **asdict(gain),
        **{name: calibration[name] for name in ("ece", "ece_by_chance") if name in calibration},
    }


def lines_of(data: str, seeds: Sequence[Measured]) -> list[dict[str, Any]]:
    """A line per task, means over seeds.

    `low` and `high` bound the gain of the mixture over the twin in the main metric, above 0 is
    better (95 % by bootstrap over users, the mean over seeds); `share` is the mixture's part of
    what the twin gains over the constant.
    """
    lines = []
    for name in seeds[0]:
        of = [measured[name] for measured in seeds]
        columns = [c for c in of[0] if c not in ("metric", "test_rows", "network_shares", "gain")]
        mean = {c: float(np.mean([m[c] for m in of])) for c in columns}
        gained = [(m["mixture"] - m["constant"]) / (m["twin"] - m["constant"]) for m in of]
        lines.append({
            "data": data, "task": name, "metric": of[0]["metric"], **mean,
            "test_rows": of[0]["test_rows"], "share": float(np.mean(gained)), "seeds": len(of),
            "network_shares": np.mean([m["network_shares"] for m in of], axis=0).tolist(),
            "mixture_by_seed": [m["mixture"] for m in of],
        })  # fmt: skip
    return lines


def summary_of(data: str, lines: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """What the tasks of a set come to; `behind` and `ahead` are those that differ from the twin."""
    shares = [line["share"] for line in lines]
    return {
        "data": data,
        "tasks": len(lines),
        "mean_share": float(np.mean(np.clip(shares, *SHARES))),
        "median_share": float(np.median(shares)),
        "behind": [line["task"] for line in lines if line["high"] < 0],
        "ahead": [line["task"] for line in lines if line["low"] > 0],
        "cpu_seconds": float(np.mean([line["cpu_seconds"] for line in lines])),
        **more,
    }


def readable(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines of tasks as a table in Markdown."""
    head = ("data", "task", "metric", *MEMBERS, "over the twin", "share")
    rows = [
        [line["data"], line["task"], line["metric"], *(f"{line[who]:.4g}" for who in MEMBERS),
         f"{line['low']:+.2g} to {line['high']:+.2g}", f"{line['share']:.2f}"]
        for line in lines
    ]  # fmt: skip
    return as_table(head, rows)


def settings_of(given: Sequence[str]) -> dict[str, Any]:
    """Settings of training, each written name=value, as their types want them."""
    defaults, values = TrainConfig().flat, {}
    for name, value in (setting.split("=", 1) for setting in given):
        kind = type(defaults[name])
        values[name] = value == "true" if kind is bool else kind(value)
    return values
