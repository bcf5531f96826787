"""Metrics per task, beside the constant; intervals by bootstrap over users.

Letters: n rows, C classes of a multi-label task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from contracts.kinds import (
    Binary,
    Count,
    Kind,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.tasks import Task
from contracts.train_config import TrainConfig
from models.evaluation.calibration_error import Array, ece, ece_by_chance

Scores = Mapping[str, Array]
"""Suffix of a score column to its values, (n,) or (n, C)."""
Statistic = Callable[[Array], float]
"""A number made of (n,) weights of the rows."""

MAIN_METRIC: Mapping[type[Kind], str] = {
    Binary: "auc",
    Count: "deviance",
    Regression: "mse",
    ZeroInflatedLogNormal: "deviance",
    Ordinal: "mae",
    MultiClass: "auc",
    MultiLabel: "auc",
}
"""The metric that stands for a task. Higher is better for an AUC (the mean over classes where there
are several), lower for an error and for the deviance of counts and amounts: their scores are means,
and the mean absolute error of skewed amounts is smallest for scores that are too low."""
HIGHER_IS_BETTER = frozenset({"auc"})
MIN_TOLD_APART = 20
"""Rows that must be on either side before an order among them says anything."""


def metrics(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    """What fits the task's kind, over (n,) or (n, C) labels."""
    return {
        name: float(value)
        for name, value in _BY_KIND[type(task.kind)](task, labels, scores).items()
    }


