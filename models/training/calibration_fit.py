"""Calibration per task on the validation days: which method is chosen on days held out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from contracts.kinds import Binary, Count, ZeroInflatedLogNormal
from contracts.tasks import Task
from models.data.label_layout import Layout, labelled, task_labels
from models.network.calibration import Calibration
from models.network.heads import CountHead, Head

MIN_ROWS = 100
"""Fewer labelled rows than this leave the scores as they are."""
MIN_ISOTONIC = 1000
"""Fewer rows than this are too few for steps of any shape."""
FOLDS = 5
"""Parts that rows of a single validation day are held out in."""

Rows = tuple[Tensor, Tensor]
"""Outputs (n, K) and labels, (n,) or (n, C)."""


def fit_calibration(task: Task, head: Head, days: Sequence[Rows]) -> Calibration:
    """The calibration of a task, fitted on the labelled rows of all validation days.

    Among the methods that fit its kind, the one is taken that has the smallest loss on rows it was
    not fitted on: those of the last day, where there are two days with rows enough, else each fifth
    row in turn. Slopes stay above 0, so that the ranking is never turned round. Amounts are scaled
    so that they sum to what was seen, by 5 at most.
    """
    if sum(len(y) for _, y in days) < MIN_ROWS:
        return Calibration()
    outputs, labels = (torch.cat([day[k] for day in days]) for k in (0, 1))
    methods = _methods(task, len(labels))
    best = methods["Platt"]
    if len(methods) > 1:
        losses = {
            name: sum(
                float(head.loss(head.calibrated(x, fit(head, *fold)), y).sum())
                for fold, (x, y) in _held_out(days)
            )
            for name, fit in methods.items()
        }
        best = methods[min(losses, key=lambda name: (losses[name], name))]
    fitted = best(head, outputs, labels)
    if isinstance(task.kind, ZeroInflatedLogNormal | Count):
        expected = head.predict(outputs, fitted)["_expected"].sum()
        factor = float(labels.double().sum() / expected.clamp_min(1e-9))
        fitted = Calibration(fitted.slope, fitted.shift, float(np.clip(factor, 0.2, 5.0)))
    return fitted


Fit = Callable[[Head, Tensor, Tensor], Calibration]


def _methods(task: Task, n: int) -> Mapping[str, Fit]:
    if not isinstance(task.kind, Binary):
        return {"Platt": platt}
    methods: dict[str, Fit] = {"Platt": platt, "temperature": temperature, "beta": beta}
    return methods | ({"isotonic": isotonic} if n >= MIN_ISOTONIC else {})


def _held_out(days: Sequence[Rows]) -> list[tuple[Rows, Rows]]:
    """Rows to fit on, and rows to choose by."""
    if len(days) > 1 and min(len(days[-1][1]), sum(len(y) for _, y in days[:-1])) >= MIN_ROWS:
        before = [torch.cat([day[k] for day in days[:-1]]) for k in (0, 1)]
        return [((before[0], before[1]), days[-1])]
    outputs, labels = (torch.cat([day[k] for day in days]) for k in (0, 1))
    fold = torch.arange(len(labels)) % FOLDS
    return [
        ((outputs[fold != k], labels[fold != k]), (outputs[fold == k], labels[fold == k]))
        for k in range(FOLDS)
    ]


def platt(head: Head, outputs: Tensor, labels: Tensor) -> Calibration:
    """Slope and shift."""
    x = _smallest(
        head, outputs, labels, 2,
        lambda x: Calibration(slope=float(np.exp(x[0])), shift=float(x[1])),
    )  # fmt: skip
    slope = float(np.clip(np.exp(x[0]), 0.01, 5.0))
    return Calibration(slope=slope, shift=float(np.clip(x[1], -5.0, 5.0)))


def temperature(head: Head, outputs: Tensor, labels: Tensor) -> Calibration:
    """The slope alone."""
    x = _smallest(head, outputs, labels, 1, lambda x: Calibration(slope=float(np.exp(x[0]))))
    return Calibration(slope=float(np.clip(np.exp(x[0]), 0.01, 5.0)))


def beta(head: Head, outputs: Tensor, labels: Tensor) -> Calibration:
    """A slope for either side, and a shift."""

    def calibration_of(x: np.ndarray) -> Calibration:
        slope, fall = np.clip(np.exp(x[:2]), 0.01, 5.0)
        return Calibration(float(slope), float(np.clip(x[2], -5.0, 5.0)), fall=float(fall))

    return calibration_of(_smallest(head, outputs, labels, 3, calibration_of))


def isotonic(head: Head, outputs: Tensor, labels: Tensor) -> Calibration:
    """Of any shape, and always rising; of a binary task.

    Isotonic regression gives one value to a whole block of rows, which would tie users whom the
    model ranks. As in centred isotonic regression (Oron and Flournoy, 2017) the value stands at the
    block's mean, with a line from one block to the next.
    """
    x, n = outputs[:, 0].double().numpy(), len(labels)
    least = 0.5 / n
    fitted = IsotonicRegression(y_min=least, y_max=1 - least).fit_transform(
        x, labels.double().numpy()
    )
    y, block = np.unique(fitted, return_inverse=True)
    centres = np.bincount(block, weights=x) / np.bincount(block)
    knots = tuple(zip(centres.tolist(), (np.log(y) - np.log1p(-y)).tolist(), strict=True))
    return Calibration(knots=knots) if len(knots) > 1 else Calibration()


def _smallest(
    head: Head,
    outputs: Tensor,
    labels: Tensor,
    n: int,
    calibration_of: Callable[[np.ndarray], Calibration],
) -> np.ndarray:
    """Where the loss is smallest, with a little pull towards no change, (n,)."""

    def loss(x: np.ndarray) -> float:
        value = calibration_losses(head, head.calibrated(outputs, calibration_of(x)), labels).mean()
        return float(value) + 1e-3 * float((x**2).sum())

    optimum = minimize(
        loss,
        np.zeros(n),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 400},
    )
    x: np.ndarray = optimum.x
    return x


def calibration_losses(head: Head, outputs: Tensor, labels: Tensor) -> Tensor:
    """What calibration makes small, (n,): the loss, but of a count Poisson's.

    A score of a count is its mean, which Poisson's loss is about whatever the spread is; that of
    the negative binomial hardly looks at users who are expected to do much.
    """
    if isinstance(head, CountHead):
        log_mean = outputs[:, 0].clamp(max=20)
        return torch.exp(log_mean) - labels * log_mean
    return head.loss(outputs, labels)


def calibrate(
    layout: Layout, heads: Mapping[str, Head], days: Sequence[tuple[Mapping[str, Tensor], Tensor]]
) -> dict[str, Calibration]:
    """Fit every task on its labelled rows: per validation day outputs by task and labels (n, W)."""
    with torch.inference_mode():
        calibrations = {}
        for task in layout.tasks:
            rows = []
            for outputs, labels in days:
                values = task_labels(labels, layout.slices[task.name])
                known = labelled(values)
                if known.any():
                    rows.append((outputs[task.name][known], values[known]))
            calibrations[task.name] = fit_calibration(task, heads[task.name], rows)
        return calibrations
