"""A kind that no task of the contracts has, trained all the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from contracts.inputs import Inputs
from contracts.kinds import Regression
from contracts.specs import TrainSpec
from contracts.splits import Split
from contracts.tasks import Mask, Task
from contracts.train_config import TrainConfig
from models.data.label_layout import Layout
from models.evaluation.held_out import as_arrays
from models.evaluation.metrics import metrics
from models.network.heads import head_of
from models.training.multi_task import fit_model
from models.training.task_choice import Chosen
from models.training.tree_fit import fit_trees, scores_of
from models.trees.rows import Rows
from tests.models.simulated_examples import DAYS, NIGHT


def test_a_regression_recovers_a_signed_amount(tmp_path) -> None:
    """Its truth is -20,000 + 30,000 x, give or take."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2400)
    y = np.round(-20_000 + 30_000 * x + rng.normal(0, 5_000, 2400)).astype(np.int64)
    days = [DAYS[k] for k in (0, 1, 2) for _ in range(800)]
    task = Task("net_30d", "N.", Regression(), 30, "net_spend_minor", Mask("all"), ())
    table = pa.table({
        "user_key": [f"u{i}" for i in range(2400)], "as_of": pa.array(days, pa.date32()),
        "x": x, "c": ["a"] * 2400, task.label: y,
    })  # fmt: skip
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    inputs = Inputs((("x", "ratio"),), ("c",), events=False, text=False)
    labels = {task.name: torch.from_numpy(y[:800]).float()}
    split = Split((DAYS[0],), (DAYS[1],), (DAYS[2],))
    chosen = Chosen(Layout((task,)), {task.name: split}, {}, labels)
    config = TrainConfig().changed(
        width=16, depth=1, n_experts=2, batch_size=128, max_epochs=30, patience=30, tower_epochs=2,
        learning_rate=0.01, weight_decay=0.01, min_rows=20, accelerator="cpu", n_bins=4,
        numeric_width=2,
    )  # fmt: skip
    spec = TrainSpec((str(path),), tuple(DAYS[:3]), NIGHT, 2, (task.name,), config, str(tmp_path),
                     inputs=inputs)  # fmt: skip
    model = fit_model(spec, chosen).model
    test = table.slice(1600)
    scores = as_arrays(model.scores(model.outputs(test))[task.name])
    values = metrics(task, y[1600:].astype(float), scores)
    assert values["r2"] > 0.95
    assert (scores["_expected"] < 0).mean() > 0.5
    head, labels = head_of(task.kind), y.astype(float)
    train, valid = (Rows(x[rows, None], labels[rows]) for rows in (slice(800), slice(800, 1600)))
    trees = fit_trees(task, head, train, valid, 0, config)
    assert metrics(task, labels[1600:], scores_of(task, head, trees, x[1600:, None]))["r2"] > 0.93
    missed = scores_of(task, head, trees, valid.inputs)["_expected"] - valid.labels
    assert abs(np.exp(trees.spread) / np.sqrt((missed**2).mean()) - 1) < 0.01
