"""Held-out rows: what happened to them, and what a model predicts of them.

Letters: B rows of a batch, n rows of a task, K outputs of a head, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from models.artifact.model import Model, outputs_of
from models.data.batches import read_batches
from models.data.label_layout import Cuts, Layout, days_of, labelled, task_labels
from models.evaluation.metrics import Array, Scores
from models.evaluation.segments import SEEN, segments_of


@dataclass(frozen=True)
class TaskRows:
    """The held-out rows of one task, without their features."""

    labels: Array
    """(n,), or (n, C) for a multi-label task."""
    users: np.ndarray
    """(n,): a number for each user, by which the bootstrap resamples."""
    segments: Mapping[str, np.ndarray]
    """Segment to which of the (n,) rows are in it."""


@dataclass(frozen=True)
class Predictions:
    """What a model predicts of the held-out rows of one of its tasks."""

    outputs: Tensor
    """(n, K), before calibration."""
    scores: Scores


@dataclass(frozen=True)
class HeldOut:
    """The held-out rows of every task: what happened, and where to read their features.

    Features pass by in batches and are not kept: with them, test days of many users are larger
    than memory.
    """

    layout: Layout
    cuts: Cuts
    tasks: Mapping[str, TaskRows]

    def predictions_of(self, model: Model, files: Sequence[str]) -> dict[str, Predictions]:
        """What a model predicts, task by task, for those of its tasks that have rows here."""
        return self.predictions_of_all([model], files)[0]

    def predictions_of_all(
        self, models: Sequence[Model], files: Sequence[str]
    ) -> list[dict[str, Predictions]]:
        """The same of models that share network, encoder and trees, in one pass over the rows."""
        tasks = [task for task in self.layout.tasks if task in models[0].tasks]
        cuts = {task.name: self.cuts[task.name] for task in tasks}
        collected = [_Collected({name: [] for name in cuts}, {name: [] for name in cuts})
                     for _ in models]  # fmt: skip
        for batch in read_batches(files, days_of(cuts)):
            rows_of = _rows_of_tasks(batch, self.layout, cuts)
            some = np.any([*rows_of.values()], axis=0)
            if some.any():
                picked = {name: torch.from_numpy(rows[some]) for name, rows in rows_of.items()}
                of_models = outputs_of(models, batch.filter(pa.array(some)))
                for model, into, outputs in zip(models, collected, of_models, strict=True):
                    into.add(outputs, model.scores(outputs), picked)
        return [of_model.predictions() for of_model in collected]


@dataclass(frozen=True)
class _Collected:
    """What a model has predicted so far, a list of batches for each task."""

    outputs: dict[str, list[Tensor]]
    scores: dict[str, list[dict[str, Tensor]]]

    def add(
        self,
        outputs: Mapping[str, Tensor],
        scores: Mapping[str, Mapping[str, Tensor]],
        picked: Mapping[str, Tensor],
    ) -> None:
        """Keep each task's own rows of a batch."""
        for name, rows in picked.items():
            self.outputs[name].append(outputs[name][rows])
            self.scores[name].append({k: v[rows] for k, v in scores[name].items()})

    def predictions(self) -> dict[str, Predictions]:
        return {
            name: Predictions(
                torch.cat(parts),
                as_arrays(
                    {k: torch.cat([s[k] for s in self.scores[name]]) for k in self.scores[name][0]}
                ),
            )
            for name, parts in self.outputs.items()
        }


def _rows_of_tasks(
    rows: pa.RecordBatch | pa.Table, layout: Layout, cuts: Cuts
) -> dict[str, np.ndarray]:
    """(B,): per task, which rows are its own."""
    tasks = [task for task in layout.tasks if task.name in cuts]
    some = Layout(tuple(tasks), {n: c for n, c in layout.classes.items() if n in cuts})
    labels = some.counted(rows, cuts)
    return {task.name: labelled(task_labels(labels, some.slices[task.name])) for task in tasks}


def held_out_rows(files: Sequence[str], layout: Layout, cuts: Cuts) -> HeldOut:
    """The labelled rows of each task's cut, in the order of the files."""
    labels: dict[str, list[Array]] = {task.name: [] for task in layout.tasks}
    users: dict[str, list[pa.Array]] = {task.name: [] for task in layout.tasks}
    segments: dict[str, list[dict[str, np.ndarray]]] = {task.name: [] for task in layout.tasks}
    columns = ["user_key", "as_of", *SEEN, *(task.label for task in layout.tasks)]
    for batch in read_batches(files, days_of(cuts), columns):
        counted, in_segment = layout.counted(batch, cuts), segments_of(batch)
        for task in layout.tasks:
            task_values = task_labels(counted, layout.slices[task.name])
            known = labelled(task_values)
            labels[task.name].append(task_values[known])
            users[task.name].append(batch.column("user_key").filter(pa.array(known)))
            segments[task.name].append({name: rows[known] for name, rows in in_segment.items()})
    tasks = {}
    for name, parts in labels.items():
        keys = pa.chunked_array(users[name]).combine_chunks().to_numpy(zero_copy_only=False)
        _, codes = np.unique(keys.astype(str), return_inverse=True)
        tasks[name] = TaskRows(
            np.concatenate(parts),
            codes,
            {
                segment: np.concatenate([part[segment] for part in segments[name]])
                for segment in segments[name][0]
            },
        )
    return HeldOut(layout, cuts, tasks)


def as_arrays(scores: Mapping[str, Tensor]) -> Scores:
    """Scores of one task by suffix, as double-precision arrays."""
    return {suffix: values.double().numpy() for suffix, values in scores.items()}
