"""Training as a process: early stopping, going on after a kill, several ranks, streams."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from contracts.errors import ContractError
from contracts.spec_json import encode
from contracts.specs import TrainSpec
from contracts.splits import Cut
from contracts.train_config import TrainConfig
from models.artifact.model import save_model
from models.data import batches as data_module
from models.data.batches import Examples
from models.data.encoders import fit as fit_encoder
from models.evaluation.held_out import held_out_rows
from models.network import embedding_tables as rows_module
from models.network.network import Network
from models.training import lightning_fit as fit_module
from models.training.early_stopping import chains
from models.training.lightning_fit import RESUME, precision_of
from models.training.lightning_module import MultiTaskModule
from models.training.multi_task import fit_model
from models.training.task_choice import choose_tasks
from models.training.tower_refit import TaskEarlyStopping
from models.training.warm_start import may_start_from, start_from
from models.trees.rows import labelled_rows
from tests.models.simulated_examples import DAYS, NIGHT, write_examples

CONFIG = TrainConfig().changed(
    trunk="mmoe", width=16, depth=1, n_experts=2, id_buckets=32, batch_size=128, max_epochs=2,
    tower_epochs=2, min_rows=20, event_dropout=0.2, accelerator="cpu", checkpoint_seconds=0.0,
    n_bins=4, numeric_width=2,
)  # fmt: skip
TASKS = ("purchase_7d", "purchase_30d", "view_7d")
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_examples(tmp_path_factory.mktemp("examples"), n=80)


def spec_of(files: tuple[str, ...], folder: Path, **changed: Any) -> TrainSpec:
    return TrainSpec(files, DAYS, NIGHT, 2, TASKS, CONFIG.changed(**changed), str(folder))


def fitted(spec: TrainSpec) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    fit = fit_model(spec, choose_tasks(spec))
    return dict(fit.model.network.state_dict()), fit.history


def test_training_with_tables_by_row_learns_them(files, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rows_module, "DENSE_ROWS", 1)
    torch.manual_seed(CONFIG.seed)
    weights, history = fitted(spec_of(files, tmp_path))
    assert (weights["ids.squares"] > 0).any()
    assert (weights["events.inputs.item.squares"] > 0).any()
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]


def test_a_task_that_no_longer_gets_better_stops_early_and_the_others_train_on(
    files, tmp_path
) -> None:
    spec = spec_of(files, tmp_path)
    chosen = choose_tasks(spec)
    model = fit_model(spec, chosen).model
    module = MultiTaskModule(model.network, CONFIG, dict.fromkeys(TASKS, 1.0))
    stopping = TaskEarlyStopping(2)
    rising = {"purchase_7d": [0.9, 1.5, 1.6], "purchase_30d": [0.8, 1.4, 1.5]}
    for epoch in range(3):
        losses = dict.fromkeys(TASKS, 0.9 - 0.1 * epoch)
        losses |= {name: by_epoch[epoch] for name, by_epoch in rising.items()}
        module.note(epoch + 1, 0.5, losses)
        stopping.keep(module)
        with torch.no_grad():
            for tower in module.network.towers.values():
                tower.bias += 1.0
        stopping.stop_tasks(module)
    assert module.stopped == {"purchase_7d", "purchase_30d"}
    for name in TASKS:
        tower, kept = module.network.towers[name], stopping.towers[name]
        is_stopped = name in module.stopped
        assert torch.equal(tower.bias, kept["bias"] + (0.0 if is_stopped else 1.0)), name
        assert tower.bias.requires_grad is not is_stopped
    batch = next(iter(Examples(files, chosen.layout, chosen.train_cuts, model.encoder, 64)))
    learning = module.scaled_losses(module.network.members(batch), batch)
    assert set(learning) == set(TASKS) - module.stopped


def test_towers_are_trained_further_on_the_frozen_trunk_to_their_best(files, tmp_path) -> None:
    spec = spec_of(files, tmp_path / "none", max_epochs=2, tower_epochs=0)
    without = fit_model(spec, choose_tasks(spec))
    more = spec_of(files, tmp_path / "more", max_epochs=2, tower_epochs=4)
    towers = fit_model(more, choose_tasks(more))
    assert towers.history == without.history
    assert without.towers.keys() == towers.towers.keys()
    for name, tower in without.towers.items():  # what is kept is what was validated
        kept = without.history[tower.trunk_epoch - 1][f"valid_loss/{name}"]
        assert tower.before == pytest.approx(kept, rel=1e-5), name
    then, now = without.model.network.state_dict(), towers.model.network.state_dict()
    for name in then:
        if not name.startswith("towers."):
            assert torch.equal(then[name], now[name]), name
    assert {name for name, t in towers.towers.items() if t.after < t.before} > {"view_7d"}
    assert all(t.after <= t.before for t in without.towers.values())
    apart = [n for chain in chains(towers.model.tasks) for n in chain if len(chain) == 1]
    assert all(towers.towers[n].after <= towers.towers[n].before for n in apart)


@pytest.mark.slow
def test_a_warm_start_takes_what_fits_word_by_word(files, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, "models")
    spec = spec_of(files, tmp_path / "then", max_epochs=1, n_values=3)
    earlier = replace(spec, known_until=NIGHT - timedelta(days=120), as_ofs=DAYS[:-8])
    champion = fit_model(earlier, choose_tasks(earlier)).model
    save_model(champion, tmp_path / "champion")
    chosen = choose_tasks(spec)
    assert may_start_from(champion, chosen.splits)
    assert not may_start_from(champion, champion.splits)

    words = ("a", "b", "c", "new")
    place = champion.encoder.inputs.ids.index("country")
    vocabularies = list(champion.encoder.vocabularies)
    assert vocabularies[place] == words[:3]
    vocabularies[place] = words
    grown = replace(champion.encoder, vocabularies=tuple(vocabularies))
    torch.manual_seed(9)
    network = Network(CONFIG, chosen.layout, grown)
    before = network.ids.weight.clone()
    taken = start_from(network, chosen.layout, grown, champion)
    assert set(taken) == set(network.state_dict())
    starts = [sum(p.size for p in e.parts[:place]) for e in (grown, champion.encoder)]
    old = champion.network.ids.weight[starts[1] : starts[1] + 4]
    assert torch.equal(network.ids.weight[starts[0] : starts[0] + 4], old)
    fresh = starts[0] + 4
    assert torch.equal(network.ids.weight[fresh], before[fresh])
    after = [sum(p.size for p in e.parts[: place + 1]) for e in (grown, champion.encoder)]
    assert torch.equal(network.ids.weight[after[0] :], champion.network.ids.weight[after[1] :])
    wider = Network(CONFIG.changed(width=24), chosen.layout, grown)
    assert 0 < len(start_from(wider, chosen.layout, grown, champion)) < len(taken)

    other = replace(spec, config=spec.config.changed(seed=5))
    warm = replace(
        other, champion=str(tmp_path / "champion"), config=other.config.changed(warm_start=True)
    )
    caplog.clear()
    begun = fit_model(replace(warm, folder=str(tmp_path / "warm")), chosen)
    assert "weights are the champion's" in caplog.text
    cold = fit_model(replace(other, folder=str(tmp_path / "cold")), chosen)
    far, near = (
        (fit.model.network.trunk.experts.weight - champion.network.trunk.experts.weight)
        .abs()
        .mean()
        for fit in (cold, begun)
    )
    assert near < 0.3 * far
    save_model(cold.model, tmp_path / "champion")  # has seen tonight's days
    fit_model(replace(warm, folder=str(tmp_path / "again")), chosen)
    assert "no warm start" in caplog.text


@pytest.mark.slow
def test_a_student_is_smaller_and_says_what_its_teacher_says(files, tmp_path) -> None:
    changed = {
        "width": 32,
        "max_epochs": 4,
        "learning_rate": 5e-3,
        "average": 0.0,
        "tower_epochs": 0,
    }
    spec = spec_of(files, tmp_path / "t", **changed)
    teacher = fit_model(spec, chosen := choose_tasks(spec)).model
    gaps = []
    for soft in (0.0, 1.0):
        softened = spec_of(
            files, tmp_path / f"s{soft}", **changed, student_width=8, student_soft=soft
        )
        fit = fit_model(softened, choose_tasks(softened))
        assert fit.model.config.network.width == 8
        assert fit.model.config.network.trunk == "shared_bottom"
        assert fit.student is not None
        assert 0 < fit.student["share_of_weights"] < 1
        held = held_out_rows(files, chosen.layout, chosen.cuts("test"))
        says = [
            held.predictions_of(model, files)["purchase_30d"].outputs
            for model in (fit.model, teacher)
        ]
        gap = says[0] - says[1]
        gaps.append(float(gap.square().mean()))
    assert gaps[1] < gaps[0]


def test_a_training_that_diverges_says_so_and_what_to_try(files, tmp_path) -> None:
    spec = spec_of(
        files, tmp_path, learning_rate=1e30, max_grad_norm=None, average=0.0, max_epochs=3
    )
    with pytest.raises(ContractError) as stopped:
        fit_model(spec, choose_tasks(spec))
    assert re.fullmatch(
        r"training has diverged: the loss of (purchase_7d|purchase_30d|view_7d)"
        r"(, (purchase_30d|view_7d))* is not a finite number in epoch 1, step \d+; try a lower "
        r"learning rate \(train.optimiser.learning_rate is 1e\+30, train.optimiser.id_learning_rate 0.02\) or clip "
        r"more \(train.optimiser.max_grad_norm is none\)",
        str(stopped.value),
    )


def test_test_rows_are_held_without_their_features_and_no_more_than_asked_for(files) -> None:
    spec = spec_of(files, Path("unused"))
    chosen = choose_tasks(spec)
    n_users, n_days = 80, 2
    whole = held_out_rows(files, chosen.layout, chosen.cuts("test"))
    assert whole.tasks.keys() == {task.name for task in chosen.tasks}
    for name, rows in whole.tasks.items():
        assert len(rows.labels) == chosen.rows[name]["test"] <= n_users * n_days
        arrays = [rows.labels, rows.users, *rows.segments.values()]
        assert sum(a.nbytes for a in arrays) <= 24 * len(rows.labels)  # a row of features: 3,000
    some = held_out_rows(files, chosen.layout, chosen.cuts("test", 40))
    encoder = fit_encoder(data_module.read_batches(files, DAYS), CONFIG.inputs.id_buckets)
    trees = labelled_rows(files, chosen.layout, some.cuts, encoder)
    for task in chosen.tasks:
        labels = some.tasks[task.name].labels
        assert 20 <= len(labels) <= 60  # a share of the rows, by their hash
        assert (trees.of_task(task).labels == labels).all()  # the same rows in the same order


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> tuple[dict[str, torch.Tensor], list[dict[str, float]], int]:
    """Weights and history of a training that was never stopped, and its batches an epoch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rows_module, "DENSE_ROWS", 1)
        patched.setattr(fit_module, "CHECK_BATCHES", 1)
        folder = tmp_path_factory.mktemp("whole")
        weights, history = fitted(spec_of(files, folder))
    kept = torch.load(folder / "checkpoints" / RESUME, weights_only=True)
    return weights, history, kept["ExampleData"]["batches"] + 1


