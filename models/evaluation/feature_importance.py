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
from models.trees.rows import input_names, tree_inputs

MAX_ROWS, TOP = 1000, 10
"""Rows that are shuffled, chosen by a hash of user and day; features that are named per task."""
MIN_GAIN = 0.01
"""Trees in which a feature has less than this share of what splits gained are taken to say the same
without it."""


def importance(
    model: Model, files: Sequence[str], cuts: Cuts, seed: int
) -> dict[str, dict[str, float]]:
    """Per task, the relative increase of its loss without each feature, largest first.

    `cuts` are the test rows of each task. `events` and `text` are the sequences as a whole. Tasks
    without labels among the chosen rows are left out.
    """
    rows = _chosen(model, files, cuts)
    labels = torch.from_numpy(model.layout.counted(rows, cuts)).float()
    seen = _Seen(model, rows, labels)
    base = seen.losses(None)
    worse: dict[str, dict[str, float]] = {name: {} for name in base}
    order = torch.randperm(rows.num_rows, generator=torch.Generator().manual_seed(seed))
    for feature in seen.features:
        for name, loss in seen.losses(feature, order).items():
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


class _Seen:
    """The rows as network and trees see them, of which one feature at a time is shuffled."""

    def __init__(self, model: Model, rows: pa.Table, labels: Tensor):
        self._model, self._labels = model, labels
        with torch.inference_mode():
            batch = to_batch(model.encoder.encode(rows), labels.numpy())
            self._inputs = model.network.inputs(batch)
        self._owners = np.array(model.network.owners)
        self._tree_inputs = tree_inputs(rows, model.encoder)
        self._tree_names = np.array(input_names(model.encoder))
        self._raw = model.raw_of(self._tree_inputs, model.trees)

    @property
    def features(self) -> list[str]:
        return [name for name in dict.fromkeys(self._owners.tolist()) if name != PADDING]

    def losses(self, feature: str | None, order: Tensor | None = None) -> dict[str, float]:
        """Mean calibrated loss of each task with labels, the rows of a feature in another order."""
        model, inputs, raw = self._model, self._inputs, self._raw
        if feature is not None and order is not None:
            inputs = _shuffled(inputs, self._owners == feature, order)
            columns = self._tree_names == feature
            trees = self._tree_inputs.copy()
            trees[:, columns] = trees[order.numpy()][:, columns]
            names = [
                name
                for name, of in model.trees.items()
                if of.gain_shares[columns].sum() >= MIN_GAIN
            ]
            raw = {**raw, **model.raw_of(trees, names)}
        with torch.inference_mode():
            own = model.network.of_inputs(inputs)
        losses = {}
        for task in model.tasks:
            values = task_labels(self._labels, model.layout.slices[task.name])
            known = labelled(values)
            if known.any():
                head = model.network.heads[task.name]
                outputs = model.mixed(task, own[task.name], raw.get(task.name))[known]
                given = head.calibrated(outputs, model.calibrations[task.name])
                losses[task.name] = float(head.loss(given, values[known]).double().mean())
        return losses


def _shuffled(inputs: Tensor, columns: np.ndarray, order: Tensor) -> Tensor:
    """(B, inputs) with some columns in another order of rows."""
    picked = torch.from_numpy(np.flatnonzero(columns))
    shuffled = inputs.clone()
    shuffled[:, picked] = inputs[order][:, picked]
    return shuffled
