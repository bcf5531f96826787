"""Calibration per task on the validation days: which method is chosen on days held out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from contracts.kinds import Binary, Count, ZeroInflatedLogNormal
from contracts.tasks import Task
from models.data.label_layout import Cuts, labelled, task_labels
from models.network.calibration import Calibration
from models.network.heads import CountHead, Head
from models.training.task_choice import Chosen

MIN_ROWS = 100
"""Fewer labelled rows than this leave the scores as they are."""
MIN_ISOTONIC = 1000
"""Fewer rows than this are too few for steps of any shape."""
FOLDS = 5
"""Parts that rows of a single validation day are held out in."""

Rows = tuple[Tensor, Tensor]
"""Outputs (n, K) and labels, (n,) or (n, C)."""


PRIOR_USERS = 50.0
"""Users whom the training rate counts for beside those of validation days, which may have drifted
away from it."""
SLOPE_DEVIATION = 0.5
"""Standard deviation of the logarithm of a slope before any row is looked at."""


@dataclass(frozen=True)
class Prior:
    """What is expected of a binary task before its validation rows are looked at: few of them
    should not say alone how frequent it is."""

    rate: float
    """Of the training labels."""
    users: float = PRIOR_USERS
    """How many users the rate counts for."""
    rows_per_user: float = 1.0
    """Rows of one user say the same again, so they count as one."""

    def n_users(self, n_rows: int) -> float:
        return n_rows / self.rows_per_user

    def loss(self, outputs: Tensor, slopes: np.ndarray) -> float:
        """What is added to the mean loss of calibrated outputs (n, 1): the users' log loss of the
        mean score, and the improbability of the logarithms of the slopes."""
        n_users = self.n_users(len(outputs))
        mean = float(torch.sigmoid(outputs[:, 0].double()).mean().clamp(1e-6, 1 - 1e-6))
        log_loss = -self.rate * np.log(mean) - (1 - self.rate) * np.log(1 - mean)
        improbable = float((slopes**2).sum()) / (2 * SLOPE_DEVIATION**2)
        return float(self.users * log_loss + improbable) / n_users


def rows_per_user(days: float, share: float) -> float:
    """Rows of those users who have any, where each has one on every day of which a share is taken
    by a hash of user and day."""
    return float(days * share / (1 - (1 - share) ** days))


def priors_of(chosen: Chosen) -> dict[str, Prior]:
    """Per binary task what its training labels say.

    Of a task that is split by user, training rows are of the same days as validation rows: their
    rate counts for as many users as it was taken from.
    """
    priors = {}
    for task in chosen.tasks:
        if isinstance(task.kind, Binary):
            split, rows = chosen.splits[task.name], chosen.rows.get(task.name, {})
            users = PRIOR_USERS
            if split.by_user:
                users = max(rows.get("train", 0) / len(split.train), PRIOR_USERS)
            priors[task.name] = Prior(float(chosen.labels[task.name].mean()), users)
    return priors


def fit_calibration(
    task: Task,
    head: Head,
    days: Sequence[Rows],
    prior: Prior | None = None,
    share: float = 1.0,
) -> Calibration:
    """The calibration of a task, fitted on the labelled rows of all validation days.

    Among the methods that fit its kind, the one is taken that has the smallest loss on rows it was
    not fitted on: those of the last day, where there are two days with rows enough, else each fifth
    row in turn. Where rows are few, a `prior` keeps the mean of a binary task near its training
    rate, and slopes near 1; `share` is that of the rows which were taken, by a hash of user and
    day. Slopes stay above 0, so that the ranking is never turned round. Amounts
    are scaled so that they sum to what was seen, by 5 at most.
    """
    if sum(len(y) for _, y in days) < MIN_ROWS:
        return Calibration()
    outputs, labels = (torch.cat([day[k] for day in days]) for k in (0, 1))
    if prior is not None:
        most = max(len(y) for _, y in days)
        prior = replace(prior, rows_per_user=rows_per_user(len(labels) / most, share))
    methods = _methods(task, len(labels), prior)
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


def _methods(task: Task, n: int, prior: Prior | None) -> Mapping[str, Fit]:
    if not isinstance(task.kind, Binary):
        return {"Platt": platt}
    methods: dict[str, Fit] = {
        "Platt": partial(platt, prior=prior),
        "temperature": partial(temperature, prior=prior),
        "beta": partial(beta, prior=prior),
    }
    n_users = n if prior is None else prior.n_users(n)
    return methods | ({"isotonic": isotonic} if n_users >= MIN_ISOTONIC else {})


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


def platt(head: Head, outputs: Tensor, labels: Tensor, prior: Prior | None = None) -> Calibration:
    """Slope and shift."""
    x = _smallest(
        head, outputs, labels, 2,
        lambda x: Calibration(slope=float(np.exp(x[0])), shift=float(x[1])), prior,
    )  # fmt: skip
    slope = float(np.clip(np.exp(x[0]), 0.01, 5.0))
    return Calibration(slope=slope, shift=float(np.clip(x[1], -5.0, 5.0)))


def temperature(
    head: Head, outputs: Tensor, labels: Tensor, prior: Prior | None = None
) -> Calibration:
    """The slope alone."""
    x = _smallest(head, outputs, labels, 1, lambda x: Calibration(slope=float(np.exp(x[0]))), prior)
    return Calibration(slope=float(np.clip(np.exp(x[0]), 0.01, 5.0)))


def beta(head: Head, outputs: Tensor, labels: Tensor, prior: Prior | None = None) -> Calibration:
    """A slope for either side, and a shift."""

    def calibration_of(x: np.ndarray) -> Calibration:
        slope, fall = np.clip(np.exp(x[:2]), 0.01, 5.0)
        return Calibration(float(slope), float(np.clip(x[2], -5.0, 5.0)), fall=float(fall))

    return calibration_of(_smallest(head, outputs, labels, 3, calibration_of, prior))


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
    prior: Prior | None = None,
) -> np.ndarray:
    """Where the loss is smallest, with a little pull towards no change, (n,): logarithms of slopes,
    then, of two or more, a shift."""

    def loss(x: np.ndarray) -> float:
        calibrated = head.calibrated(outputs, calibration_of(x))
        value = float(calibration_losses(head, calibrated, labels).mean())
        if prior is not None:
            value += prior.loss(calibrated, x[: max(n - 1, 1)])
        return value + 1e-3 * float((x**2).sum())

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
    chosen: Chosen,
    heads: Mapping[str, Head],
    days: Sequence[tuple[Mapping[str, Tensor], Tensor]],
    cuts: Cuts,
) -> dict[str, Calibration]:
    """Fit every task on its labelled rows of `cuts`: per validation day outputs by task and labels
    (n, W)."""
    layout, priors = chosen.layout, priors_of(chosen)
    with torch.inference_mode():
        calibrations = {}
        for task in layout.tasks:
            rows = []
            for outputs, labels in days:
                values = task_labels(labels, layout.slices[task.name])
                known = labelled(values)
                if known.any():
                    rows.append((outputs[task.name][known], values[known]))
            calibrations[task.name] = fit_calibration(
                task,
                heads[task.name],
                rows,
                priors.get(task.name),
                cuts[task.name].share,
            )
        return calibrations