@pytest.mark.parametrize("epoch", [1, 3], ids=["while all learn", "while towers go on"])
def test_a_training_that_was_stopped_goes_on_to_the_bit(
    epoch, whole, files, tmp_path, monkeypatch, caplog
) -> None:
    caplog.set_level(logging.INFO, "models")
    monkeypatch.setattr(rows_module, "DENSE_ROWS", 1)
    monkeypatch.setattr(fit_module, "CHECK_BATCHES", 1)
    weights, history, per_epoch = whole
    seen = []

    def stop(self: Any, trainer: Any, module: Any, *rest: Any) -> None:
        seen.append(trainer.global_step)
        if len(seen) == epoch * per_epoch + 4:  # in the middle of an epoch, behind a kept state
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(fit_module.EpochLines, "on_train_batch_start", stop)
        with pytest.raises(Stopped):
            fitted(spec_of(files, tmp_path / "stopped"))
    again, resumed = fitted(spec_of(files, tmp_path / "stopped"))
    assert "going on with a training that was stopped" in caplog.text
    assert resumed == history
    assert set(again) == set(weights)
    assert [name for name in weights if not torch.equal(weights[name], again[name])] == []


def test_batches_go_on_where_they_were_streamed_or_kept(files, monkeypatch) -> None:
    spec = spec_of(files, Path("unused"))
    chosen = choose_tasks(spec)
    batches = data_module.read_batches(files, DAYS)
    encoder = fit_encoder(batches, CONFIG.inputs.id_buckets)

    def examples(**options: Any) -> Examples:
        return Examples(files, chosen.layout, chosen.train_cuts, encoder, 128, 5, **options)

    nothing = dict.fromkeys(TASKS, Cut((NIGHT,)))
    assert list(Examples(files, chosen.layout, nothing, encoder, 128)) == []
    for kept_bytes in (1 << 29, 0):
        monkeypatch.setattr(data_module, "KEPT_BYTES", kept_bytes)
        monkeypatch.setattr(data_module, "POOL_ROWS", 300)
        stream = examples()
        epochs = [[b.numeric for b in stream] for _ in range(2)]
        assert not all(
            a.shape == b.shape and torch.equal(a, b) for a, b in zip(*epochs, strict=True)
        )
        sums = [torch.cat(e).double().sum() for e in epochs]
        torch.testing.assert_close(*sums)
        for skipped in (0, 1, 5, len(epochs[1]) - 1):
            late = examples()
            late.start_at(1, skipped)
            resumed = [b.numeric for b in late]
            assert len(resumed) == len(epochs[1]) - skipped
            assert all(map(torch.equal, resumed, epochs[1][skipped:]))
        parts = [[b.numeric for b in examples(rank=r, n_ranks=3)] for r in range(3)]
        assert len({tuple(len(x) for x in part) for part in parts}) == 1
        n = sum(map(len, epochs[0]))
        assert n - 3 * len(epochs[0]) < sum(len(x) for part in parts for x in part) <= n


