"""Calibration per task, fitted on the validation days: two numbers for a logit, one for amounts."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from contracts.kinds import Count, ZeroInflatedLogNormal
from contracts.tasks import Task
from models.heads import Calibration, Head
from models.layout import Layout, labelled, task_labels

MIN_ROWS = 100
"""Fewer labelled rows than this leave the scores as they are."""


def fit_calibration(task: Task, head: Head, outputs: Tensor, labels: Tensor) -> Calibration:
    """The slope and shift (Platt, 1999) that minimise the loss of (n, K) outputs on (n,)
    or (n, C) labels.

    The slope stays above 0, so that the ranking is never turned round. Amounts are scaled so that
    they sum to what was seen, by 5 at most.
    """
    if len(labels) < MIN_ROWS:
        return Calibration()

    def loss(x: np.ndarray) -> float:
        tried = Calibration(slope=float(np.exp(x[0])), shift=float(x[1]))
        value = head.loss(head.calibrated(outputs, tried), labels).mean()
        return float(value) + 1e-3 * float(x[0] ** 2 + x[1] ** 2)

    found = minimize(
        loss,
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 400},
    )
    slope = float(np.clip(np.exp(found.x[0]), 0.01, 5.0))
    made = Calibration(slope=slope, shift=float(np.clip(found.x[1], -5.0, 5.0)))
    if isinstance(task.kind, ZeroInflatedLogNormal | Count):
        expected = head.predict(outputs, made)["_expected"].sum()
        factor = float(labels.double().sum() / expected.clamp_min(1e-9))
        made = Calibration(made.slope, made.shift, float(np.clip(factor, 0.2, 5.0)))
    return made


def calibrate(
    layout: Layout, heads: dict[str, Head], outputs: dict[str, Tensor], labels: Tensor
) -> dict[str, Calibration]:
    """Fit every task on its labelled rows of (n, W) labels."""
    with torch.inference_mode():
        made = {}
        for task in layout.tasks:
            mine = task_labels(labels, layout.slices[task.name])
            there = labelled(mine)
            made[task.name] = fit_calibration(
                task, heads[task.name], outputs[task.name][there], mine[there]
            )
        return made
