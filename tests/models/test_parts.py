"""The model's parts, one by one."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import lognorm, nbinom, norm
from sklearn.metrics import roc_auc_score
from torch import Tensor

from contracts.kinds import (
    Binary,
    Count,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.splits import Cut, Split, split_days
from contracts.table import ContractError
from contracts.tasks import Mask, Task, task_named
from models.calibrate import beta, fit_calibration, isotonic, platt, temperature
from models.calibration import Calibration
from models.config import TrainConfig
from models.evaluate import (
    auc_of,
    bootstrap,
    constant_scores,
    main_metric,
    mean_of,
    metrics,
    rank_metric,
)
from models.gate import Comparison, Rank, decide, decide_first
from models.heads import head_of, within
from models.layout import Layout, frequent_classes, in_cuts
from models.score import percentiles

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


def test_a_regression_is_judged_by_its_squared_error() -> None:
    task = Task("net", "N.", Regression(), 30, "net_spend_minor", Mask("all"), ())
    labels, said = np.array([-4.0, 0.0, 10.0]), np.array([-2.0, 1.0, 7.0])
    found = metrics(task, labels, {"_expected": said})
    assert found["mse"] == pytest.approx(14 / 3)
    assert found["r2"] == pytest.approx(1 - 14 / 104)
    assert main_metric(task, labels, {"_expected": said})(np.array([1.0, 0, 1])) == 6.5
    flat = constant_scores(task, labels, 2)
    assert flat["_expected"].tolist() == [2.0, 2.0]


def test_the_ordinal_heads_levels_are_probabilities_in_order() -> None:
    head = head_of(Ordinal(5))
    outputs = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)) * 3
    made = head.predict(outputs, Calibration())
    levels = torch.stack([made[f"_is_{k}"] for k in range(1, 6)], dim=1)
    assert torch.allclose(levels.sum(1), torch.ones(50), atol=1e-5)
    assert (levels >= 0).all()
    higher = head.predict(outputs + torch.tensor([1.0, 0, 0, 0, 0]), Calibration())
    assert (higher["_expected"] >= made["_expected"]).all()


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
    made = head.predict(outputs, Calibration(slope=0.5, shift=1.0))
    assert list(made) == ["_is_bad", "_is_fair", "_is_good"]
    assert torch.allclose(sum(made.values()), torch.ones(50), atol=1e-6)
    assert (made["_is_good"] > head.predict(outputs, Calibration(slope=0.5))["_is_good"]).all()


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
    made = layout.counted(rows.slice(1), {task.name: Cut((D,))})
    assert made[0].tolist() == [0.0, 1.0]
    assert np.isnan(made[1]).all()
    assert np.isnan(layout.counted(rows, {task.name: Cut(())})).all()


def test_the_weighted_area_under_the_curve_is_that_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    labels, scores = (rng.random(300) < 0.3).astype(float), rng.integers(0, 20, 300) / 20
    weights = rng.integers(0, 4, 300)
    repeated = np.repeat(np.arange(300), weights)
    expected = roc_auc_score(labels[repeated], scores[repeated])
    assert auc_of(labels, scores)(weights.astype(float)) == pytest.approx(expected)
    assert np.isnan(auc_of(np.zeros(300), scores)(weights.astype(float)))


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


def drawn(truth: np.ndarray, said: np.ndarray, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Outputs that say one logit, and labels that follow another."""
    rng = np.random.default_rng(seed)
    labels = rng.random(len(truth)) < 1 / (1 + np.exp(-truth))
    return torch.tensor(said).float().unsqueeze(1), torch.tensor(labels).float()


def test_calibration_mends_a_logit_that_is_too_sure() -> None:
    truth = np.random.default_rng(1).normal(size=4000)
    outputs, labels = drawn(truth, 3 * truth + 2)
    task, head = task_named("churn_28d"), head_of(Binary())
    made = platt(head, outputs, labels)
    assert made.slope == pytest.approx(1 / 3, abs=0.05)
    assert made.shift == pytest.approx(-2 / 3, abs=0.1)
    assert fit_calibration(task, head, [(outputs[:50], labels[:50])]) == Calibration()


