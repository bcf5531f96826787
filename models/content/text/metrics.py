"""How well predicted classes agree with labels: one number per task, as its benchmark has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Metric:
    """A number between 0 and 1 of labels and predictions, (N,) each."""

    name: str
    of: Callable[[Classes, Classes, int], float]
    """Of labels, predictions and the number of classes."""


def f1_of_classes(labels: Classes, predicted: Classes, n_classes: int) -> NDArray[np.float64]:
    """F1 of each class; 0 for one that is neither labelled nor predicted."""
    both = _count(labels[labels == predicted], n_classes)
    either = _count(labels, n_classes) + _count(predicted, n_classes)
    return 2 * both / np.maximum(either, 1)


def macro_f1(labels: Classes, predicted: Classes, n_classes: int) -> float:
    return float(f1_of_classes(labels, predicted, n_classes).mean())


def macro_recall(labels: Classes, predicted: Classes, n_classes: int) -> float:
    """Mean over the classes that are labelled."""
    n = _count(labels, n_classes)
    right = _count(labels[labels == predicted], n_classes)
    return float((right[n > 0] / n[n > 0]).mean())


def f1_of_class_1(labels: Classes, predicted: Classes, n_classes: int) -> float:
    return float(f1_of_classes(labels, predicted, n_classes)[1])


def f1_without_class_0(labels: Classes, predicted: Classes, n_classes: int) -> float:
    """Mean F1 of all classes but the first, which takes no side."""
    return float(f1_of_classes(labels, predicted, n_classes)[1:].mean())


MACRO_F1 = Metric("macro_f1", macro_f1)
OFFICIAL: Mapping[str, Metric] = {
    "irony": Metric("f1_of_class_1", f1_of_class_1),
    "sentiment": Metric("macro_recall", macro_recall),
    "stance": Metric("mean_f1_of_against_and_favour", f1_without_class_0),
}
"""Metrics of TweetEval (Barbieri et al. 2020); of all other tasks it is macro-F1."""


def metric_of(task: str) -> Metric:
    return OFFICIAL.get(task, MACRO_F1)


def interval(
    metric: Metric, labels: Classes, predicted: Classes, n_classes: int, n: int = 200
) -> tuple[float, float]:
    """Bounds within which 95 % of bootstrap samples of the texts have the metric."""
    random = np.random.default_rng(0)
    rows = random.integers(0, len(labels), (n, len(labels)))
    values = [metric.of(labels[r], predicted[r], n_classes) for r in rows]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _count(classes: Classes, n_classes: int) -> NDArray[np.int64]:
    return np.bincount(classes, minlength=n_classes)
