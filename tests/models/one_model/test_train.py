"""Training on data whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from contracts.tables import NO_MODEL
from contracts.tasks import TASKS
from models.artifact.model import load_model
from models.evaluation.explanations import reasons, sample
from models.train import train
from models.training.task_choice import NoTrainableTask, choose_tasks
from tests.models.one_model.conftest import CONFIG, spec_of
from tests.models.simulated_examples import DAYS, NIGHT

ARTIFACT_FILES = ("MLmodel", "model.json", "model.safetensors", "trees.zip")


def test_the_known_answer_is_recovered_by_every_task(trained) -> None:
    tasks = trained["tasks"]
    assert set(tasks) == {t.name for t in TASKS}
    for name in ("purchase_30d", "churn_28d", "return_90d"):
        assert tasks[name]["model"]["auc"] > 0.75, name
    for name in ("ad_click_7d", "payment_fraud_30d", "sentiment_next_30d", "interests_30d"):
        assert tasks[name]["model"]["auc"] > 0.6, name
    for name in ("view_7d", "like_7d"):
        measured = tasks[name]
        assert measured["model"]["deviance"] < 0.6 * measured["constant"]["deviance"], name
    assert tasks["spend_30d"]["model"]["spearman"] > 0.6
    assert (
        tasks["next_rating_90d"]["model"]["mae"]
        < 0.75 * tasks["next_rating_90d"]["constant"]["mae"]
    )
    assert trained["gate"]["decision"] == "promote"


def test_every_task_has_a_twin_a_constant_and_an_interval(trained) -> None:
    assert len(trained["tasks"]) == len(TASKS)
    for name, measured in trained["tasks"].items():
        assert set(measured["model"]) <= set(measured["twin"]) | {"auc", "spearman"}, name
        gain = measured["gain_over_twin"]
        assert gain["low"] <= gain["gain"] <= gain["high"], name
        assert sum(s["rows"] for s in measured["segments"].values()) == measured["test_rows"], name
        assert len(measured["importance"]) == 10, name


def test_each_task_is_scored_by_a_mixture_that_is_no_worse_than_its_worse_member(trained) -> None:
    """And by more than half of the tasks that is better than the better one, or close to it."""
    close = 0
    for name, measured in trained["tasks"].items():
        shares, main = measured["network_shares"], measured["main"]
        assert all(0 <= share <= 1 for share in shares), name
        model, *members = (measured[who][main] for who in ("model", "network", "twin"))
        constant = measured["constant"].get(main, 0.5)
        gains = [(value - constant) / (max(members, key=lambda m: abs(m - constant)) - constant)
                 for value in (model, *members)]  # fmt: skip
        assert gains[0] > min(gains[1:]) - 0.02, name
        close += gains[0] > 0.97
    assert close > len(trained["tasks"]) / 2


@pytest.mark.parametrize(("mixture", "share"), [("network", 1.0), ("twin", 0.0)])
def test_either_member_may_score_alone(files, tmp_path: Path, mixture: str, share: float) -> None:
    config = CONFIG.changed(max_epochs=1, tower_epochs=0, mixture=mixture)
    measured = train(spec_of(tmp_path, files, config=config, tasks=("purchase_30d",)))
    task = measured["tasks"]["purchase_30d"]
    assert task["network_shares"] == [share]
    member = "network" if mixture == "network" else "twin"
    assert task["model"]["auc"] == pytest.approx(task[member]["auc"], abs=1e-3)
    assert task["network"]["auc"] != task["twin"]["auc"]
    assert (tmp_path / "model/trees.zip").exists() is (mixture == "twin")
    assert load_model(tmp_path / "model").config.mixture == mixture


def test_what_is_shuffled_is_missed_if_it_says_something(trained) -> None:
    for name in ("churn_28d", "view_7d", "next_rating_90d"):
        importance = trained["tasks"][name]["importance"]
        assert next(iter(importance)) == "n_views_7d", name
        assert importance["n_views_7d"] > 0.05, name
    assert (Path(trained["folder"]) / "importance.png").stat().st_size > 1000


@pytest.mark.slow  # that labels of test days change no weight shows it as well
def test_training_twice_gives_the_same_model_to_the_bit_whatever_the_champion_is(
    files, tmp_path: Path
) -> None:
    short, tasks = CONFIG.changed(max_epochs=2), ("purchase_30d", "spend_30d")
    gone = str(tmp_path / "gone")
    alone, beside = (
        train(spec_of(tmp_path / n, files, config=short, tasks=tasks, champion=champion))
        for n, champion in (("a", None), ("b", gone))
    )
    assert alone["model_id"] == beside["model_id"]
    assert alone["gate"]["reasons"][0] == "there was no champion to compare with"
    assert "champion_error" not in alone
    # The gate says why the two were not compared, and the night warns of it.
    why = beside["champion_error"]
    assert why.startswith(f"the champion could not be compared with: {gone} holds no model: ")
    assert beside["gate"]["reasons"] == [why, *alone["gate"]["reasons"][1:]]


@pytest.mark.slow
def test_labels_of_test_days_cannot_reach_the_model(files, trained, whole, tmp_path: Path) -> None:
    """Every test label is turned round; the artifact stays the same, and its test fails, as that
    of the champion does."""
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
    known = {"view_7d": "an earlier night found it"}
    again = train(
        spec_of(tmp_path / "run", tuple(altered), champion=whole, champion_withheld=known)
    )
    assert again["tasks"]["churn_28d"]["model"]["auc"] < 0.3
    assert {"churn_28d", "return_90d"} <= set(again["gate"]["withheld"])
    withheld = again["gate"]["champion_withheld"]  # the champion is judged on the same days
    assert {"churn_28d", "return_90d"} <= set(withheld)
    assert withheld["churn_28d"] == again["gate"]["withheld"]["churn_28d"]  # it is the same network
    assert "view_7d" not in {*withheld, *again["gate"]["comparisons"]}
    assert set(again["gate"]["comparisons"]) == set(trained["tasks"]) - {"view_7d"}
    assert (
        f"the champion's churn_28d is not published any more: {withheld['churn_28d']}"
        in (again["gate"]["reasons"])
    )
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
    few = spec_of(tmp_path, files, as_ofs=DAYS[-8:], config=CONFIG.changed(max_epochs=1))
    few = replace(few, tasks=("purchase_7d", "return_90d"))
    skipped = choose_tasks(replace(few, as_ofs=DAYS[-4:])).skipped
    assert skipped["return_90d"] == (
        "too little history: 90 days until a label is known, and 2 for late rows, do not fit once "
        "behind an example day"
    )
    nothing = train(replace(few, as_ofs=()))
    assert nothing["model_id"] == NO_MODEL
    assert set(nothing["skipped"]) == {"purchase_7d", "return_90d"}
    assert nothing["gate"]["reasons"] == ["no task can be trained"]


def test_a_task_is_split_by_the_days_that_have_history_of_it(files, tmp_path: Path) -> None:
    """Logs of something else that reach further back leave no empty days to learn from."""
    known = {"purchase_7d": DAYS[-2], "purchase_30d": DAYS[-12]}
    spec = spec_of(
        tmp_path, files, tasks=("purchase_7d", "purchase_30d", "churn_28d"), first_as_of=known
    )
    splits = choose_tasks(spec).splits
    assert (splits["purchase_7d"].train, splits["purchase_7d"].by_user) == (DAYS[-2:], True)
    assert splits["purchase_30d"].train[0] == DAYS[-12]
    assert not splits["purchase_30d"].by_user
    assert splits["churn_28d"].train[0] == DAYS[0]


def test_a_task_with_too_few_days_is_measured_on_other_users(files, tmp_path: Path) -> None:
    config = CONFIG.changed(max_epochs=4, min_rows=40)
    spec = spec_of(
        tmp_path, files, as_ofs=DAYS[-8:], config=config, tasks=("purchase_7d", "return_90d")
    )
    report = train(spec)
    measured = report["tasks"]
    assert measured["purchase_7d"]["measured_on"] == "later days"
    assert measured["return_90d"]["measured_on"] == "other users of the same days"
    split = report["splits"]["return_90d"]
    assert split["train"] == split["valid"] == split["test"] == [str(d) for d in DAYS[-8:-6]]
    assert measured["return_90d"]["model"]["auc"] > 0.6  # the strength that is told to others, too
    model = load_model(tmp_path / "model")
    assert model.splits["return_90d"].by_user
    chosen = choose_tasks(spec)
    n = chosen.rows["return_90d"]
    assert sum(n.values()) == 300
    assert (report["rows"]["return_90d"], measured["return_90d"]["test_rows"]) == (
        n["train"],
        n["test"],
    )
    with pytest.raises(NoTrainableTask, match="do not fit three times"):
        choose_tasks(replace(spec, tasks=("return_90d",)), by_user=False)


def test_mlflow_has_parameters_curves_inputs_and_an_artifact_with_a_signature(trained) -> None:
    folder = Path(trained["folder"])
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    run = client.get_run(trained["run_id"])
    assert run.data.params["train.network.trunk"] == "mmoe"
    assert run.data.metrics["churn_28d/auc"] == trained["tasks"]["churn_28d"]["model"]["auc"]
    assert len(client.get_metric_history(trained["run_id"], "valid_loss")) == len(
        trained["history"]
    )
    assert [(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs] == [
        ("examples", "77")
    ]
    paths = {a.path for a in client.list_artifacts(trained["run_id"], "model")}
    assert paths == {f"model/{name}" for name in ARTIFACT_FILES}
    text = (folder / "artifacts" / trained["run_id"] / "artifacts/model/MLmodel").read_text()
    assert "signature" in text
    assert "python_function" not in text  # nothing that could run code
    assert {a.path for a in client.list_artifacts(trained["run_id"])} >= {
        "curves.png",
        "reliability.png",
        "report.json",
    }


@pytest.mark.slow
def test_tasks_are_trained_alone_and_earlier_on_request(files, tmp_path: Path) -> None:
    config = CONFIG.changed(trunk="shared_bottom", max_epochs=3, folds=1)
    names = ("purchase_7d", "purchase_30d")
    spec = spec_of(tmp_path, files, config=config, tasks=names, single_task_twins=True)
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
            report["tasks"][name]["network"]["auc"] - twin["metrics"]["auc"], abs=1e-6
        )
    assert (tmp_path / "sharing.png").stat().st_size > 1000
    (first,) = report["folds"]
    assert first["known_until"] == (NIGHT - timedelta(days=28)).isoformat()
    assert set(first["tasks"]) == set(names)
    assert all(0.6 < fold["tasks"]["purchase_30d"]["value"] <= 1 for fold in report["folds"])


def test_what_only_an_attribute_tells_is_learned_by_the_model_and_its_twin_and_named(
    files, tmp_path: Path
) -> None:
    rng, paths = np.random.default_rng(3), []
    for path in files:
        rows = pq.read_table(path)
        gold = rng.random(len(rows)) < 0.5
        buys = rng.random(len(rows)) < np.where(gold, 0.9, 0.1)
        was = rows.column("label_purchase_30d")
        added = {
            "attributes": [[f"club={c}", f"plan={'gold' if g else 'free'}"] for c, g in zip(
                rng.choice(["a", "b"], len(rows)), gold, strict=True)],
            "label_purchase_30d": pc.if_else(pc.is_null(was), was, pa.array(buys.astype(np.int32))),
        }  # fmt: skip
        for name, values in added.items():
            place = rows.schema.get_field_index(name)
            field = rows.schema.field(name)
            rows = rows.set_column(place, field, pa.chunked_array([values], field.type) if
                                   isinstance(values, list) else values)  # fmt: skip
        paths.append(str(tmp_path / Path(path).name))
        pq.write_table(rows, paths[-1])
    config = CONFIG.changed(max_epochs=4)
    report = train(spec_of(tmp_path / "run", tuple(paths), config=config, tasks=("purchase_30d",)))
    measured = report["tasks"]["purchase_30d"]
    # without it, half; at best 0.9
    assert measured["model"]["auc"] > 0.8
    assert measured["twin"]["auc"] > 0.8
    assert next(iter(measured["importance"])) == "attributes: plan"
    model = load_model(Path(report["folder"]) / "model")
    everybody = sample(paths[-1:])
    (one,) = reasons(model, everybody.slice(0, 1), everybody, 1)
    assert one["purchase_30d"].features[0][0] == "attributes: plan"
