"""Rows as trees see them: numeric features as they are, ids as codes.

Letters: B rows, F numeric features, I id features, n rows of a part of the examples, W label
columns of all tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts.tasks import Task
from models.data.batches import read_batches
from models.data.encoders import Encoder
from models.data.label_layout import Cuts, Labels, Layout, days_of, labelled, task_labels
from models.data.numeric_transforms import Floats, numeric_values
from models.data.sampling import ALL_ROWS, Sampling, Weights


class Rows(NamedTuple):
    """Rows of one task."""

    inputs: Floats
    """(n, F + I)."""
    labels: Labels
    """(n,), or (n, C) for a multi-label task."""
    weights: Weights | None = None
    """(n,): how much each counts; None: all the same."""


class Interrupted(Exception):
    """Trees are no longer wanted."""


def tree_inputs(rows: pa.RecordBatch | pa.Table, encoder: Encoder) -> Floats:
    """(B, F + I): numbers with NaN where there is none, then the codes of ids."""
    numbers = numeric_values(rows, encoder.inputs)
    return np.concatenate([numbers, encoder.codes(rows)], axis=1).astype(np.float32)


def input_names(encoder: Encoder) -> list[str]:
    """The feature of each column of `tree_inputs`."""
    numeric = [name for name, _ in encoder.inputs.numeric]
    return numeric + [part.feature for part in encoder.parts[: encoder.n_ids]]


@dataclass(frozen=True)
class LabelledRows:
    """Rows that are labelled for some task: most are labelled for several, and stand here once."""

    inputs: Floats
    """(n, F + I)."""
    labels: Labels
    """(n, W): NaN where a row does not count for a task."""
    weights: Mapping[str, Weights]
    """(n,) per task: how much a row counts for it."""
    layout: Layout

    def of_task(self, task: Task) -> Rows:
        """The rows that count for one task."""
        labels = task_labels(self.labels, self.layout.slices[task.name])
        known = labelled(labels)
        weights = self.weights[task.name][known]
        return Rows(self.inputs[known], labels[known], weights if (weights != 1).any() else None)


def labelled_rows(
    files: Sequence[str],
    layout: Layout,
    cuts: Cuts,
    encoder: Encoder,
    samplings: Mapping[str, Sampling] | None = None,
    stop: Event | None = None,
) -> LabelledRows:
    """The rows of each task's cut, or a sample of them, all tasks' in one pass over the files.

    Tasks take those with the smallest hashes, so that they share rows, and what is held is not
    much more than the largest task's.

    Raises:
        Interrupted: `stop` was set.
    """
    columns = ["user_key", "as_of", *encoder.inputs.flat, *(task.label for task in layout.tasks)]
    inputs: list[Floats] = []
    labels: list[Labels] = []
    weights: dict[str, list[Weights]] = {task.name: [] for task in layout.tasks}
    for batch in read_batches(files, days_of(cuts), columns):
        if stop is not None and stop.is_set():
            raise Interrupted
        counted = layout.counted(batch, cuts)
        of_tasks = {}
        for task in layout.tasks:
            sampling = (samplings or {}).get(task.name, ALL_ROWS)
            of_tasks[task.name] = sampling.weights(batch, counted, layout)
        for name, of_task in of_tasks.items():
            counted[of_task == 0, layout.slices[name]] = np.nan
        some = ~np.isnan(counted).all(axis=1)
        inputs.append(tree_inputs(batch.filter(pa.array(some)), encoder))
        labels.append(counted[some])
        for name, of_task in of_tasks.items():
            weights[name].append(of_task[some])
    return LabelledRows(
        _joined(inputs),
        np.concatenate(labels),
        {name: np.concatenate(parts) for name, parts in weights.items()},
        layout,
    )


def _joined(parts: list[Floats]) -> Floats:
    """The parts below one another, (n, F + I). Each is let go once it is copied, so that hardly
    more than one copy of all is held; `parts` is empty afterwards."""
    joined = np.empty((sum(len(part) for part in parts), parts[0].shape[1]), np.float32)
    end = len(joined)
    while parts:
        part = parts.pop()
        joined[end - len(part) : end] = part
        end -= len(part)
    return joined
