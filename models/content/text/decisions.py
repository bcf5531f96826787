"""From probabilities to one class for each text, as a metric asks.

The most probable class is right for accuracy alone. Mean recall asks for the largest
`p_c / share_c`, F1 for something between the two: `p_c / share_c ** power`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.content.text.metrics import Metric

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
N_SAMPLES = 100
"""Of the bootstrap."""


@dataclass(frozen=True)
class Decision:
    """Which class a text gets."""

    shares: tuple[float, ...]
    """Shares of the classes among labelled texts."""
    power: float

    def classes(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Class numbers (N,) of probabilities (N, C)."""
        weight = np.array(self.shares) ** -self.power
        return np.asarray((probabilities * weight).argmax(axis=1), np.int64)


def choose_decision(
    metric: Metric, probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> Decision:
    """The power with the best metric on validation texts, smoothed over its neighbours: a peak that
    stands alone is chance.

    The most probable class stays where what is gained is within a standard error of the gain (by
    bootstrap): a preference that chance gives does harm where texts are of another kind.
    """
    n_classes = probabilities.shape[1]
    shares = (np.bincount(labels, minlength=n_classes) + 1.0) / (len(labels) + n_classes)
    decisions = [Decision(tuple(shares.tolist()), power) for power in POWERS]
    predicted = [decision.classes(probabilities) for decision in decisions]
    values = [metric.of(labels, classes, n_classes) for classes in predicted]
    padded = np.pad(values, 1, mode="edge")
    best = int((padded[:-2] + padded[1:-1] + padded[2:]).argmax())
    rows = np.random.default_rng(0).integers(0, len(labels), (N_SAMPLES, len(labels)))
    gains = [
        metric.of(labels[r], predicted[best][r], n_classes)
        - metric.of(labels[r], predicted[0][r], n_classes)
        for r in rows
    ]
    return decisions[best if values[best] - values[0] > np.std(gains) else 0]
