"""Audits of scores, by themselves and beside those of the release before."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.tasks import TASKS
from flows.release.audit import raise_if_failed
from flows.release.score_audits import audit_drift, audit_scores
from tests.flows.lakes import D1, scores_file


def test_scores_that_lie_elsewhere_or_lack_users_fail_the_audit(tmp_path: Path) -> None:
    def scores(name: str, n: int, shift: float) -> list[str]:
        path = tmp_path / f"{name}.parquet"
        values = [min(i / n + shift, 1.0) for i in range(n)]
        pq.write_table(pa.table({"score_churn_28d": pa.array(values, pa.float32())}), path)
        return [str(path)]

    def failed(n: int, shift: float, lost: float | None = 0.1, most: float | None = 1.0) -> list:
        audits = audit_drift(scores("b", n, shift), scores("a", 500, 0), ["churn_28d"], lost, most)
        return [(a.check, a.found) for a in audits if not a.passed]

    assert failed(500, 0.0) == []
    assert failed(451, 0.02) == []
    assert failed(440, 0.0) == [
        ("as many users as before", "440 users, 500 before, at least 450 expected")
    ]
    ((check, index),) = failed(500, 0.6)
    assert check == "churn_28d is distributed as before"
    assert index.startswith("stability index ")
    assert failed(100, 0.6, None, None) == []


def test_a_score_that_takes_the_place_of_a_base_rate_is_no_shift(tmp_path: Path) -> None:
    n = 500

    def scores(method: str | None, *values: float) -> list[str]:
        columns = {
            "score_churn_28d": pa.array([values[i % len(values)] for i in range(n)], pa.float32())
        }
        if method is not None:
            columns["method_churn_28d"] = pa.array([method] * n)
        path = tmp_path / f"{method}.parquet"
        pq.write_table(pa.table(columns), path)
        return [str(path)]

    now, was = scores("model", 0.1, 0.2, 0.7), scores("base rate", 0.4)
    assert [a.check for a in audit_drift(now, was, ["churn_28d"], 0.1, 0.1)] == [
        "as many users as before"
    ]
    before_marks = scores(None, 0.4)  # published before scores were marked: a model's
    (_, shifted) = audit_drift(now, before_marks, ["churn_28d"], 0.1, 0.1)
    assert not shifted.passed


def test_an_audit_names_each_failed_check_with_its_numbers(tmp_path: Path) -> None:
    features = tmp_path / "features.parquet"
    pq.write_table(pa.table({"user_key": ["a", "b", "c"]}), features)
    learnt = [task.name for task in TASKS if task.name != "return_90d"] + ["return_90d"]
    good = scores_file(tmp_path, D1, ["a", "b", "c"], "good")
    raise_if_failed(audit_scores(good.files, [str(features)], D1, learnt))

    bad = scores_file(
        tmp_path,
        D1,
        ["a", "a", "x"],
        "bad",
        score_churn_28d=float("nan"),
        score_purchase_7d=0.5,
        percentile_return_90d=None,
        score_interests_30d_probabilities=[0.5, 1.5],
    )
    with pytest.raises(ContractError) as error:
        raise_if_failed(audit_scores(bad.files, [str(features)], D1, learnt[:-1]))
    assert str(error.value) == "\n".join(
        [
            "user_scores fails its audit; the release before stays current:",
            "  one row per user: 3 rows, 2 users",
            "  every known user, no other: 3 known, 2 scored, 1 unknown",
            "  purchase_7d is not above purchase_30d: 3 rows above",
            "  interests_30d is whole and in range: 0 nulls, 3 rows outside, 0 rows marked otherwise",
            "  churn_28d is whole and in range: 0 nulls, 3 rows outside, 0 rows marked otherwise",
            "  return_90d is off: 3 of 6 values null, 3 rows marked otherwise",
        ]
    )
