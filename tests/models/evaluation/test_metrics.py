"""Metrics, ranks and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from contracts.kinds import (
    Regression,
)
from contracts.tasks import Mask, Task, task_named
from models.evaluation.gate import Rank
from models.evaluation.metrics import (
    auc_of,
    bootstrap,
    constant_scores,
    main_metric,
    mean_of,
    metrics,
    rank_metric,
)
from models.score import percentiles


def test_a_regression_is_judged_by_its_squared_error() -> None:
    task = Task("net", "N.", Regression(), 30, "net_spend_minor", Mask("all"), ())
    labels, said = np.array([-4.0, 0.0, 10.0]), np.array([-2.0, 1.0, 7.0])
    values = metrics(task, labels, {"_expected": said})
    assert values["mse"] == pytest.approx(14 / 3)
    assert values["r2"] == pytest.approx(1 - 14 / 104)
    assert main_metric(task, labels, {"_expected": said})(np.array([1.0, 0, 1])) == 6.5
    flat = constant_scores(task, labels, 2)
    assert flat["_expected"].tolist() == [2.0, 2.0]


def test_the_weighted_area_under_the_curve_is_that_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    labels, scores = (rng.random(300) < 0.3).astype(float), rng.integers(0, 20, 300) / 20
    weights = rng.integers(0, 4, 300)
    repeated = np.repeat(np.arange(300), weights)
    expected = roc_auc_score(labels[repeated], scores[repeated])
    assert auc_of(labels, scores)(weights.astype(float)) == pytest.approx(expected)
    assert np.isnan(auc_of(np.zeros(300), scores)(weights.astype(float)))


def test_percentiles_are_mid_ranks() -> None:
    ranks = percentiles(np.array([3, 1, 1, 2], np.float32))
    assert ranks.tolist() == [0.875, 0.25, 0.25, 0.625]


def test_the_bootstrap_resamples_users_with_all_of_their_rows() -> None:
    users = np.array(["a"] * 50 + ["b"] * 50)
    values = np.r_[np.zeros(50), np.ones(50)]
    assert bootstrap(users, mean_of(values), 200, 0) == (0.0, 1.0)


def test_metrics_fit_the_kind() -> None:
    task = task_named("churn_28d")
    values = metrics(task, np.array([0.0, 1, 1, 0]), {"": np.array([0.1, 0.9, 0.8, 0.2])})
    assert values["auc"] == 1.0
    assert values["base_rate"] == 0.5
    assert "auc" not in metrics(task, np.zeros(3), {"": np.array([0.1, 0.9, 0.8])})


def test_an_order_is_told_of_every_kind_and_of_nothing_that_few_rows_say() -> None:
    labels, ones = np.arange(100.0) // 10, np.ones(100)
    order = rank_metric(task_named("view_7d"), labels, {"_expected": -labels})
    assert order is not None
    assert order(ones) == 0.0
    stars = np.repeat([5.0, 4.0], 50)
    order = rank_metric(
        task_named("next_rating_90d"), np.repeat([5.0, 3.0], 50), {"_expected": stars}
    )
    assert order is not None
    assert order(ones) == 1.0
    rare = np.r_[np.ones(19), np.zeros(81)]
    assert rank_metric(task_named("purchase_7d"), rare, {"": -rare}) is None
    assert not Rank(0.2, float("nan"), float("nan")).is_worse_than_chance
