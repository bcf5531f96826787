"""What the model leans on: how much worse each task gets when one feature is shuffled.

Permutation importance (Breiman, 2001; Fisher, Rudin, Dominici, 2019), on rows of the test days.
Features that say the same cover for one another: what is shuffled alone may seem to matter little.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import torch
from torch import Tensor

from models.artifact import Model
from models.data import to_batch
from models.encoders import row_hashes
from models.layout import labelled, task_labels
from models.network import PADDING

MAX_ROWS, TOP = 1500, 10
"""Rows that are shuffled, chosen by a hash of user and day; features that are told per task."""


def importance(
    model: Model, held: Mapping[str, pa.Table], seed: int
) -> dict[str, dict[str, float]]:
    """Per task, the relative increase of its loss without each feature, largest first.

    `held` are the labelled test rows of each task. `events` and `text` are the sequences as a
    whole. Tasks without labels among the chosen rows are left out.
    """
    rows = _chosen(held)
    cuts = {task.name: model.splits[task.name].test for task in model.tasks}
    labels = torch.from_numpy(model.layout.counted(rows, cuts)).float()
    with torch.inference_mode():
        inputs = model.network.inputs(to_batch(model.encoder.encode(rows), labels.numpy()))
        base = _losses(model, inputs, labels)
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
        owners = model.network.owners
        worse: dict[str, dict[str, float]] = {name: {} for name in base}
        for feature in dict.fromkeys(owner for owner in owners if owner != PADDING):
            columns = torch.tensor([k for k, owner in enumerate(owners) if owner == feature])
            shuffled = inputs.clone()
            shuffled[:, columns] = inputs[order][:, columns]
            for name, loss in _losses(model, shuffled, labels).items():
                worse[name][feature] = loss / base[name] - 1
    return {
        name: dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
        for name, found in worse.items()
    }


def _chosen(held: Mapping[str, pa.Table]) -> pa.Table:
    """Rows of all tasks together, each once."""
    rows = pa.concat_tables(held.values())
    hashes = row_hashes(rows)
    order = hashes.argsort(kind="stable")
    first = order[[True, *(hashes[order][1:] != hashes[order][:-1])]]
    return rows.take(pa.array(first[:MAX_ROWS]))


def _losses(model: Model, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean calibrated loss of each task with labels."""
    outputs = model.network.of_inputs(inputs)
    made = {}
    for task in model.tasks:
        mine = task_labels(labels, model.layout.slices[task.name])
        there = labelled(mine)
        if there.any():
            head = model.network.heads[task.name]
            given = head.calibrated(outputs[task.name][there], model.calibrations[task.name])
            made[task.name] = float(head.loss(given, mine[there]).double().mean())
    return made
