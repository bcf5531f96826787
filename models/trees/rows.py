"""Rows as trees see them: numeric features as they are, ids as codes.

Letters: B rows, F numeric features, I id features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.data.batches import read_batches
from models.data.encoders import Encoder
from models.data.label_layout import Cuts, Labels, Layout, labelled, task_labels
from models.data.numeric_transforms import Floats, numeric_values
from models.data.row_hashes import row_hashes

Hashes = npt.NDArray[np.uint64]
Rows = tuple[Floats, Labels]
"""Inputs (n, F + I) and labels, (n,) or (n, C), of one task."""


def tree_inputs(rows: pa.RecordBatch | pa.Table, encoder: Encoder) -> Floats:
    """(B, F + I): numbers with NaN where there is none, then the codes of ids."""
    numbers = numeric_values(rows, encoder.inputs)
    return np.concatenate([numbers, encoder.codes(rows)], axis=1).astype(np.float32)


def input_names(encoder: Encoder) -> list[str]:
    """The feature of each column of `tree_inputs`."""
    numeric = [name for name, _ in encoder.inputs.numeric]
    return numeric + [part.feature for part in encoder.parts[: encoder.n_ids]]


def labelled_rows(
    files: Sequence[str], layout: Layout, cuts: Cuts, encoder: Encoder, max_rows: int | None
) -> Rows:
    """The labelled rows of the layout's one task.

    With `max_rows`, a sample by the hash of user and day, the same whatever the order of rows.
    """
    (task,) = layout.tasks
    inputs: list[Floats] = []
    labels: list[Labels] = []
    hashes: list[Hashes] = []
    columns = ("user_key", "as_of", *encoder.inputs.flat, task.label)
    for batch in read_batches(files, cuts[task.name].days, columns):
        label = task_labels(layout.counted(batch, cuts), layout.slices[task.name])
        known = labelled(label)
        kept = batch.filter(pa.array(known))
        inputs.append(tree_inputs(kept, encoder))
        labels.append(label[known])
        hashes.append(row_hashes(kept))
        if max_rows is not None and sum(map(len, labels)) > 2 * max_rows:
            inputs, labels, hashes = _sample(inputs, labels, hashes, max_rows)
    if max_rows is not None and labels:
        inputs, labels, hashes = _sample(inputs, labels, hashes, max_rows)
    return np.concatenate(inputs), np.concatenate(labels)


def _sample(
    inputs: list[Floats], labels: list[Labels], hashes: list[Hashes], n: int
) -> tuple[list[Floats], list[Labels], list[Hashes]]:
    x, y, h = np.concatenate(inputs), np.concatenate(labels), np.concatenate(hashes)
    kept = np.sort(np.argsort(h, kind="stable")[:n])
    return [x[kept]], [y[kept]], [h[kept]]
