"""Metrics per task, beside the constant; intervals by bootstrap over users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from contracts.tasks import Binary, Kind, Ordinal, Task, ZeroInflatedLogNormal

Array = npt.NDArray[np.float64]
Scores = Mapping[str, Array]
"""Suffix of a score column to its values, (n,)."""

MAIN_METRIC: Mapping[type[Kind], str] = {
    Binary: "auc",
    ZeroInflatedLogNormal: "mae",
    Ordinal: "mae",
}
"""What a person looks at first. Higher is better for an AUC, lower for an error."""


def metrics(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    """What fits the task's kind, over (n,) labels."""
    return {
        name: float(value)
        for name, value in _BY_KIND[type(task.kind)](task, labels, scores).items()
    }


def _binary(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    p = np.clip(scores[""], 1e-7, 1 - 1e-7)
    made = {
        "log_loss": log_loss(labels, p, labels=[0, 1]),
        "brier": np.mean((p - labels) ** 2),
        "base_rate": labels.mean(),
    }
    if 0 < labels.mean() < 1:
        made |= {"auc": roc_auc_score(labels, p), "pr_auc": average_precision_score(labels, p)}
    return made


def _amount(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    expected, some = scores["_expected"], (labels > 0).astype(float)
    made = {
        "mae": np.abs(expected - labels).mean(),
        "rmse": np.sqrt(((expected - labels) ** 2).mean()),
        "total_ratio": expected.sum() / max(labels.sum(), 1.0),
        "base_rate": some.mean(),
    }
    if 0 < some.mean() < 1:
        made["auc"] = roc_auc_score(some, scores["_probability"])
    if np.ptp(expected) > 0 and np.ptp(labels) > 0:
        made["spearman"] = spearmanr(expected, labels).statistic
    return made


def _level(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    assert_levels = task.kind.levels if isinstance(task.kind, Ordinal) else 0
    chances = np.stack([scores[f"_is_{k}"] for k in range(1, assert_levels + 1)], axis=1)
    seen = np.clip(chances[np.arange(len(labels)), labels.astype(int) - 1], 1e-7, 1)
    expected = scores["_expected"]
    made = {
        "mae": np.abs(expected - labels).mean(),
        "rmse": np.sqrt(((expected - labels) ** 2).mean()),
        "accuracy": (chances.argmax(1) + 1 == labels).mean(),
        "log_loss": -np.log(seen).mean(),
    }
    if np.ptp(expected) > 0 and np.ptp(labels) > 0:
        made["spearman"] = spearmanr(expected, labels).statistic
    return made


_BY_KIND: Mapping[type[Kind], Callable[[Task, Array, Scores], dict[str, Any]]] = {
    Binary: _binary,
    ZeroInflatedLogNormal: _amount,
    Ordinal: _level,
}
KINDS = tuple(_BY_KIND)


def constant_scores(task: Task, train_labels: Array, n: int) -> Scores:
    """The best answer that is the same for every user, `n` times: the training labels' own."""
    full = np.ones(n)
    match task.kind:
        case Binary():
            return {"": full * train_labels.mean()}
        case ZeroInflatedLogNormal():
            return {
                "_probability": full * (train_labels > 0).mean(),
                "_expected": full * train_labels.mean(),
            }
        case Ordinal(levels=levels):
            return {
                "_expected": full * train_labels.mean(),
                **{f"_is_{k}": full * (train_labels == k).mean() for k in range(1, levels + 1)},
            }


def bootstrap(
    users: npt.NDArray[np.str_],
    rows: Callable[[npt.NDArray[np.int64]], float],
    samples: int,
    seed: int,
) -> tuple[float, float]:
    """95 % interval of a statistic of row numbers, resampling users with all of their rows."""
    order = np.argsort(users, kind="stable")
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(samples):
        picked = generator.integers(len(starts), size=len(starts))
        lengths = counts[picked]
        first = np.repeat(starts[picked], lengths)
        within = np.arange(len(first)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        value = rows(order[first + within])
        if np.isfinite(value):
            values.append(value)
    if not values:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def main_metric(
    task: Task, labels: Array, scores: Scores
) -> Callable[[npt.NDArray[np.int64]], float]:
    """The main metric as a function of row numbers, for the bootstrap."""
    name = MAIN_METRIC[type(task.kind)]

    def of(rows: npt.NDArray[np.int64]) -> float:
        if name == "auc":
            y = labels[rows]
            return float(roc_auc_score(y, scores[""][rows])) if 0 < y.mean() < 1 else float("nan")
        return float(np.abs(scores["_expected"][rows] - labels[rows]).mean())

    return of