def test_bfloat16_learns_and_falls_back(files, tmp_path, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO, "models")
    _, history = fitted(spec_of(files, tmp_path, precision="bfloat16"))
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert precision_of(CONFIG.changed(precision="bfloat16")) == "32-true"
    assert "no bfloat16" in caplog.text


def started(spec: TrainSpec, folder: Path, **environment: str) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(encode(spec))
    words = ["-m", "models", "train", str(folder / "spec.json"), str(folder / "report.json")]
    return subprocess.Popen(
        [sys.executable, *words], cwd=REPOSITORY, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.mark.slow
def test_two_ranks_make_one_model_and_a_failing_rank_is_seen(files, tmp_path) -> None:
    spec = spec_of(files, tmp_path / "two", devices=2, max_epochs=1, tower_epochs=1)
    with started(spec, tmp_path / "two") as process:
        output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    report = json.loads((tmp_path / "two/report.json").read_text())
    assert report["history"][0]["train_loss"] > 0
    assert output.count("training 3 tasks") == 1
    alone, _ = fitted(spec_of(files, tmp_path / "one", max_epochs=1, tower_epochs=0))
    weights = load_file(tmp_path / "two/model/model.safetensors")
    assert {n: t.shape for n, t in weights.items()} == {n: t.shape for n, t in alone.items()}


@pytest.mark.slow
def test_a_rank_that_dies_is_seen(files, tmp_path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, threading\n"
        "if os.environ.get('RANK') == '1':\n"
        "    threading.Timer(9, os._exit, (3,)).start()\n"
    )
    spec = spec_of(files, tmp_path, devices=2, max_epochs=500, patience=500)
    with started(spec, tmp_path, PYTHONPATH=str(tmp_path)) as process:
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 1, output
    assert "rank 1 of 2 failed" in output
    assert not (tmp_path / "report.json").exists()


@pytest.mark.slow
def test_a_training_that_is_asked_to_end_keeps_where_it_was(files, tmp_path) -> None:
    spec = spec_of(files, tmp_path, max_epochs=500, patience=500, batch_size=16)
    with started(spec, tmp_path) as process:
        for line in process.stdout or ():
            if line.startswith("epoch   3"):
                break
        time.sleep(0.3)  # so that it is likely not to be between two epochs
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == 143, rest
    assert not (tmp_path / "report.json").exists()
    kept = torch.load(tmp_path / "checkpoints" / RESUME, weights_only=True)
    assert kept["epoch"] >= 2
    assert kept["ExampleData"]["batches"] > 0
