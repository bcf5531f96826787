"""Training within a budget: epochs first, then rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from contracts.specs import TrainSpec
from contracts.train_config import TrainConfig
from models.data.batches import read_batches
from models.data.sampling import ALL_ROWS, Sampling
from models.evaluation.held_out import held_out_rows
from models.train import train
from models.training.budget import Budget, budget_of
from models.training.mixture_fit import fit_members, fit_mixture
from models.training.multi_task import fit_encoder
from models.training.task_choice import choose_tasks
from models.training.tree_fit import fit_all
from models.trees.rows import labelled_rows
from tests.models.simulated_examples import DAYS, NIGHT, write_examples

SETTINGS = TrainConfig().changed(
    minutes=10, rows_per_second=1000, max_epochs=30, tower_epochs=10
)  # 600,000 passes, of which towers take a third
TASKS = ("purchase_7d", "purchase_30d", "view_7d", "payment_fraud_30d")


def test_few_rows_are_all_learned_from_for_as_many_epochs_as_the_settings_say() -> None:
    assert budget_of(SETTINGS, 10_000, {"fraud": 3}) == Budget(10_000, 30, 10, ALL_ROWS)


def test_more_rows_cost_epochs_first() -> None:
    assert budget_of(SETTINGS, 50_000, {"fraud": 3}) == Budget(50_000, 8, 8, ALL_ROWS)
    assert budget_of(SETTINGS, 100_000, {"fraud": 3}) == Budget(100_000, 4, 4, ALL_ROWS)


def test_too_many_rows_are_sampled_but_for_what_is_rare() -> None:
    budget = budget_of(SETTINGS, 1_000_000, {"fraud": 9_999, "click": 300_000})
    assert budget == Budget(1_000_000, 4, 4, Sampling(0.1, ("fraud",)))
    assert budget.is_tight


def test_without_towers_the_trunk_has_all_the_time() -> None:
    assert budget_of(SETTINGS.changed(tower_epochs=0), 50_000, {}).max_epochs == 12


def test_single_task_twins_share_the_minutes() -> None:
    assert budget_of(SETTINGS, 100_000, {}, parts=2).sampling.share == pytest.approx(0.5)


def test_without_minutes_all_rows_are_learned_from() -> None:
    everything = SETTINGS.changed(minutes=None)
    assert budget_of(everything, 10**9, {"fraud": 3}) == Budget(10**9, 30, 10, ALL_ROWS)


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
    assert budget["share"] == pytest.approx(0.1 * 60 * 100 / (4 * 1.5) / budget["rows"])
    assert (budget["minutes"], budget["max_epochs"]) == (0.1, 4)
    assert budget["rows_per_second"] > 0
    assert len(report["history"]) <= 4
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