@pytest.mark.parametrize("method", [platt, temperature, beta, isotonic])
def test_every_method_lowers_the_loss_keeps_the_order_and_is_saved(method) -> None:
    truth = np.random.default_rng(2).normal(size=3000)
    outputs, labels = drawn(truth, 2.5 * truth)
    head = head_of(Binary())
    made = method(head, outputs, labels)
    mended = head.calibrated(outputs, made)
    assert head.loss(mended, labels).mean() < head.loss(outputs, labels).mean() - 0.05
    ordered = mended[outputs[:, 0].argsort(), 0]
    assert (ordered.diff() >= -1e-5).all()
    assert Calibration.from_json(json.loads(json.dumps(made.to_json()))) == made
    beyond = head.calibrated(torch.tensor([[-80.0], [80.0]]), made)
    assert torch.isfinite(beyond).all()


def test_a_count_is_calibrated_in_its_mean() -> None:
    rng = np.random.default_rng(4)
    log_mean = rng.normal(0.5, 1.0, 4000)
    labels = torch.tensor(rng.poisson(np.exp(log_mean))).float()
    said = 0.5 * log_mean + 0.3  # too flat
    outputs = torch.tensor(np.stack([said, np.zeros(4000)], axis=1)).float()
    task, head = task_named("view_7d"), head_of(Count())
    made = fit_calibration(task, head, [(outputs, labels)])
    assert made.slope == pytest.approx(2.0, abs=0.1)
    expected = head.predict(outputs, made)["_expected"]
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
    made = isotonic(head, outputs, labels)
    there = torch.linspace(-9, 9, 500)
    assert (made.of(there).diff() > 0).all()
    assert len(made.knots) < 100


def test_tasks_split_apart_and_a_long_one_needs_more_past() -> None:
    days = [D - timedelta(days=7 * k) for k in range(1, 20)]
    short = split_days(task_named("purchase_7d"), days, D, 2)
    assert short is not None
    assert max(short.test) == D - timedelta(days=14)  # the newest that is closed
    assert len(short.test) == len(short.valid) == 2
    assert not short.by_user
    quarter = split_days(task_named("return_90d"), days, D, 2)
    assert quarter is not None
    assert quarter.by_user  # too few days for three windows: other users stand in for later days
    assert quarter.train == quarter.valid == quarter.test
    assert max(quarter.test) + timedelta(days=92) <= D
    assert split_days(task_named("return_90d"), days[:10], D, 2) is None


def test_no_user_is_in_two_parts_of_a_task_that_is_split_by_user() -> None:
    days = (D, D + timedelta(days=14))
    rows = pa.table(
        {
            "user_key": [f"u{i}" for i in range(500)] * 2,
            "as_of": pa.array([days[0]] * 500 + [days[1]] * 500, pa.date32()),
        }
    )
    split = Split(days, days, days, by_user=True)
    users = {}
    for part in ("train", "valid", "test"):
        there = in_cuts(rows, [split.cut(part)])
        picked = rows.filter(pa.array(there)).column("user_key").to_pylist()
        users[part] = set(picked)
        assert len(picked) == 2 * len(users[part])  # with all their days
        turned = in_cuts(rows.slice(300), [split.cut(part)])  # whatever rows stand beside it
        assert (turned == there[300:]).all()
    assert set.union(*users.values()) == {f"u{i}" for i in range(500)}
    assert sum(map(len, users.values())) == 500
    assert {part: round(len(of) / 100) for part, of in users.items()} == {
        "train": 3, "valid": 1, "test": 1,
    }  # fmt: skip
    by_time = Split((D,), (D,), (D,))
    assert in_cuts(rows, [by_time.cut("test")]).sum() == 500
    assert 150 < in_cuts(rows, [by_time.cut("test", 0.4)]).sum() < 250


def test_a_champion_is_compared_on_rows_that_never_shaped_it() -> None:
    a, b, c, d = (D + timedelta(days=14 * k) for k in range(4))
    old, new = Split((a,), (b,), (c,)), Split((b,), (c,), (d,))
    assert new.is_later_than(old)
    assert not old.is_later_than(new)
    short, longer = Split((a,), (a,), (a,), True), Split((a, b), (a, b), (a, b), True)
    assert longer.is_later_than(short)  # the folds of users are always the same
    assert not longer.is_later_than(old)  # by time it learnt from all users of these days


def test_percentiles_are_mid_ranks() -> None:
    made = percentiles(np.array([3, 1, 1, 2], np.float32))
    assert made.tolist() == [0.875, 0.25, 0.25, 0.625]


