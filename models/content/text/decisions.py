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
    stands alone is chance."""
    n_classes = probabilities.shape[1]
    shares = (np.bincount(labels, minlength=n_classes) + 1.0) / (len(labels) + n_classes)
    decisions = [Decision(tuple(shares.tolist()), power) for power in POWERS]
    values = [metric.of(labels, d.classes(probabilities), n_classes) for d in decisions]
    padded = np.pad(values, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return decisions[int(smooth.argmax())]
