"""Scores and reasons of a trained model, however its users are split."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.spec_json import encode
from contracts.specs import ScoreDay, ScoreDaysSpec
from contracts.tables import NO_MODEL, USER_SCORES
from contracts.tasks import TASKS
from flows.release.score_audits import audit_scores
from models.artifact.model import load_model, save_model
from models.data.arrow_schema import arrow_schema
from models.evaluation.explanations import reasons, sample
from models.score import score
from tests.conftest import REPOSITORY
from tests.models.simulated_examples import NIGHT, write_features


def scores(model: str, tmp_path: Path, n: int = 333) -> pa.Table:
    spec = ScoreDay(
        (write_features(tmp_path, n),),
        NIGHT,
        model,
        "r1",
        str(tmp_path / "scores.parquet"),
        str(tmp_path / "scratch"),
    )
    report = score(spec)
    assert report["rows"] == n
    return pq.read_table(spec.path)


def test_every_user_is_scored_once_in_the_contracts_columns(whole, tmp_path: Path) -> None:
    table = scores(whole, tmp_path)
    assert table.schema.equals(arrow_schema(USER_SCORES))
    assert len(set(table.column("user_key").to_pylist())) == 333
    for column in USER_SCORES.columns:
        assert table.column(column.name).null_count == 0, column.name
    assert set(table.column("retrospective").to_pylist()) == {False}
    p7, p30 = (table.column(f"score_purchase_{h}d").to_numpy() for h in (7, 30))
    assert (p7 <= p30).all()
    levels = sum(table.column(f"score_next_rating_90d_is_{k}").to_numpy() for k in range(1, 6))
    assert np.allclose(levels, 1, atol=1e-5)
    chances = table.column("score_interests_30d_probabilities").to_pylist()
    assert set(map(tuple, table.column("score_interests_30d_classes").to_pylist())) == {
        ("books", "shoes")
    }
    top = [("books", "shoes")[int(a < b)] for a, b in chances]
    assert table.column("score_interests_30d_top").to_pylist() == top
    ranks = table.column("percentile_churn_28d").to_numpy()
    assert abs(ranks.mean() - 0.5) < 1e-6
    order = np.argsort(table.column("score_churn_28d").to_numpy(), kind="stable")
    assert (np.diff(ranks[order]) >= -1e-6).all()


def test_tasks_that_are_not_fit_are_null_or_their_base_rate(trained, tmp_path: Path) -> None:
    held = {"churn_28d": "why", "interests_30d": "why", "spend_30d": "why"}
    model = replace(load_model(Path(trained["folder"]) / "model"), withheld=held)
    named = save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").withheld == held
    later = {"view_7d": "a later night found it", "churn_28d": "so it did of this"}
    tables, said = {}, {}
    for how in ("null", "base_rate"):
        spec = ScoreDay(
            (write_features(tmp_path, 40),), NIGHT, str(tmp_path / "model"), "r",
            f"{tmp_path}/{how}.parquet", f"{tmp_path}/{how}", failed_tasks=how, withheld=later,
        )  # fmt: skip
        said[how] = score(spec)
        tables[how] = pq.read_table(spec.path)
    held = later | held  # what the model itself says comes first
    assert {*said["null"]["tasks"], *held} == {t.name for t in TASKS}
    assert not {*said["null"]["tasks"]} & {*held}
    assert said["null"]["withheld"] == held
    assert (said["null"]["base_rates"], set(said["base_rate"]["base_rates"])) == ([], set(held))
    rates = model.base_rates
    for task in TASKS:
        null, base = (
            {c.name: t.column(c.name) for c in (*task.score_columns(), task.method_column())}
            for t in tables.values()
        )
        if task.name not in held:
            assert all(null[name].equals(base[name]) for name in null)
            assert set(base[task.method].to_pylist()) == {"model"}
            continue
        assert all(column.null_count == 40 for column in null.values())
        assert base.pop(task.percentile).null_count == 40
        assert set(base[task.method].to_pylist()) == {"base rate"}
        assert all(column.null_count == 0 for column in base.values())
    base = tables["base_rate"]
    assert set(base.column("score_churn_28d").to_pylist()) == {np.float32(rates["churn_28d"][""])}
    assert base.column("score_interests_30d_classes")[0].as_py() == ["books", "shoes"]
    assert base.column("score_interests_30d_probabilities")[0].as_py() == pytest.approx(
        rates["interests_30d"]["_probabilities"]
    )
    assert set(base.column("model_id").to_pylist()) == {named}

    features = [str(tmp_path / "features.parquet")]
    for how, by in (("null", []), ("base_rate", list(held))):
        checks = audit_scores(
            [f"{tmp_path}/{how}.parquet"], features, NIGHT, said[how]["tasks"], by
        )
        assert all(check.passed for check in checks), [c for c in checks if not c.passed]
    wrong = audit_scores(
        [f"{tmp_path}/base_rate.parquet"], features, NIGHT, [t.name for t in TASKS]
    )
    assert {c.check for c in wrong if not c.passed} == {
        f"{name} is whole and in range" for name in held
    }


def test_without_a_model_every_user_has_a_row_without_scores(tmp_path: Path) -> None:
    features = write_features(tmp_path, 40)
    path = str(tmp_path / "s.parquet")
    said = score(ScoreDay((features,), NIGHT, None, "r", path, str(tmp_path / "scratch")))
    assert (said["rows"], said["model_id"], said["tasks"]) == (40, NO_MODEL, [])
    table = pq.read_table(path)
    assert table.schema.equals(arrow_schema(USER_SCORES))
    assert table.column("user_key").equals(pq.read_table(features).column("user_key"))
    filled = {"user_key", "as_of", "model_id", "release_id", "retrospective"}
    assert {name for name in table.schema.names if table.column(name).null_count < 40} == filled
    assert set(table.column("model_id").to_pylist()) == {NO_MODEL}
    assert {check.passed for check in audit_scores([path], [features], NIGHT, [])} == {True}


def test_scoring_does_not_depend_on_the_batch(whole, tmp_path: Path, monkeypatch) -> None:
    at_once = scores(whole, tmp_path)
    monkeypatch.setattr("models.score.BATCH", 50)
    parts = scores(whole, tmp_path)
    for name in at_once.schema.names:
        a, b = at_once.column(name), parts.column(name)
        if pa.types.is_floating(a.type):
            assert np.allclose(a.to_numpy(), b.to_numpy(), rtol=1e-5, atol=1e-6), name
        elif pa.types.is_list(a.type) and pa.types.is_floating(a.type.value_type):
            flat = (np.concatenate(x.to_pylist()) for x in (a, b))
            assert np.allclose(*flat, rtol=1e-5, atol=1e-6), name
        else:
            assert a.equals(b), name


@pytest.mark.slow
def test_any_number_of_processes_scores_alike_and_goes_on_where_one_was_killed(
    trained, tmp_path: Path, monkeypatch
) -> None:
    from models import score as module

    n, model = 700, Path(trained["folder"]) / "model"
    features = write_features(tmp_path, n)  # row groups of 100
    monkeypatch.setattr(module, "SHARD_ROWS", 150)
    spec = ScoreDay((features,), NIGHT, str(model), "r", f"{tmp_path}/a/s.parquet", f"{tmp_path}/a")
    passed = []
    first_pass = module._first_pass

    def killed(spec: Any, model: Any, shard: Any, scratch: Any) -> None:
        if len(passed) == 2:
            raise KeyboardInterrupt
        first_pass(spec, model, shard, scratch)
        passed.append(shard.number)

    monkeypatch.setattr(module, "_first_pass", killed)
    with pytest.raises(KeyboardInterrupt):
        score(spec)
    assert not list(tmp_path.glob("a/s*.parquet"))
    passed.clear()
    monkeypatch.setattr(
        module, "_first_pass", lambda *arguments: (first_pass(*arguments), passed.append(0))
    )
    report = score(spec)
    assert len(passed) == 2  # of four shards, two were there
    assert len(report["paths"]) == 4
    assert report["rows"] == n
    alone = pq.read_table(report["paths"])
    assert sorted(alone.column("user_key").to_pylist()) == sorted(
        pq.read_table(features).column("user_key").to_pylist()
    )

    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'RANK' in os.environ:\n"
        "    import models.score\n"
        "    models.score.SHARD_ROWS = 150\n"
    )
    day = replace(spec, path=f"{tmp_path}/b/s.parquet", scratch=f"{tmp_path}/b")
    (tmp_path / "spec.json").write_text(encode(ScoreDaysSpec((day,), processes=2)))
    done = subprocess.run(
        [sys.executable, "-m", "models", "score", f"{tmp_path}/spec.json", f"{tmp_path}/report"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (two,) = json.loads((tmp_path / "report").read_text())["days"]
    assert len(two["paths"]) == 4
    assert pq.read_table(two["paths"]).equals(alone)


def test_features_of_another_day_are_refused(trained, tmp_path: Path) -> None:
    path = write_features(tmp_path, 5, NIGHT - timedelta(days=1))
    spec = ScoreDay(
        (path,),
        NIGHT,
        str(Path(trained["folder"]) / "model"),
        "r",
        str(tmp_path / "s"),
        str(tmp_path),
    )
    with pytest.raises(ContractError, match="expected features as of 2025-12-01, found 2025-11-30"):
        score(spec)


def test_reasons_name_what_a_score_was_made_of(files, trained, tmp_path: Path) -> None:
    model = load_model(Path(trained["folder"]) / "model")
    everybody = sample([write_features(tmp_path, 300)])
    views = everybody.column("n_views_7d").to_numpy()
    two = everybody.take([int(views.argmax()), int(views.argmin())])
    high, low = reasons(model, two, everybody, 3)
    # Views are the one feature that shows how strong a user is.
    assert high["churn_28d"].features[0][0] == low["churn_28d"].features[0][0] == "n_views_7d"
    assert high["churn_28d"].features[0][1] < 0 < low["churn_28d"].features[0][1]
    every = reasons(model, two, everybody, 10_000)
    for reasons_of_user in every:
        for name, r in reasons_of_user.items():
            total = sum(by for _, by in r.features)
            assert total + r.gap == pytest.approx(r.score - r.mean_user, abs=1e-3), name
