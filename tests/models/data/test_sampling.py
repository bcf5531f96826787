"""Rows that are learned from where there are too many."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from contracts.tasks import task_named
from models.data.label_layout import Layout
from models.data.sampling import ALL_ROWS, Sampling

FRAUD, VIEWS = task_named("payment_fraud_30d"), task_named("view_7d")
LAYOUT = Layout((FRAUD, VIEWS))


def rows_with_labels(n: int) -> tuple[pa.Table, np.ndarray]:
    """One day of `n` users: one in a hundred is a fraud, one in two has no fraud label."""
    table = pa.table(
        {
            "user_key": [f"{i:06d}" for i in range(n)],
            "as_of": pa.array([date(2025, 6, 1)] * n, pa.date32()),
        }
    )
    fraud = np.where(np.arange(n) % 100 == 0, 1.0, 0.0)
    fraud[1::2] = np.nan
    return table, np.stack([fraud, np.arange(n) % 7], axis=1)


def test_without_a_sample_every_row_counts_once() -> None:
    table, labels = rows_with_labels(500)
    assert (ALL_ROWS.weights(table, labels, LAYOUT) == 1).all()


def test_what_is_rare_is_kept_and_the_rest_stands_for_what_is_left_out() -> None:
    table, labels = rows_with_labels(20_000)
    weights = Sampling(0.1, (FRAUD.name,)).weights(table, labels, LAYOUT)
    is_fraud = labels[:, 0] == 1
    assert (weights[is_fraud] == 1).all()
    assert set(np.unique(weights[~is_fraud]).tolist()) == {0.0, np.float32(10.0)}
    assert abs((weights > 0).mean() - (0.01 + 0.1 * 0.99)) < 0.01
    known = ~np.isnan(labels[:, 0])
    rate = (weights * np.nan_to_num(labels[:, 0]))[known].sum() / weights[known].sum()
    assert abs(rate / 0.02 - 1) < 0.05  # the base rate is that of all rows, not of the sample
    views = (weights * labels[:, 1]).sum() / weights.sum()
    assert abs(views / labels[:, 1].mean() - 1) < 0.05


def test_who_is_chosen_does_not_depend_on_the_rows_beside_it_and_grows_with_the_share() -> None:
    table, labels = rows_with_labels(2_000)
    some = Sampling(0.2).weights(table, labels, LAYOUT) > 0
    part = Sampling(0.2).weights(table.slice(700), labels[700:], LAYOUT) > 0
    assert (part == some[700:]).all()
    more = Sampling(0.4).weights(table, labels, LAYOUT) > 0
    assert (more | ~some).all()
    assert more.sum() > some.sum()


def test_all_labelled_rows_of_a_task_that_has_few_are_kept() -> None:
    table, labels = rows_with_labels(2_000)
    weights = Sampling(0.1, few=(FRAUD.name,)).weights(table, labels, LAYOUT)
    assert (weights[::2] == 1).all()
    assert set(np.unique(weights[1::2]).tolist()) == {0.0, np.float32(10.0)}


def test_the_mean_weight_is_that_of_the_rows_of_a_task_that_are_chosen() -> None:
    table, labels = rows_with_labels(40_000)
    sampling = Sampling(0.1, (FRAUD.name,))
    weights = sampling.weights(table, labels, LAYOUT)
    known = ~np.isnan(labels[:, 0]) & (weights > 0)
    mean = sampling.mean_weight(FRAUD.name, 20_000, 400)
    assert mean == 1 / (0.02 + 0.98 * 0.1)
    assert abs(weights[known].mean() / mean - 1) < 0.05
    assert sampling.mean_weight(VIEWS.name, 40_000, 0) == 10
    assert Sampling(0.1, few=(FRAUD.name,)).mean_weight(FRAUD.name, 20_000, 400) == 1
    assert ALL_ROWS.mean_weight(FRAUD.name, 20_000, 400) == 1
