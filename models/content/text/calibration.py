"""Members' outputs as probabilities: of each member by a scale, of their mean by scale and offsets.

N texts, C classes of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.content.text.examples import MISSING

RIDGE = 0.02
"""How strongly offsets are held near 0, in log-loss per squared unit."""


@dataclass(frozen=True)
class Calibration:
    """`scale * logits + offsets`, of which the softmax are probabilities."""

    scale: float
    offsets: tuple[float, ...]

    def log_probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return log_softmax(self.scale * logits.astype(np.float64) + np.array(self.offsets))


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fit_calibration(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """What has the lowest log-loss on held-out texts (N, C) with class numbers (N,).

    Members weigh rare classes as much as others; the offsets give classes their shares back (Guo et
    al. 2017, vector scaling with one scale). Without labels all stays as it is.
    """
    known = labels != MISSING
    n_classes = logits.shape[1]
    if not known.any():
        return Calibration(1.0, (0.0,) * n_classes)
    values, classes = logits[known].astype(np.float64), labels[known]
    truth = np.eye(n_classes)[classes]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale, offsets = np.exp(parameters[0]), parameters[1:]
        log_p = log_softmax(scale * values + offsets)
        error = (np.exp(log_p) - truth) / len(classes)
        value = -log_p[np.arange(len(classes)), classes].mean() + RIDGE * (offsets**2).sum() / 2
        slope = np.concatenate(
            [[scale * (error * values).sum()], error.sum(axis=0) + RIDGE * offsets]
        )
        return float(value), slope

    bounds = [(-4.0, 4.0), *[(-4.0, 4.0)] * n_classes]
    found = minimize(loss, np.zeros(n_classes + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(
        round(float(np.exp(found[0])), 6), tuple(round(float(x), 6) for x in found[1:])
    )
