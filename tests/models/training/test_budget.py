"""Training within a budget: epochs first, then rows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from contracts.specs import TrainSpec
from contracts.train_config import TrainConfig
from models.data.batches import read_batches
from models.data.sampling import Sampling
from models.evaluation.held_out import held_out_rows
from models.train import train
from models.training.budget import Budget, budget_of
from models.training.lightning_module import MultiTaskModule
from models.training.mixture_fit import fit_members, fit_mixture
from models.training.multi_task import fit_encoder, fit_model
from models.training.task_choice import choose_tasks
from models.training.tree_fit import fit_all
from models.trees.rows import labelled_rows
from tests.models.simulated_examples import DAYS, NIGHT, write_examples

SETTINGS = TrainConfig().changed(
    minutes=10, rows_per_second=1000, max_epochs=30, tower_epochs=10
)  # 600,000 passes, of which towers take a third
TASKS = ("purchase_7d", "purchase_30d", "view_7d", "payment_fraud_30d")


def test_few_rows_are_all_learned_from_for_as_many_epochs_as_the_settings_say() -> None:
    assert budget_of(SETTINGS, 10_000, {"fraud": 50}, {"fraud": 3}) == Budget(10_000, 30, 10)


def test_more_rows_cost_epochs_first() -> None:
    assert budget_of(SETTINGS, 50_000, {}, {}) == Budget(50_000, 8, 8)
    assert budget_of(SETTINGS, 100_000, {}, {}) == Budget(100_000, 4, 4)


def test_too_many_rows_are_sampled_but_for_what_there_is_little_of() -> None:
    labels = {"fraud": 500_000, "view": 1_000_000, "rating": 2_000, "click": 700_000}
    budget = budget_of(SETTINGS, 1_000_000, labels, {"fraud": 6_000, "click": 300_000})
    assert budget == Budget(1_000_000, 4, 4, Sampling(0.092, ("fraud",), ("rating",)))
    assert budget.is_tight


def test_what_is_kept_whole_never_takes_more_than_a_tenth() -> None:
    positive = {"a": 3_000, "b": 6_000, "c": 7_000}
    labels = dict.fromkeys(positive, 500_000)
    sampling = budget_of(SETTINGS, 1_000_000, labels, positive).sampling
    assert sampling == Sampling(0.091, ("a", "b"))  # with c there would be 16,000 of 100,000


def test_without_towers_the_trunk_has_all_the_time_and_a_student_half_of_it() -> None:
    assert budget_of(SETTINGS.changed(tower_epochs=0), 50_000, {}, {}).max_epochs == 12
    assert budget_of(SETTINGS.changed(student_width=8), 50_000, {}, {}).max_epochs == 4


def test_however_short_the_time_some_batches_are_learned_from_once() -> None:
    hardly = SETTINGS.changed(minutes=1e-6, batch_size=100)
    assert budget_of(hardly, 1_000, {}, {}) == Budget(1_000, 1, 1, Sampling(0.4))
    assert budget_of(hardly, 300, {}, {}) == Budget(300, 1, 1)


def test_without_minutes_all_rows_are_learned_from() -> None:
    everything = SETTINGS.changed(minutes=None)
    assert budget_of(everything, 10**9, {}, {"fraud": 3}) == Budget(10**9, 30, 10)


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    """A training of which a sixth of the rows can be learned from."""
    folder = tmp_path_factory.mktemp("tight")
    config = TrainConfig().changed(
        width=16, depth=1, n_experts=2, id_buckets=32, batch_size=64, max_epochs=4, min_rows=10,
        tower_epochs=2, accelerator="cpu", n_bins=4, numeric_width=2, bootstrap_samples=20,
        single_task_twins="never", minutes=0.1, rows_per_second=100, twin_max_rows=100,
    )  # fmt: skip
    files = write_examples(folder, n=200)
    return TrainSpec(files, DAYS, NIGHT, 2, TASKS, config, str(folder / "model"))


def test_a_night_with_too_many_rows_says_what_it_learned_from(tight) -> None:
    report = train(tight)
    budget = report["budget"]
    assert budget["rows"] == choose_tasks(tight).budget.n_rows
    assert budget["share"] == pytest.approx(4 * 64 / budget["rows"], rel=0.11)
    assert (budget["minutes"], budget["max_epochs"]) == (0.1, 1)
    assert budget["rows_per_second"] > 0
    assert len(report["history"]) == 1 == report["config"]["optimiser"]["max_epochs"]
    again = train(replace(tight, folder=f"{tight.folder}-again"))
    assert again["model_id"] == report["model_id"]  # no clock is asked


def test_trees_learn_from_a_sample_by_the_same_hash_with_weights(tight) -> None:
    chosen = choose_tasks(tight)
    encoder = fit_encoder(tight, chosen)
    samplings = {task.name: chosen.sampling_of(task, 100) for task in chosen.tasks}
    rows = labelled_rows(tight.files, chosen.layout, chosen.train_cuts, encoder, samplings)
    read = sum(b.num_rows for b in read_batches(tight.files, DAYS))
    assert len(rows.inputs) < read / 2
    for task in chosen.tasks:
        n, of_task = chosen.rows[task.name]["train"], rows.of_task(task)
        assert n > 100
        assert of_task.weights is not None
        assert abs(of_task.weights.sum() / n - 1) < 0.35, task.name
    trees = fit_all(chosen, tight.files, encoder, tight.config)
    assert set(trees) == set(rows.weights)


def test_members_predict_in_one_pass_what_each_predicts_alone(tight) -> None:
    chosen = choose_tasks(tight)
    fitted, trees = fit_members(replace(tight, folder=f"{tight.folder}-members"), chosen)
    mixture = fit_mixture(fitted.model, trees, tight.files, chosen)
    held_out = held_out_rows(tight.files, chosen.layout, chosen.cuts("test"))
    models = [mixture.model, mixture.network, mixture.twin]
    for model, together in zip(
        models, held_out.predictions_of_all(models, tight.files), strict=True
    ):
        for name, alone in held_out.predictions_of(model, tight.files).items():
            assert torch.equal(alone.outputs, together[name].outputs), name
            for suffix, scores in alone.scores.items():
                assert (scores == together[name].scores[suffix]).all(), name


def test_batches_with_few_labels_of_a_task_say_no_more_of_what_is_kept_whole(
    tight, monkeypatch
) -> None:
    """A loss that is the label itself: its mean over small batches of a sample is the base rate."""
    (fraud,) = (task for task in choose_tasks(tight).tasks if task.name == "payment_fraud_30d")
    network = fit_model(replace(tight, folder=f"{tight.folder}-loss"), choose_tasks(tight)).model
    n, rate, share = 60_000, 0.02, 0.05
    positive = np.random.default_rng(3).random(n) < rate
    chosen = np.random.default_rng(4).random(n) < share
    weights = np.where(positive, 1.0, chosen / share)
    kept = weights > 0
    sampling = Sampling(share, (fraud.name,))
    mean_weight = sampling.mean_weight(fraud.name, n, int(positive.sum()))
    assert mean_weight == pytest.approx(weights[kept].mean(), rel=0.05)
    module = MultiTaskModule(
        network.network, tight.config, {fraud.name: 1.0}, None, {fraud.name: mean_weight}
    )
    monkeypatch.setattr(network.network.heads[fraud.name], "loss", lambda _, known: known)
    place = network.layout.slices[fraud.name].start
    losses = []
    for rows in np.array_split(np.flatnonzero(kept), kept.sum() // 4):
        labels = torch.full((len(rows), network.layout.width), float("nan"))
        labels[:, place] = torch.from_numpy(positive[rows]).float()
        batch = SimpleNamespace(labels=labels, weights=torch.from_numpy(weights[rows]).float())
        outputs = {fraud.name: torch.zeros(len(rows), 1)}
        monkeypatch.setattr(module, "tasks", (fraud,))
        losses.append(float(module.scaled_losses(outputs, batch)[fraud.name]))
    assert np.mean(losses) == pytest.approx(positive.mean(), rel=0.1)  # by batch: 0.12
