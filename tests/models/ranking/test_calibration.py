"""Probabilities from scores that only order."""

from __future__ import annotations

import numpy as np
import pytest

from models.ranking.calibration import MIN_WEIGHT, Calibration, fit_calibration


def _rows(n: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), rng


def test_the_logistic_regression_that_labels_were_drawn_from_is_recovered() -> None:
    scores, users, rng = _rows()
    p = 1 / (1 + np.exp(3 - 1.5 * scores[:, 0] - 0.5 * scores[:, 1] + users[:, 0]))
    labels = (rng.random(len(p)) < p).astype(float)
    fitted = fit_calibration(scores, users, labels, np.ones(len(p)))
    assert fitted.intercept == pytest.approx(-3, abs=0.1)
    assert fitted.weights == pytest.approx((1.5, 0.5), abs=0.1)
    assert fitted.user_weights == pytest.approx((-1,), abs=0.1)
    assert fitted.probabilities(scores, users).sum() == pytest.approx(labels.sum(), rel=1e-3)


def test_rows_that_were_left_out_count_with_those_that_stand_for_them() -> None:
    scores, users, rng = _rows()
    p = 1 / (1 + np.exp(3 - scores[:, 0]))
    labels = (rng.random(len(p)) < p).astype(float)
    kept = (labels > 0) | (rng.random(len(p)) < 0.1)
    weights = np.where(labels > 0, 1.0, 10.0)[kept]
    fitted = fit_calibration(scores[kept], users[kept], labels[kept], weights)
    assert fitted.intercept == pytest.approx(-3, abs=0.1)


def test_a_ranker_that_orders_the_wrong_way_round_has_no_part_in_it() -> None:
    scores, users, rng = _rows()
    p = 1 / (1 + np.exp(2 - scores[:, 0] + scores[:, 1]))
    labels = (rng.random(len(p)) < p).astype(float)
    ones = np.ones(len(p))
    both = fit_calibration(scores, users, labels, ones)
    assert both.weights == (pytest.approx(0.85, abs=0.15), 0.0)
    alone = fit_calibration(scores[:, 1:], users, labels, ones)
    assert alone.weights == (MIN_WEIGHT,), "an order, if it is of no use"


def test_an_event_that_always_happens_has_finite_weights() -> None:
    scores, users, _ = _rows(100)
    fitted = fit_calibration(scores, users, np.ones(100), np.ones(100))
    assert fitted.probabilities(scores, users).min() > 0.99


def test_a_row_has_the_same_probability_whatever_rows_stand_beside_it() -> None:
    scores, users, _ = _rows(1001)
    calibration = Calibration(-2.0, (0.3, 0.7), (0.1,))
    of_all = calibration.probabilities(scores, users)
    of_some = calibration.probabilities(scores[500:503], users[500:503])
    assert (of_all[500:503] == of_some).all()