def _binary(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    p = np.clip(scores[""], 1e-7, 1 - 1e-7)
    metrics = {
        "log_loss": log_loss(labels, p, labels=[0, 1]),
        "brier": np.mean((p - labels) ** 2),
        "ece": ece(labels, scores[""]),
        "ece_by_chance": ece_by_chance(scores[""]),
        "base_rate": labels.mean(),
    }
    if 0 < labels.mean() < 1:
        metrics |= {
            "auc": roc_auc_score(labels, p),
            "pr_auc": average_precision_score(labels, p),
            **decided(labels, p),
        }
    return metrics


def decided(labels: Array, scores: Array) -> dict[str, float]:
    """What comes of saying yes to as many rows as there are positive ones, those scored highest.

    Recall, precision and F1 are one number then; beside it the share of positives among the tenth
    of rows scored highest.
    """
    order = np.argsort(-scores, kind="stable")
    positives = int(labels.sum())
    hits = labels[order[:positives]].sum()
    tenth = max(len(labels) // 10, 1)
    return {
        "f1": hits / positives,
        "accuracy": 1 - 2 * (positives - hits) / len(labels),
        "recall_top_decile": labels[order[:tenth]].sum() / positives,
    }


def gini(labels: Array, scores: Array) -> float:
    """Normalised Gini coefficient of (n,) amounts: 1 if scores order them as they are, 0 if the
    order says nothing. Ties among scores share their mean amount."""

    def area(by: Array) -> float:
        _, group = np.unique(-by, return_inverse=True)
        counts = np.bincount(group)
        means = np.bincount(group, weights=labels) / counts
        lorenz = np.cumsum(means[group[np.argsort(group, kind="stable")]])
        return float((lorenz / lorenz[-1] - np.arange(1, len(labels) + 1) / len(labels)).sum())

    best = area(labels)
    return area(scores) / best if best > 0 else float("nan")


def _errors(labels: Array, expected: Array) -> dict[str, float]:
    errors = {
        "mae": np.abs(expected - labels).mean(),
        "rmse": np.sqrt(((expected - labels) ** 2).mean()),
    }
    if np.ptp(expected) > 0 and np.ptp(labels) > 0:
        errors["spearman"] = spearmanr(expected, labels).statistic
        errors["gini"] = gini(labels, expected)
    return errors


def _count(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    expected = scores["_expected"]
    some = (labels > 0).astype(float)
    metrics = _errors(labels, expected) | {
        "deviance": poisson_deviance(labels, expected).mean(),
        "total_ratio": expected.sum() / max(labels.sum(), 1.0),
        "base_rate": some.mean(),
    }
    if 0 < some.mean() < 1:
        metrics["auc"] = roc_auc_score(some, expected)
    return metrics


def poisson_deviance(labels: Array, expected: Array) -> Array:
    """Of counts, per row (McCullagh and Nelder, 1989), (n,)."""
    mean = np.maximum(expected, 1e-6)
    return 2 * (xlogy(labels, labels / mean) - labels + mean)


def tweedie_deviance(labels: Array, expected: Array) -> Array:
    """Of amounts that may be 0, per row, with power 1.5 (Jørgensen, 1987), (n,)."""
    root = np.sqrt(np.maximum(expected, 1e-6))
    return 4 * (root - np.sqrt(labels)) ** 2 / root


def _amount(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    expected, some = scores["_expected"], (labels > 0).astype(float)
    metrics = _errors(labels, expected) | {
        "deviance": tweedie_deviance(labels, expected).mean(),
        "total_ratio": expected.sum() / max(labels.sum(), 1.0),
        "base_rate": some.mean(),
    }
    if 0 < some.mean() < 1:
        metrics["auc"] = roc_auc_score(some, scores["_probability"])
    return metrics


def _regression(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    expected = scores["_expected"]
    squares = ((expected - labels) ** 2).mean()
    return _errors(labels, expected) | {
        "mse": squares,
        "r2": 1 - squares / labels.var() if labels.var() > 0 else float("nan"),
    }


def _level(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    chances = class_chances(task, scores)
    return _errors(labels, scores["_expected"]) | _hits(chances, labels)


def _class(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    chances = class_chances(task, scores)
    everyone = np.ones(len(labels))
    return _hits(chances, labels) | {"auc": main_metric(task, labels, scores)(everyone)}


def _hits(chances: Array, labels: Array) -> dict[str, float]:
    seen = np.clip(chances[np.arange(len(labels)), labels.astype(int) - 1], 1e-7, 1)
    return {
        "accuracy": (chances.argmax(1) + 1 == labels).mean(),
        "log_loss": -np.log(seen).mean(),
    }


def class_chances(task: Task, scores: Scores) -> Array:
    """(n, levels) or (n, classes): the probabilities of an ordinal or multi-class task."""
    match task.kind:
        case Ordinal(levels=levels):
            names: tuple[str | int, ...] = tuple(range(1, levels + 1))
        case MultiClass(classes=classes):
            names = classes
        case _:
            raise TypeError(f"{task.name} has no classes of its own")
    return np.stack([scores[f"_is_{name}"] for name in names], axis=1)


def _labels(task: Task, labels: Array, scores: Scores) -> dict[str, float]:
    chances = np.clip(scores["_probabilities"], 1e-7, 1 - 1e-7)
    losses = -(labels * np.log(chances) + (1 - labels) * np.log(1 - chances))
    return {
        "auc": main_metric(task, labels, scores)(np.ones(len(labels))),
        "log_loss": losses.mean(),
        "brier": ((chances - labels) ** 2).mean(),
        "base_rate": labels.mean(),
        "top_is_there": labels[np.arange(len(labels)), chances.argmax(1)].mean(),
    }


_BY_KIND: Mapping[type[Kind], Callable[[Task, Array, Scores], dict[str, Any]]] = {
    Binary: _binary,
    Count: _count,
    Regression: _regression,
    ZeroInflatedLogNormal: _amount,
    Ordinal: _level,
    MultiClass: _class,
    MultiLabel: _labels,
}
KINDS = tuple(_BY_KIND)


def constant_scores(task: Task, train_labels: Array, n: int) -> Scores:
    """The best answer that is the same for every user, `n` times: the training labels' own."""
    full = np.ones(n)
    match task.kind:
        case Binary():
            return {"": full * train_labels.mean()}
        case Count() | Regression():
            return {"_expected": full * train_labels.mean()}
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
        case MultiClass(classes=classes):
            return {
                f"_is_{name}": full * (train_labels == k + 1).mean()
                for k, name in enumerate(classes)
            }
        case MultiLabel():
            return {"_probabilities": np.tile(train_labels.mean(axis=0), (n, 1))}


def bootstrap(
    users: npt.NDArray[np.str_], statistic: Statistic, samples: int, seed: int
) -> tuple[float, float]:
    """95 % interval of a statistic of the rows' weights, resampling users with all their rows."""
    _, codes = np.unique(users, return_inverse=True)
    n = int(codes.max()) + 1 if len(codes) else 0
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(samples):
        drawn = np.bincount(generator.integers(n, size=n), minlength=n)
        value = statistic(drawn[codes].astype(np.float64))
        if np.isfinite(value):
            values.append(value)
    if not values:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Gain:
    """How much better in the main metric, above 0 is better, with its 95 % interval over users."""

    gain: float
    low: float
    high: float


def gain_over(
    task: Task,
    labels: Array,
    users: npt.NDArray[np.str_],
    ours: Scores,
    theirs: Scores,
    config: TrainConfig,
) -> Gain:
    """How much better our scores of some rows are than others' of the same rows."""
    sign = 1.0 if MAIN_METRIC[type(task.kind)] in HIGHER_IS_BETTER else -1.0
    own, other = (main_metric(task, labels, s) for s in (ours, theirs))
    every = np.ones(len(labels))
    samples = config.evaluation.bootstrap_samples
    low, high = bootstrap(users, lambda w: sign * (own(w) - other(w)), samples, config.seed)
    return Gain(sign * (own(every) - other(every)), low, high)


def mean_of(values: Array) -> Statistic:
    """The weighted mean of (n,) values."""
    return lambda weights: float(values @ weights / weights.sum())


def auc_of(labels: Array, scores: Array) -> Statistic:
    """The weighted area under the curve; sorted once, so that a resample costs no sorting."""
    order = np.argsort(scores, kind="stable")
    positive = labels[order] > 0
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def of(weights: Array) -> float:
        w = weights[order]
        for_, against = (
            np.add.reduceat(np.where(side, w, 0.0), starts) for side in (positive, ~positive)
        )
        below = np.cumsum(against) - against
        pairs = for_.sum() * against.sum()
        return float((for_ * (below + against / 2)).sum() / pairs) if pairs else float("nan")

    return of


def main_metric(task: Task, labels: Array, scores: Scores) -> Statistic:
    """The main metric as a function of the rows' weights, for the bootstrap."""
    match task.kind:
        case Binary():
            return auc_of(labels, scores[""])
        case Count():
            return mean_of(poisson_deviance(labels, scores["_expected"]))
        case ZeroInflatedLogNormal():
            return mean_of(tweedie_deviance(labels, scores["_expected"]))
        case Regression():
            return mean_of((scores["_expected"] - labels) ** 2)
        case Ordinal():
            return mean_of(np.abs(scores["_expected"] - labels))
        case MultiClass():
            chances = class_chances(task, scores)
            each = [auc_of((labels == k).astype(float), p) for k, p in enumerate(chances.T, 1)]
        case MultiLabel():
            each = [
                auc_of(labels[:, k], scores["_probabilities"][:, k]) for k in range(labels.shape[1])
            ]
    return lambda weights: _mean_known([of(weights) for of in each])


def rank_metric(task: Task, labels: Array, scores: Scores) -> Statistic | None:
    """An AUC as a function of the rows' weights, whatever the kind: 0.5 is chance.

    Of numbers and levels it says how well the score tells those above the middle from the others:
    above the median, or where nothing is, at it. Of classes it is the mean over them. What has
    fewer than `MIN_TOLD_APART` rows on either side says nothing: resampling a handful of rows makes
    an interval that is far too narrow. None where that leaves nothing.
    """
    sides: list[tuple[npt.NDArray[Any], Array]]
    match task.kind:
        case Binary():
            sides = [(labels, scores[""])]
        case MultiClass(classes=classes):
            chances = class_chances(task, scores)
            sides = [(labels == k + 1, chances[:, k]) for k in range(len(classes))]
        case MultiLabel():
            columns = range(labels.shape[1])
            sides = [(labels[:, k], scores["_probabilities"][:, k]) for k in columns]
        case _:
            above = labels > np.median(labels)
            sides = [(above if above.any() else labels >= np.median(labels), scores["_expected"])]
    each = [
        auc_of(side.astype(float), values)
        for side, values in sides
        if MIN_TOLD_APART <= (side > 0).sum() <= len(side) - MIN_TOLD_APART
    ]
    return (lambda weights: _mean_known([of(weights) for of in each])) if each else None


def _mean_known(values: list[float]) -> float:
    """The mean over the classes that are there and not always there."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
