"""What the model leans on: how much worse each task gets when one feature is shuffled.

Permutation importance (Breiman, 2001; Fisher, Rudin, Dominici, 2019), on rows of the test days.
Features that say the same cover for one another: what is shuffled alone may seem to matter little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from contracts.errors import ContractError
from models.artifact.model import Model
from models.data.batches import read_batches, to_batch
from models.data.label_layout import Cuts, days_of, labelled, task_labels
from models.data.row_hashes import row_hashes
from models.network.network import PADDING

MAX_ROWS, TOP = 1500, 10
"""Rows that are shuffled, chosen by a hash of user and day; features that are named per task."""


def importance(
    model: Model, files: Sequence[str], cuts: Cuts, seed: int
) -> dict[str, dict[str, float]]:
    """Per task, the relative increase of its loss without each feature, largest first.

    `cuts` are the test rows of each task. `events` and `text` are the sequences as a whole. Tasks
    without labels among the chosen rows are left out.
    """
    rows = _chosen(model, files, cuts)
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
        name: dict(sorted(features.items(), key=lambda item: (-item[1], item[0])))
        for name, features in worse.items()
    }


def _chosen(model: Model, files: Sequence[str], cuts: Cuts) -> pa.Table:
    """Rows that some task is tested on, those with the smallest hashes; never many more at once."""
    kept: pa.Table | None = None
    for batch in read_batches(files, days_of(cuts)):
        known = ~np.isnan(model.layout.counted(batch, cuts)).all(axis=1)
        both = pa.Table.from_batches([batch.filter(pa.array(known))])
        both = both if kept is None else pa.concat_tables([kept, both])
        kept = both.take(pa.array(row_hashes(both).argsort(kind="stable")[:MAX_ROWS]))
    if kept is None:
        raise ContractError("there are no test rows to shuffle features of")
    return kept


def _losses(model: Model, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean calibrated loss of each task with labels."""
    outputs = model.network.of_inputs(inputs)
    losses = {}
    for task in model.tasks:
        values = task_labels(labels, model.layout.slices[task.name])
        known = labelled(values)
        if known.any():
            head = model.network.heads[task.name]
            given = head.calibrated(outputs[task.name][known], model.calibrations[task.name])
            losses[task.name] = float(head.loss(given, values[known]).double().mean())
    return losses
