"""Heads: likelihoods, predictions, and where they start."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import lognorm, nbinom, norm

from contracts.kinds import (
    Binary,
    Count,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.splits import Cut
from contracts.tasks import task_named
from models.data.label_layout import Layout, frequent_classes
from models.network.calibration import Calibration
from models.network.heads import head_of, within

D = date(2025, 6, 1)


def test_the_log_normal_head_is_the_papers_likelihood() -> None:
    head = head_of(ZeroInflatedLogNormal())
    outputs = torch.tensor([[0.3, 2.0, 0.1], [0.3, 2.0, 0.1]])
    sigma = 0.05 + 1.45 / (1 + np.exp(-0.1))
    p = 1 / (1 + np.exp(-0.3))
    expected = [-np.log(1 - p), -np.log(p) - lognorm.logpdf(9.0, sigma, scale=np.exp(2.0))]
    assert np.allclose(head.loss(outputs, torch.tensor([0.0, 9.0])), expected, atol=1e-5)
    mean = head.predict(outputs, Calibration())["_expected"][0]
    assert np.isclose(mean, p * np.exp(2.0 + sigma**2 / 2), rtol=1e-5)


def test_the_regression_head_is_a_normal_likelihood_in_any_unit() -> None:
    head = head_of(Regression())
    outputs = torch.tensor([[-1.5, 6.0], [0.2, -9.0]])  # a spread below half a unit is half a unit
    labels = torch.tensor([-700.0, 1.0])
    spread = np.array([np.exp(6.0), 0.5])
    mean = np.array([-1.5, 0.2]) * spread
    expected = -norm.logpdf(labels.numpy(), mean, spread)
    assert np.allclose(head.loss(outputs, labels), expected, atol=1e-4)
    assert np.allclose(head.predict(outputs, Calibration())["_expected"], mean, rtol=1e-5)
    moved = head.predict(outputs, Calibration(slope=2.0, shift=0.1))["_expected"]
    assert np.allclose(moved, 2 * mean + 0.1 * spread, rtol=1e-5)


def test_the_ordinal_heads_levels_are_probabilities_in_order() -> None:
    head = head_of(Ordinal(5))
    outputs = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)) * 3
    predictions = head.predict(outputs, Calibration())
    levels = torch.stack([predictions[f"_is_{k}"] for k in range(1, 6)], dim=1)
    assert torch.allclose(levels.sum(1), torch.ones(50), atol=1e-5)
    assert (levels >= 0).all()
    higher = head.predict(outputs + torch.tensor([1.0, 0, 0, 0, 0]), Calibration())
    assert (higher["_expected"] >= predictions["_expected"]).all()


def test_the_count_head_is_the_negative_binomial() -> None:
    head = head_of(Count())
    mean, dispersion = 2.5, 0.4
    outputs = torch.tensor([[np.log(mean), np.log(dispersion)]] * 4).float()
    labels = torch.tensor([0.0, 1.0, 4.0, 20.0])
    shape = 1 / dispersion
    expected = -nbinom.logpmf(labels.numpy(), shape, shape / (shape + mean))
    assert np.allclose(head.loss(outputs, labels), expected, atol=1e-4)
    assert torch.allclose(
        head.predict(outputs, Calibration())["_expected"], torch.tensor(mean).double()
    )


def test_the_multi_class_heads_classes_are_probabilities() -> None:
    head = head_of(MultiClass(("bad", "fair", "good")))
    outputs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    predictions = head.predict(outputs, Calibration(slope=0.5, shift=1.0))
    assert list(predictions) == ["_is_bad", "_is_fair", "_is_good"]
    assert torch.allclose(sum(predictions.values()), torch.ones(50), atol=1e-6)
    assert (
        predictions["_is_good"] > head.predict(outputs, Calibration(slope=0.5))["_is_good"]
    ).all()


def test_a_multi_label_task_learns_its_most_frequent_names() -> None:
    task = task_named("interests_30d")
    rows = pa.table(
        {
            "as_of": pa.array([D, D, D], pa.date32()),
            task.label: pa.array([["a", "b"], ["b", "rare"], None], pa.list_(pa.string())),
        }
    )
    classes = frequent_classes(task, rows.to_batches(), 0)
    assert classes == ("a", "b", "rare")
    assert frequent_classes(task, rows.to_batches(), 1) == ("b",)
    layout = Layout((task,), {task.name: ("a", "b")})
    labels = layout.counted(rows.slice(1), {task.name: Cut((D,))})
    assert labels[0].tolist() == [0.0, 1.0]
    assert np.isnan(labels[1]).all()
    assert np.isnan(layout.counted(rows, {task.name: Cut(())})).all()


KINDS = [
    Binary(),
    Count(),
    Regression(),
    ZeroInflatedLogNormal(),
    Ordinal(5),
    MultiClass(("bad", "fair", "good")),
    MultiLabel(3),
]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_a_head_starts_as_the_constant_that_fits_best(kind) -> None:
    head = head_of(kind, ("a", "b", "c"))
    rng = np.random.default_rng(0)
    labels = torch.tensor(
        {
            "binary": rng.random(500) < 0.2,
            "zero_inflated_log_normal": (rng.random(500) < 0.4) * rng.lognormal(3, 0.5, 500),
            "ordinal": rng.choice([1, 2, 3, 4, 5], 500, p=[0.1, 0.1, 0.2, 0.3, 0.3]),
            "multi_class": rng.choice([1, 2, 3], 500, p=[0.1, 0.2, 0.7]),
            "multi_label": rng.random((500, 3)) < [0.1, 0.2, 0.7],
            "regression": rng.normal(-40, 300, 500),
            "count": rng.negative_binomial(3, 0.4, 500),
        }[kind.name]
    ).float()

    def loss(bias: torch.Tensor) -> float:
        return float(head.loss(bias.unsqueeze(0).expand(500, -1), labels).mean())

    start = head.start(labels)
    for i in range(1 if isinstance(kind, Count) else len(start)):  # dispersion: by moments
        for step in (-0.3, 0.3):
            moved = start.clone()
            moved[i] += step
            assert loss(moved) >= loss(start) - 1e-4


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(-60, 60), st.floats(-60, 60))
def test_a_task_within_another_is_never_more_likely(inner: float, outer: float) -> None:
    a, b = torch.tensor([[inner]]), torch.tensor([[outer]])
    p = torch.sigmoid(within(a, b))
    assert torch.isfinite(within(a, b)).all()
    assert p <= torch.sigmoid(b) + 1e-6
    assert torch.isclose(p, torch.sigmoid(a) * torch.sigmoid(b), atol=1e-5)
