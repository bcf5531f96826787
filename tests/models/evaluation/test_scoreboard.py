"""Scores of a day beside its labels, compared with the same by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import mean_tweedie_deviance, roc_auc_score

from contracts.specs import ScoreboardDay, ScoreboardSpec
from contracts.tasks import task_named
from models.evaluation.scoreboard import compare_days

DAY, OTHER = date(2025, 3, 1), date(2025, 3, 2)
N = 400
BUYS, SPEND, LIKES = "purchase_7d", "spend_30d", "interests_30d"


@pytest.fixture
def compared_day(tmp_path: Path) -> tuple[ScoreboardDay, dict[str, Any]]:
    """Users in another order in each file, some without a label, and another day beside."""
    rng = np.random.default_rng(5)
    score = rng.random(N)
    label = np.where(rng.random(N) < 0.1, np.nan, rng.random(N) < score)
    amount = np.where(rng.random(N) < score, rng.lognormal(6, 1, N).round(), 0)
    first = rng.integers(0, 90, N)
    likes = [["a"] * bool(rng.random() < 0.5) + ["b"] * bool(rng.random() < 0.2) for _ in range(N)]
    columns = {
        "scores": {
            "retrospective": [False] * N,
            "model_id": ["m"] * N,
            "release_id": ["r"] * N,
            f"score_{BUYS}": score,
            f"percentile_{BUYS}": score,
            f"score_{SPEND}_probability": score,
            f"score_{SPEND}_expected": score * 400,
            f"percentile_{SPEND}": score,
            f"score_{LIKES}_classes": [["a", "b"]] * N,
            f"score_{LIKES}_probabilities": [[float(s), 0.2] for s in score],
            f"score_{LIKES}_top": ["a"] * N,
            f"percentile_{LIKES}": score,
        },
        "labels": {
            f"label_{BUYS}": [None if np.isnan(x) else int(x) for x in label],
            f"label_{SPEND}": amount.astype(int),
            f"label_{LIKES}": likes,
        },
        "features": {
            "days_since_first_seen": first,
            "days_since_last_seen": rng.integers(0, 60, N),
        },
    }
    files = {}
    for name, values in columns.items():
        order = rng.permutation(N)
        rows = {
            "user_key": [f"u{i}" for i in order],
            "as_of": [DAY] * N,
            **{column: [values[column][i] for i in order] for column in values},
        }
        table = pa.table(rows)
        beside = table.set_column(1, "as_of", pa.array([OTHER] * N, pa.date32()))
        pq.write_table(pa.concat_tables([beside, table]), tmp_path / f"{name}.parquet")
        files[name] = (str(tmp_path / f"{name}.parquet"),)
    return ScoreboardDay(DAY, **files, tasks=(BUYS, SPEND, LIKES)), columns


def test_each_task_and_segment_is_what_one_gets_by_hand(compared_day) -> None:
    day, truth = compared_day
    (rows,) = compare_days(ScoreboardSpec((day,)))["days"]
    of = {(row["task"], row["segment"]): row for row in rows}
    scores, labels = truth["scores"], truth["labels"]
    known = np.array([x is not None for x in labels[f"label_{BUYS}"]])
    label = np.array([x for x in labels[f"label_{BUYS}"] if x is not None])
    score = scores[f"score_{BUYS}"]
    new = truth["features"]["days_since_first_seen"] <= 30
    buys = of[BUYS, "all"]
    assert buys["n_users"] == known.sum()
    assert buys["value"] == pytest.approx(roc_auc_score(label, score[known]))
    assert buys["mean_predicted"] == pytest.approx(score[known].mean())
    assert buys["mean_observed"] == pytest.approx(label.mean())
    assert buys["standard_error"] == pytest.approx(
        (score[known] - label).std() / known.sum() ** 0.5
    )
    assert 0 <= buys["calibration_error"] < 0.2
    assert of[BUYS, "new"]["value"] == pytest.approx(
        roc_auc_score(label[new[known]], score[known & new])
    )
    amount, expected = labels[f"label_{SPEND}"], scores[f"score_{SPEND}_expected"]
    assert of[SPEND, "all"]["value"] == pytest.approx(
        mean_tweedie_deviance(amount, expected, power=1.5)
    )
    assert of[SPEND, "all"]["calibration_error"] is None
    is_a = [("a" in x) for x in labels[f"label_{LIKES}"]]
    is_b = [("b" in x) for x in labels[f"label_{LIKES}"]]
    assert of[LIKES, "all"]["value"] == pytest.approx(
        (roc_auc_score(is_a, score) + 0.5) / 2  # b has the same chance for all
    )
    assert of[LIKES, "all"]["mean_observed"] == pytest.approx((sum(is_a) + sum(is_b)) / N)
    assert {row["model_id"] for row in rows} == {"m"}


def test_a_model_that_saw_the_future_is_no_forecast(compared_day) -> None:
    day, _ = compared_day
    (path,) = day.scores
    table = pq.read_table(path)
    at = table.schema.get_field_index("retrospective")
    pq.write_table(table.set_column(at, "retrospective", pa.array([True] * len(table))), path)
    assert compare_days(ScoreboardSpec((day,)))["days"] == [[]]


def test_classes_have_no_mean_and_few_users_make_no_row(compared_day) -> None:
    from models.evaluation.scoreboard import compared

    task = task_named("sentiment_next_30d")
    chances = {f"_is_{name}": np.array([0.2, 0.3, 0.5, 0.6]) for name in task.kind.classes}
    row = compared(task, np.array([1.0, 2.0, 3.0, 3.0]), chances)
    assert row["mean_predicted"] is None
    assert row["metric"] == "auc"
