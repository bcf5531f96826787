"""What `make bench-quality` says of the seeds of a set."""

from __future__ import annotations

from datetime import date

import pytest

from tests.bench.census import LEARN, LEFT_OUT, PARTS, TEST, VALID_PARTS, over_peer
from tests.bench.homes import HOMES
from tests.bench.members import lines_of, readable, settings_of, summary_of


def views(mixture: float, low: float, high: float) -> dict[str, object]:
    """A count, of which less deviance is better."""
    return {"metric": "deviance", "test_rows": 100, "network": 2.2, "twin": 2.0, "constant": 4.0,
            "mixture": mixture, "gain": 2.0 - mixture, "low": low, "high": high,
            "network_shares": (0.4,), "cpu_seconds": 10.0}  # fmt: skip


def churn(mixture: float, low: float, high: float) -> dict[str, object]:
    return {"metric": "auc", "test_rows": 50, "network": 0.6, "twin": 0.7, "constant": 0.5,
            "mixture": mixture, "gain": mixture - 0.7, "low": low, "high": high, "ece": 0.02,
            "network_shares": (0.0,), "cpu_seconds": 10.0}  # fmt: skip


SEEDS = [
    {"view_7d": views(1.5, 0.25, 0.75), "churn_28d": churn(0.65, -0.25, -0.125)},
    {"view_7d": views(1.0, 0.5, 1.25), "churn_28d": churn(0.55, -0.75, 0.0)},
]


def test_a_task_has_means_over_seeds_and_its_share_of_what_the_twin_gains() -> None:
    view, churned = lines_of("demo", SEEDS)
    assert view == {
        "data": "demo", "task": "view_7d", "metric": "deviance", "test_rows": 100, "network": 2.2,
        "twin": 2.0, "constant": 4.0, "mixture": 1.25, "low": 0.375, "high": 1.0,
        "cpu_seconds": 10.0, "share": pytest.approx((1.25 + 1.5) / 2), "seeds": 2,
        "network_shares": [0.4], "mixture_by_seed": [1.5, 1.0],
    }  # fmt: skip
    assert churned["share"] == pytest.approx((0.75 + 0.25) / 2)
    assert churned["ece"] == 0.02


def test_a_set_names_tasks_that_differ_from_the_twin_and_bounds_each_share() -> None:
    lines = lines_of("demo", SEEDS)
    lines[0]["share"] = 9.0  # the twin gains next to nothing
    assert summary_of("demo", lines, seeds=2) == {
        "data": "demo", "tasks": 2, "mean_share": pytest.approx((1.5 + 0.5) / 2),
        "median_share": pytest.approx(4.75), "behind": ["churn_28d"], "ahead": ["view_7d"],
        "cpu_seconds": 10.0, "seeds": 2,
    }  # fmt: skip


def test_the_table_at_the_end_has_a_row_per_task() -> None:
    assert readable(lines_of("demo", SEEDS)).splitlines() == [
        "| data | task      | metric   | network | twin | mixture | constant | over the twin  | share |",
        "| ---- | --------- | -------- | ------- | ---- | ------- | -------- | -------------- | ----- |",
        "| demo | view_7d   | deviance | 2.2     | 2    | 1.25    | 4        | +0.38 to +1    | 1.38  |",
        "| demo | churn_28d | auc      | 0.6     | 0.7  | 0.6     | 0.5      | -0.5 to -0.062 | 0.50  |",
    ]  # fmt: skip


def test_settings_have_the_types_of_their_defaults() -> None:
    assert settings_of(["width=64", "wide=false", "trunk=ple", "dropout=0.1"]) == {
        "width": 64, "wide": False, "trunk": "ple", "dropout": 0.1,
    }  # fmt: skip


def test_the_nights_are_those_that_results_are_named_by() -> None:
    assert {name: (home.mapping, home.as_of) for name, home in HOMES.items()} == {
        "market": ("market", date(2025, 11, 27)),
        "other_market": ("market", date(2025, 11, 27)),
        "online_retail": ("online_retail", date(2011, 11, 1)),
        "ciao": ("ciao", date(2010, 7, 1)),
    }


def test_census_is_chosen_by_without_the_rows_that_it_is_tested_on() -> None:
    sixth = PARTS.index(TEST)
    assert VALID_PARTS[sixth] is LEFT_OUT
    assert [PARTS.count(LEARN), VALID_PARTS.count(LEARN)] == [4, 3]


def test_the_gain_over_the_peer_is_bounded_where_there_are_several_splits() -> None:
    assert over_peer([0.9], [0.8]) == [pytest.approx(0.1)]
    mean, low, high = over_peer([0.75, 1.0], [0.5, 0.5])
    # Student's t of one degree of freedom: 12.706 standard errors of 0.125 either way
    assert (mean, low, high) == (0.375, pytest.approx(0.375 - 1.588, abs=1e-3),
                                 pytest.approx(0.375 + 1.588, abs=1e-3))  # fmt: skip
