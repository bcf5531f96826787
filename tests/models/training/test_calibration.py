"""Calibration: what each method does to scores, and which is chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from contracts.kinds import (
    Binary,
    Count,
)
from contracts.tasks import task_named
from models.network.calibration import Calibration
from models.network.heads import head_of
from models.training.calibration_fit import (
    Prior,
    beta,
    fit_calibration,
    isotonic,
    platt,
    rows_per_user,
    temperature,
)


def drawn(truth: np.ndarray, said: np.ndarray, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Outputs that say one logit, and labels that follow another."""
    rng = np.random.default_rng(seed)
    labels = rng.random(len(truth)) < 1 / (1 + np.exp(-truth))
    return torch.tensor(said).float().unsqueeze(1), torch.tensor(labels).float()


def test_calibration_mends_a_logit_that_is_too_sure() -> None:
    truth = np.random.default_rng(1).normal(size=4000)
    outputs, labels = drawn(truth, 3 * truth + 2)
    task, head = task_named("churn_28d"), head_of(Binary())
    calibration = platt(head, outputs, labels)
    assert calibration.slope == pytest.approx(1 / 3, abs=0.05)
    assert calibration.shift == pytest.approx(-2 / 3, abs=0.1)
    assert fit_calibration(task, head, [(outputs[:50], labels[:50])]) == Calibration()


@pytest.mark.parametrize("method", [platt, temperature, beta, isotonic])
def test_every_method_lowers_the_loss_keeps_the_order_and_is_saved(method) -> None:
    truth = np.random.default_rng(2).normal(size=3000)
    outputs, labels = drawn(truth, 2.5 * truth)
    head = head_of(Binary())
    calibration = method(head, outputs, labels)
    mended = head.calibrated(outputs, calibration)
    assert head.loss(mended, labels).mean() < head.loss(outputs, labels).mean() - 0.05
    ordered = mended[outputs[:, 0].argsort(), 0]
    assert (ordered.diff() >= -1e-5).all()
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
    beyond = head.calibrated(torch.tensor([[-80.0], [80.0]]), calibration)
    assert torch.isfinite(beyond).all()


def test_a_count_is_calibrated_in_its_mean() -> None:
    rng = np.random.default_rng(4)
    log_mean = rng.normal(0.5, 1.0, 4000)
    labels = torch.tensor(rng.poisson(np.exp(log_mean))).float()
    said = 0.5 * log_mean + 0.3  # too flat
    outputs = torch.tensor(np.stack([said, np.zeros(4000)], axis=1)).float()
    task, head = task_named("view_7d"), head_of(Count())
    calibration = fit_calibration(task, head, [(outputs, labels)])
    assert calibration.slope == pytest.approx(2.0, abs=0.1)
    expected = head.predict(outputs, calibration)["_expected"]
    assert float(expected.sum()) == pytest.approx(float(labels.sum()), rel=1e-3)


def test_the_method_is_chosen_on_a_day_it_was_not_fitted_on() -> None:
    task, head = task_named("churn_28d"), head_of(Binary())
    truth = np.random.default_rng(3).normal(size=(2, 20_000))
    steps = np.where(truth > 0.5, 2.0, np.where(truth > -1, -0.5, -3.0))
    days = [drawn(steps[k], truth[k], k) for k in range(2)]
    assert fit_calibration(task, head, days).method == "isotonic"
    straight = [drawn(2 * truth[k], truth[k], k) for k in range(2)]
    assert fit_calibration(task, head, straight).method in ("temperature", "Platt", "beta")
    few = [(x[:300], y[:300]) for x, y in days]
    assert fit_calibration(task, head, few).method != "isotonic"


def test_isotonic_calibration_keeps_the_ranking() -> None:
    head, truth = head_of(Binary()), np.random.default_rng(4).normal(size=3000)
    outputs, labels = drawn(truth, 1.5 * truth, 4)
    calibration = isotonic(head, outputs, labels)
    logits = torch.linspace(-9, 9, 500)
    assert (calibration.of(logits).diff() > 0).all()
    assert len(calibration.knots) < 100


def mean_score(outputs: Tensor, calibration: Calibration) -> float:
    return float(torch.sigmoid(head_of(Binary()).calibrated(outputs, calibration)).mean())


@pytest.mark.parametrize("method", [platt, beta])
def test_of_few_rows_the_mean_stays_between_what_they_say_and_the_training_rate(method) -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(1.0, 0.3, 100)
    outputs, labels = drawn(truth, truth - 1.0)
    rate = float(labels.mean())
    assert rate > 0.6
    alone = method(head_of(Binary()), outputs, labels)
    assert mean_score(outputs, alone) == pytest.approx(rate, abs=0.01)
    with_prior = method(head_of(Binary()), outputs, labels, Prior(0.5, 100.0))
    assert mean_score(outputs, with_prior) == pytest.approx((rate + 0.5) / 2, abs=0.01)
    # Rows of two days of the same users are no more than one: the prior counts for twice as much.
    twice = method(head_of(Binary()), outputs, labels, Prior(0.5, 100.0, rows_per_user=2.0))
    assert mean_score(outputs, twice) == pytest.approx((rate + 2 * 0.5) / 3, abs=0.01)


def test_many_rows_say_alone_how_frequent_a_task_is() -> None:
    truth = np.random.default_rng(6).normal(1.0, 1.0, 20_000)
    outputs, labels = drawn(truth, truth - 1.0)
    calibration = fit_calibration(task_named("churn_28d"), head_of(Binary()), [(outputs, labels)],
                                  Prior(0.3))  # fmt: skip
    assert mean_score(outputs, calibration) == pytest.approx(float(labels.mean()), abs=0.003)


def test_a_slope_of_few_rows_stays_near_one() -> None:
    rng = np.random.default_rng(7)
    outputs, labels = drawn(np.zeros(120), rng.normal(0, 1, 120))
    alone = platt(head_of(Binary()), outputs, labels)
    with_prior = platt(head_of(Binary()), outputs, labels, Prior(0.5))
    assert alone.slope < 0.3 < with_prior.slope < 1


def test_rows_of_one_user_count_as_one_also_of_a_sample() -> None:
    assert rows_per_user(2.0, 1.0) == 2
    assert rows_per_user(1.0, 0.3) == pytest.approx(1)
    assert rows_per_user(2.0, 0.1) == pytest.approx(0.2 / 0.19)