def test_the_bootstrap_resamples_users_with_all_of_their_rows() -> None:
    users = np.array(["a"] * 50 + ["b"] * 50)
    values = np.r_[np.zeros(50), np.ones(50)]
    assert bootstrap(users, mean_of(values), 200, 0) == (0.0, 1.0)


def test_metrics_fit_the_kind() -> None:
    task = task_named("churn_28d")
    made = metrics(task, np.array([0.0, 1, 1, 0]), {"": np.array([0.1, 0.9, 0.8, 0.2])})
    assert made["auc"] == 1.0
    assert made["base_rate"] == 0.5
    assert "auc" not in metrics(task, np.zeros(3), {"": np.array([0.1, 0.9, 0.8])})


BETTER, WORSE = Comparison(900, 0.4, 0.5, -0.3, -0.1), Comparison(900, 0.6, 0.5, 0.1, 0.3)


LOSES = Comparison(900, 0.505, 0.5, -0.01, 0.03)
UPSIDE_DOWN, GOOD = Rank(0.445, 0.41, 0.48), Rank(0.7, 0.65, 0.75)


def test_a_first_model_is_published_with_those_tasks_that_are_fit() -> None:
    ranks = {"a": GOOD, "b": GOOD, "c": UPSIDE_DOWN, "d": Rank(0.48, 0.44, 0.52)}
    verdict = decide_first({"a": BETTER, "b": LOSES, "c": BETTER, "d": BETTER}, ranks)
    assert verdict.decision == "promote"
    assert verdict.withheld == {
        "b": "it loses to the constant: loss +1.0% (-1.0% to +3.0%)",
        "c": "it ranks users worse than chance: AUC 0.445 (0.410 to 0.480)",
    }
    assert verdict.reasons == (
        "there is no champion yet",
        "2 of 4 tasks are fit to be published",
        *(f"{name} is not published: {why}" for name, why in verdict.withheld.items()),
    )


def test_a_first_model_without_a_task_that_is_fit_is_none() -> None:
    verdict = decide_first({"a": LOSES}, {})
    assert verdict.decision == "stop"
    assert verdict.reasons[0] == "no task is fit to be published"
    assert decide_first({}, {}).decision == "stop"


def test_a_task_that_is_not_fit_is_not_published_whoever_wins() -> None:
    constant = {"a": BETTER, "b": LOSES, "c": WORSE}
    told = decide({"a": BETTER}, 0.01, 200, constant, {"a": GOOD}, ["a", "b"])
    assert told.decision == "promote"  # that b loses may be chance
    assert set(told.withheld) == {"b", "c"}
    asks = decide({"a": BETTER}, 0.01, 200, constant, {}, ["a", "c"])
    assert asks.decision == "ask"
    assert asks.reasons[1] == (
        "c would no longer be published: it loses to the constant: loss +20.0% (+10.0% to +30.0%)"
    )
    ranked = decide({"a": BETTER}, 0.01, 200, {"a": BETTER}, {"a": UPSIDE_DOWN}, ["a"])
    assert (ranked.decision, set(ranked.withheld)) == ("keep", {"a"})


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


def test_a_challenger_that_is_worse_somewhere_is_kept_out_or_asked_about() -> None:
    assert decide({"a": BETTER}, 0.01, 200).decision == "promote"
    asks = decide({"a": BETTER, "b": WORSE, "c": BETTER}, 0.01, 200)
    assert asks.decision == "ask"
    assert asks.reasons[1] == "b is worse: loss +20.0% (+10.0% to +30.0%)"
    assert decide({"b": WORSE}, 0.01, 200).decision == "keep"
    few = decide({"a": Comparison(10, 0.1, 0.5, -0.9, -0.8)}, 0.01, 200)
    assert few.decision == "keep"
    assert few.reasons[0].startswith("no task has 200 test rows")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"max_grad_norm": 0},
            "train.max_grad_norm: expected above 0, or none to turn clipping off, found 0",
        ),
        ({"dropout": 1.0}, "train.dropout: expected 0 to below 1, found 1.0"),
        ({"width": 0}, "train.width: expected 1 or more, found 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message) -> None:
    with pytest.raises(ContractError) as error:
        TrainConfig(**wrong)
    assert str(error.value) == message
