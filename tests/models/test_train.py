"""Training on data whose answer is known, and all that hangs on it: one model for the module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from mlflow.tracking import MlflowClient

from contracts.table import ContractError
from contracts.tables import NO_MODEL, USER_SCORES
from contracts.tasks import TASKS
from flows.audit import audit_scores
from models import sealed
from models.arrow import arrow_schema
from models.artifact import load_model, model_id, save_model
from models.config import TrainConfig
from models.learn import NothingToLearn, TrainSpec, choose_tasks
from models.reasons import reasons, sample
from models.score import ScoreSpec, score
from models.tracking import RunSpec
from models.train import train
from tests.models.made import DAYS, NIGHT, write_examples, write_features

CONFIG = TrainConfig(
    width=32, depth=1, n_experts=2, n_bins=8, numeric_width=2, id_buckets=64, batch_size=256,
    max_epochs=8, tower_epochs=2, learning_rate=5e-3, min_rows=50, bootstrap_samples=40,
)  # fmt: skip


def spec_of(folder: Path, files: tuple[str, ...], **given: Any) -> TrainSpec:
    made = TrainSpec(files, DAYS, NIGHT, 2, tuple(t.name for t in TASKS), CONFIG, str(folder))
    return replace(made, **given)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_examples(tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    run = RunSpec(
        f"sqlite:///{folder}/mlflow.db",
        "tests",
        (folder / "artifacts").as_uri(),
        "one",
        ({"name": "examples", "snapshot": "77", "location": "/lake"},),
        {"as_of": "x"},
    )
    return train(spec_of(folder, files, run=run))


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory) -> str:
    """The artifact with every task published, whatever the gate says of the rare ones."""
    folder = tmp_path_factory.mktemp("whole")
    save_model(replace(load_model(Path(trained["folder"]) / "model"), withheld={}), folder)
    return str(folder)


def test_the_known_answer_is_recovered_by_every_task(trained) -> None:
    tasks = trained["tasks"]
    assert set(tasks) == {t.name for t in TASKS}
    for name in ("purchase_30d", "churn_28d", "return_90d"):
        assert tasks[name]["model"]["auc"] > 0.75, name
    for name in ("ad_click_7d", "payment_fraud_30d", "sentiment_next_30d", "interests_30d"):
        assert tasks[name]["model"]["auc"] > 0.6, name
    for name in ("view_7d", "like_7d"):
        made = tasks[name]
        assert made["model"]["deviance"] < 0.6 * made["constant"]["deviance"], name
    assert tasks["spend_30d"]["model"]["spearman"] > 0.6
    assert (
        tasks["next_rating_90d"]["model"]["mae"]
        < 0.75 * tasks["next_rating_90d"]["constant"]["mae"]
    )
    assert trained["gate"]["decision"] == "promote"


def test_every_task_has_a_twin_a_constant_and_an_interval(trained) -> None:
    for name, made in trained["tasks"].items():
        assert set(made["model"]) <= set(made["twin"]) | {"auc", "spearman"}, name
        gain = made["gain_over_twin"]
        assert gain["low"] <= gain["gain"] <= gain["high"], name
        assert sum(s["rows"] for s in made["segments"].values()) == made["test_rows"], name
        assert len(made["importance"]) == 10, name


def test_what_is_shuffled_is_missed_if_it_says_something(trained) -> None:
    for name in ("churn_28d", "view_7d", "next_rating_90d"):
        found = trained["tasks"][name]["importance"]
        assert next(iter(found)) == "n_views_7d", name
        assert found["n_views_7d"] > 0.05, name
    assert (Path(trained["folder"]) / "importance.png").stat().st_size > 1000


def test_training_twice_gives_the_same_model_to_the_bit(files, tmp_path: Path) -> None:
    short = replace(CONFIG, max_epochs=2)
    ids = [
        train(spec_of(tmp_path / n, files, config=short, tasks=("purchase_30d", "spend_30d")))[
            "model_id"
        ]
        for n in ("a", "b")
    ]
    assert ids[0] == ids[1]


def test_labels_of_test_days_cannot_reach_the_model(files, trained, tmp_path: Path) -> None:
    """Every test label is turned round; the artifact stays the same, and its test fails."""
    tests = {t.name: set(trained["splits"][t.name]["test"]) for t in TASKS}
    altered = []
    for path in files:
        rows = pq.read_table(path)
        day = rows.column("as_of")[0].as_py().isoformat()
        for task in TASKS:
            if day in tests[task.name] and task.name in ("churn_28d", "return_90d"):
                place = rows.schema.get_field_index(task.label)
                turned = pc.subtract(pa.scalar(1, pa.int32()), rows.column(task.label))
                rows = rows.set_column(place, task.label, turned)
        altered.append(str(tmp_path / Path(path).name))
        pq.write_table(rows, altered[-1])
    again = train(spec_of(tmp_path / "run", tuple(altered)))
    assert again["tasks"]["churn_28d"]["model"]["auc"] < 0.3
    assert {"churn_28d", "return_90d"} <= set(again["gate"]["withheld"])
    one, other = (Path(report["folder"]) / "model" for report in (trained, again))
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    a, b = (json.loads((folder / "model.json").read_text()) for folder in (one, other))
    assert {k for k in a if a[k] != b[k]} == {"withheld"}
    assert again["model_id"] != trained["model_id"]


def test_windows_of_one_part_never_reach_into_the_next(trained) -> None:
    for task in TASKS:
        split = {
            p: [date.fromisoformat(d) for d in days]
            for p, days in trained["splits"][task.name].items()
        }
        gap = timedelta(days=task.closes_after + 2)
        assert max(split["train"]) + gap <= min(split["valid"])
        assert max(split["valid"]) + gap <= min(split["test"])
        assert max(split["test"]) + gap <= NIGHT


def test_a_task_without_room_or_labels_is_left_out_with_the_reason(files, tmp_path: Path) -> None:
    few = spec_of(tmp_path, files, as_ofs=DAYS[-8:], config=replace(CONFIG, max_epochs=1))
    few = replace(few, tasks=("purchase_7d", "return_90d"))
    skipped = choose_tasks(replace(few, as_ofs=DAYS[-4:])).skipped
    assert skipped["return_90d"] == (
        "too little history: 90 days until a label is known, and 2 for late rows, do not fit once "
        "behind an example day"
    )
    nothing = train(replace(few, as_ofs=()))
    assert nothing["model_id"] == NO_MODEL
    assert set(nothing["skipped"]) == {"purchase_7d", "return_90d"}
    assert nothing["gate"]["reasons"] == ["no task can be learnt"]


def test_a_task_with_too_few_days_is_measured_on_other_users(files, tmp_path: Path) -> None:
    told = replace(CONFIG, max_epochs=4, min_rows=40)
    spec = spec_of(
        tmp_path, files, as_ofs=DAYS[-8:], config=told, tasks=("purchase_7d", "return_90d")
    )
    report = train(spec)
    made = report["tasks"]
    assert made["purchase_7d"]["measured_on"] == "later days"
    assert made["return_90d"]["measured_on"] == "other users of the same days"
    split = report["splits"]["return_90d"]
    assert split["train"] == split["valid"] == split["test"] == [str(d) for d in DAYS[-8:-6]]
    assert made["return_90d"]["model"]["auc"] > 0.6  # the strength that is told to others, too
    model = load_model(tmp_path / "model")
    assert model.splits["return_90d"].by_user
    chosen = choose_tasks(spec)
    n = chosen.rows["return_90d"]
    assert sum(n.values()) == 300
    assert (report["rows"]["return_90d"], made["return_90d"]["test_rows"]) == (
        n["train"],
        n["test"],
    )
    with pytest.raises(NothingToLearn, match="do not fit three times"):
        choose_tasks(replace(spec, tasks=("return_90d",)), by_user=False)


def test_mlflow_has_parameters_curves_inputs_and_an_artifact_with_a_signature(trained) -> None:
    folder = Path(trained["folder"])
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    run = client.get_run(trained["run_id"])
    assert run.data.params["train.trunk"] == "mmoe"
    assert run.data.metrics["churn_28d/auc"] == trained["tasks"]["churn_28d"]["model"]["auc"]
    assert len(client.get_metric_history(trained["run_id"], "valid_loss")) == len(
        trained["history"]
    )
    assert [(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs] == [
        ("examples", "77")
    ]
    paths = {a.path for a in client.list_artifacts(trained["run_id"], "model")}
    assert paths == {"model/MLmodel", "model/model.json", "model/model.safetensors"}
    text = (folder / "artifacts" / trained["run_id"] / "artifacts/model/MLmodel").read_text()
    assert "signature" in text
    assert "python_function" not in text  # nothing that could run code
    assert {a.path for a in client.list_artifacts(trained["run_id"])} >= {
        "curves.png",
        "reliability.png",
        "report.json",
    }


def test_the_artifact_holds_no_code_and_a_changed_one_has_another_id(trained, tmp_path) -> None:
    saved = Path(trained["folder"]) / "model"
    assert sorted(p.name for p in saved.iterdir()) == ["model.json", "model.safetensors"]
    assert model_id(saved) == trained["model_id"]
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    about = json.loads((tmp_path / "model.json").read_text())
    about["encoder"]["inputs"]["numeric"][0][0] = "n_unicorns_7d"
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert model_id(tmp_path) != trained["model_id"]
    with pytest.raises(ContractError, match="with n_unicorns_7d"):
        load_model(tmp_path)
    del about["encoder"]["inputs"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(ContractError, match="by an earlier version; train it anew"):
        load_model(tmp_path)


def test_a_sealed_model_is_the_same_model_and_opens_for_nobody_else(trained, tmp_path) -> None:
    plain = load_model(Path(trained["folder"]) / "model")
    sealed.use(sealed.key_from("07" * 32))
    try:
        assert save_model(plain, tmp_path) == trained["model_id"]
        made = {p.name for p in tmp_path.iterdir()}
        assert made == {"model.json", "model.safetensors.sealed"}
        again = load_model(tmp_path).network.state_dict()
    finally:
        sealed.use(None)
    for name, weights in plain.network.state_dict().items():
        assert torch.equal(weights, again[name])
    with pytest.raises(ContractError, match="is sealed: set weights_key_file"):
        load_model(tmp_path)


def scores(model: str, tmp_path: Path, n: int = 333) -> pa.Table:
    spec = ScoreSpec(
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


def test_a_model_of_another_version_is_refused_in_words(trained, tmp_path: Path) -> None:
    whole = Path(trained["folder"]) / "model"
    about = json.loads((whole / "model.json").read_text())
    weights = (whole / "model.safetensors").read_bytes()
    for name, changed in (
        ("config", about | {"config": about["config"] | {"no_such_dial": 1}}),
        ("weights", about | {"config": about["config"] | {"width": 24}}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(changed))
        (folder / "model.safetensors").write_bytes(weights)
        with pytest.raises(ContractError, match="fitted by another version; train it anew"):
            load_model(folder)


def test_every_user_is_scored_once_in_the_contracts_columns(whole, tmp_path: Path) -> None:
    made = scores(whole, tmp_path)
    assert made.schema.equals(arrow_schema(USER_SCORES))
    assert len(set(made.column("user_key").to_pylist())) == 333
    for column in USER_SCORES.columns:
        assert made.column(column.name).null_count == 0, column.name
    assert set(made.column("retrospective").to_pylist()) == {False}
    p7, p30 = (made.column(f"score_purchase_{h}d").to_numpy() for h in (7, 30))
    assert (p7 <= p30).all()
    levels = sum(made.column(f"score_next_rating_90d_is_{k}").to_numpy() for k in range(1, 6))
    assert np.allclose(levels, 1, atol=1e-5)
    chances = made.column("score_interests_30d_probabilities").to_pylist()
    assert set(map(tuple, made.column("score_interests_30d_classes").to_pylist())) == {
        ("books", "shoes")
    }
    top = [("books", "shoes")[int(a < b)] for a, b in chances]
    assert made.column("score_interests_30d_top").to_pylist() == top
    ranks = made.column("percentile_churn_28d").to_numpy()
    assert abs(ranks.mean() - 0.5) < 1e-6
    order = np.argsort(made.column("score_churn_28d").to_numpy(), kind="stable")
    assert (np.diff(ranks[order]) >= -1e-6).all()


def test_tasks_that_are_not_fit_are_null_or_their_base_rate(trained, tmp_path: Path) -> None:
    held = {"churn_28d": "why", "interests_30d": "why", "spend_30d": "why"}
    model = replace(load_model(Path(trained["folder"]) / "model"), withheld=held)
    named = save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").withheld == held
    made, said = {}, {}
    for how in ("null", "base_rate"):
        spec = ScoreSpec(
            (write_features(tmp_path, 40),), NIGHT, str(tmp_path / "model"), "r",
            f"{tmp_path}/{how}.parquet", f"{tmp_path}/{how}", failed_tasks=how,
        )  # fmt: skip
        said[how] = score(spec)
        made[how] = pq.read_table(spec.path)
    assert {*said["null"]["tasks"], *held} == {t.name for t in TASKS}
    assert said["null"]["withheld"] == held
    assert (said["null"]["base_rates"], set(said["base_rate"]["base_rates"])) == ([], set(held))
    rates = model.base_rates
    for task in TASKS:
        null, base = (
            {c.name: t.column(c.name) for c in (*task.score_columns(), task.method_column())}
            for t in made.values()
        )
        if task.name not in held:
            assert all(null[name].equals(base[name]) for name in null)
            assert set(base[task.method].to_pylist()) == {"model"}
            continue
        assert all(column.null_count == 40 for column in null.values())
        assert base.pop(task.percentile).null_count == 40
        assert set(base[task.method].to_pylist()) == {"base rate"}
        assert all(column.null_count == 0 for column in base.values())
    base = made["base_rate"]
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
    said = score(ScoreSpec((features,), NIGHT, None, "r", path, str(tmp_path / "scratch")))
    assert (said["rows"], said["model_id"], said["tasks"]) == (40, NO_MODEL, [])
    made = pq.read_table(path)
    assert made.schema.equals(arrow_schema(USER_SCORES))
    assert made.column("user_key").equals(pq.read_table(features).column("user_key"))
    filled = {"user_key", "as_of", "model_id", "release_id", "retrospective"}
    assert {name for name in made.schema.names if made.column(name).null_count < 40} == filled
    assert set(made.column("model_id").to_pylist()) == {NO_MODEL}
    assert all(check.passed for check in audit_scores([path], [features], NIGHT, []))


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


def test_any_number_of_processes_scores_alike_and_goes_on_where_one_was_killed(
    trained, tmp_path: Path, monkeypatch
) -> None:
    from models import score as module

    n, model = 700, Path(trained["folder"]) / "model"
    features = write_features(tmp_path, n)  # row groups of 100
    monkeypatch.setattr(module, "SHARD_ROWS", 150)
    spec = ScoreSpec(
        (features,), NIGHT, str(model), "r", f"{tmp_path}/a/s.parquet", f"{tmp_path}/a"
    )
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
    monkeypatch.setattr(module, "_first_pass", lambda *told: (first_pass(*told), passed.append(0)))
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
    told = {
        "threads": 1, "processes": 2,
        "days": [{
            "files": [features], "as_of": NIGHT.isoformat(), "model": str(model), "release_id": "r",
            "path": f"{tmp_path}/b/s.parquet", "scratch": f"{tmp_path}/b", "threads": 1,
        }],
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(told))
    done = subprocess.run(
        [sys.executable, "-m", "models", "score", f"{tmp_path}/spec.json", f"{tmp_path}/report"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (two,) = json.loads((tmp_path / "report").read_text())["days"]
    assert len(two["paths"]) == 4
    assert pq.read_table(two["paths"]).equals(alone)


def test_features_of_another_day_are_refused(trained, tmp_path: Path) -> None:
    path = write_features(tmp_path, 5, NIGHT - timedelta(days=1))
    spec = ScoreSpec(
        (path,),
        NIGHT,
        str(Path(trained["folder"]) / "model"),
        "r",
        str(tmp_path / "s"),
        str(tmp_path),
    )
    with pytest.raises(ContractError, match="expected features as of 2025-12-01, found 2025-11-30"):
        score(spec)


def test_tasks_are_trained_alone_and_earlier_on_request(files, tmp_path: Path) -> None:
    told = replace(CONFIG, trunk="shared_bottom", max_epochs=3, folds=1)
    names = ("purchase_7d", "purchase_30d")
    spec = spec_of(tmp_path, files, config=told, tasks=names, single_task_twins=True)
    report = train(spec)
    assert report["tasks"]["purchase_30d"]["model"]["auc"] > 0.75
    for name in names:
        twin = report["tasks"][name]["single_task"]
        assert twin["metrics"]["auc"] > 0.55
        assert twin["low"] <= twin["gain"] <= twin["high"]
        expected = (
            "sharing helps" if twin["low"] > 0
            else "train it alone" if twin["high"] < 0 else "no difference"
        )  # fmt: skip
        assert twin["verdict"] == expected
        assert twin["gain"] == pytest.approx(
            report["tasks"][name]["model"]["auc"] - twin["metrics"]["auc"], abs=1e-6
        )
    assert (tmp_path / "sharing.png").stat().st_size > 1000
    (first,) = report["folds"]
    assert first["known_until"] == (NIGHT - timedelta(days=28)).isoformat()
    assert set(first["tasks"]) == set(names)
    assert all(0.6 < fold["tasks"]["purchase_30d"]["value"] <= 1 for fold in report["folds"])


def test_what_only_an_attribute_tells_is_learnt_by_the_model_and_its_twin_and_named(
    files, tmp_path: Path
) -> None:
    rng, paths = np.random.default_rng(3), []
    for path in files:
        rows = pq.read_table(path)
        gold = rng.random(len(rows)) < 0.5
        buys = rng.random(len(rows)) < np.where(gold, 0.9, 0.1)
        was = rows.column("label_purchase_30d")
        told = {
            "attributes": [[f"club={c}", f"plan={'gold' if g else 'free'}"] for c, g in zip(
                rng.choice(["a", "b"], len(rows)), gold, strict=True)],
            "label_purchase_30d": pc.if_else(pc.is_null(was), was, pa.array(buys.astype(np.int32))),
        }  # fmt: skip
        for name, values in told.items():
            place = rows.schema.get_field_index(name)
            field = rows.schema.field(name)
            rows = rows.set_column(place, field, pa.chunked_array([values], field.type) if
                                   isinstance(values, list) else values)  # fmt: skip
        paths.append(str(tmp_path / Path(path).name))
        pq.write_table(rows, paths[-1])
    config = replace(CONFIG, max_epochs=4)
    made = train(spec_of(tmp_path / "run", tuple(paths), config=config, tasks=("purchase_30d",)))
    found = made["tasks"]["purchase_30d"]
    assert found["model"]["auc"] > 0.85
    assert found["twin"]["auc"] > 0.85
    assert next(iter(found["importance"])) == "attributes: plan"
    model = load_model(Path(made["folder"]) / "model")
    everybody = sample(paths[-1:])
    (one,) = reasons(model, everybody.slice(0, 1), everybody, 1)
    assert one["purchase_30d"].features[0][0] == "attributes: plan"


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
    for found in every:
        for name, r in found.items():
            total = sum(by for _, by in r.features)
            assert total + r.gap == pytest.approx(r.score - r.mean_user, abs=1e-3), name
