"""Probabilities of events from scores that only order: a logistic regression for each event.

Its inputs are the scores of rankers, whose weights may not be negative, so that the order within a
user stays theirs, and what says how active the user is, which a ranker that compares the candidates
of one user cannot tell. The weights of two rankers are their mixture.

Letters: N rows, R rankers, U numbers of the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

MIN_WEIGHT = 0.05
"""Of a ranker's score: an event that seems to have nothing to do with it still orders by it."""
RIDGE = 1.0
"""Weight of the squared coefficients, of standardised inputs, beside the loss of all rows."""
_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """logit p = intercept + weights · scores + user_weights · numbers of the user."""

    intercept: float
    weights: tuple[float, ...]
    """Of each ranker's score."""
    user_weights: tuple[float, ...]

    def probabilities(self, scores: Doubles, users: Doubles) -> Doubles:
        """(N,) of scores (N, R) and numbers of the users (N, U)."""
        return 1 / (1 + np.exp(-self.logits(scores, users)))

    def logits(self, scores: Doubles, users: Doubles) -> Doubles:
        """(N,)."""
        # Sums in a fixed order: a matrix product may add up otherwise for another number of rows.
        total = np.full(len(scores), self.intercept)
        for i, weight in enumerate(self.weights):
            total += weight * scores[:, i]
        for i, weight in enumerate(self.user_weights):
            total += weight * users[:, i]
        return np.clip(total, -30, 30)

    def to_json(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "weights": list(self.weights),
            "user_weights": list(self.user_weights),
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Calibration:
        return Calibration(
            float(saved["intercept"]), tuple(saved["weights"]), tuple(saved["user_weights"])
        )


def fit_calibration(
    scores: Doubles, users: Doubles, labels: Doubles, row_weights: Doubles
) -> Calibration:
    """The calibration under which what happened is most probable.

    Args:
        scores: (N, R): standardised.
        users: (N, U): standardised.
        labels: (N,): 0 or 1.
        row_weights: (N,): rows that each stands for.
    """
    n_rankers = scores.shape[1]
    fixed: dict[int, float] = {}
    while True:
        coefficients = _fit(scores, users, labels, row_weights, fixed)
        low = [
            i
            for i in range(n_rankers)
            if i not in fixed and coefficients[1 + i] < (0 if n_rankers > 1 else MIN_WEIGHT)
        ]
        if not low:
            break
        worst = min(low, key=lambda i: coefficients[1 + i])
        fixed[worst] = 0.0 if len(fixed) < n_rankers - 1 else MIN_WEIGHT
    return Calibration(
        float(coefficients[0]),
        tuple(coefficients[1 : 1 + n_rankers].tolist()),
        tuple(coefficients[1 + n_rankers :].tolist()),
    )


def _fit(
    scores: Doubles,
    users: Doubles,
    labels: Doubles,
    row_weights: Doubles,
    fixed: Mapping[int, float],
) -> Doubles:
    """(1 + R + U,): intercept and weights, those of `fixed` rankers as given; Newton's method."""
    inputs = np.concatenate([np.ones((len(scores), 1)), scores, users], axis=1)
    free = [i for i in range(inputs.shape[1]) if i - 1 not in fixed or i == 0]
    coefficients = np.zeros(inputs.shape[1])
    for i, value in fixed.items():
        coefficients[1 + i] = value
    rate = np.clip(np.average(labels, weights=row_weights), 1e-7, 1 - 1e-7)
    coefficients[0] = np.log(rate / (1 - rate))
    penalty, used = np.where(np.array(free) == 0, 1e-6, RIDGE), inputs[:, free]
    loss = _loss(inputs, labels, row_weights, coefficients, free, penalty)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(inputs @ coefficients, -30, 30)))
        gradient = used.T @ (row_weights * (p - labels)) + penalty * coefficients[free]
        curvature = row_weights * p * (1 - p)
        hessian = used.T @ (curvature[:, None] * used) + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        before = loss
        coefficients, loss = _descended(
            inputs, labels, row_weights, coefficients, free, step, penalty, before
        )
        if before - loss < 1e-9 * max(abs(loss), 1):
            break
    return coefficients


def _descended(
    inputs: Doubles,
    labels: Doubles,
    row_weights: Doubles,
    coefficients: Doubles,
    free: Sequence[int],
    step: Doubles,
    penalty: Doubles,
    before: float,
) -> tuple[Doubles, float]:
    """The coefficients after the longest halving of the step that does not raise the loss, which is
    `before` without it; and their loss."""
    length = 1.0
    while length > 1e-6:
        tried = coefficients.copy()
        tried[free] -= length * step
        loss = _loss(inputs, labels, row_weights, tried, free, penalty)
        if loss <= before:
            return tried, loss
        length /= 2
    return coefficients, before


def _loss(
    inputs: Doubles,
    labels: Doubles,
    row_weights: Doubles,
    coefficients: Doubles,
    free: Sequence[int],
    penalty: Doubles,
) -> float:
    logits = np.clip(inputs @ coefficients, -30, 30)
    of_rows = np.logaddexp(0, logits) - labels * logits
    return float((row_weights * of_rows).sum() + (penalty * coefficients[free] ** 2).sum() / 2)
