"""Which of the labelled rows are learned from where there are too many, and how much each counts.

Letters: B rows, W label columns of all tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.data.label_layout import Labels, Layout, labelled, task_labels
from models.data.row_hashes import row_hashes

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """A share of the rows, chosen by a hash of user and day; and all rows of what there is little.

    A row counts as many times as it stands for rows: 1 over the chance that it is chosen (Horvitz
    and Thompson, 1952), so that losses, and with them base rates, are those of all rows.
    """

    share: float = 1.0
    rare: tuple[str, ...] = ()
    """Binary tasks whose positive rows are all kept."""
    few: tuple[str, ...] = ()
    """Tasks whose labelled rows are all kept."""

    def weights(self, rows: pa.RecordBatch | pa.Table, labels: Labels, layout: Layout) -> Weights:
        """(B,): how much each row counts; 0 if it is left out. `labels` are (B, W)."""
        if self.share >= 1:
            return np.ones(rows.num_rows, np.float32)
        whole = np.zeros(rows.num_rows, np.bool_)
        for name in self.rare:
            whole |= task_labels(labels, layout.slices[name]) == 1
        for name in self.few:
            whole |= labelled(task_labels(labels, layout.slices[name]))
        chosen = row_hashes(rows) / 2.0**64 < self.share
        weights: Weights = np.where(whole, 1.0, chosen / self.share).astype(np.float32)
        return weights

    def mean_weight(self, name: str, n: int, n_positive: int) -> float:
        """The mean weight of the rows of a task that are chosen, of `n` that are labelled."""
        if self.share >= 1 or name in self.few or not n:
            return 1.0
        whole = n_positive / n if name in self.rare else 0.0
        return 1 / (whole + (1 - whole) * self.share)

    def only(self, name: str) -> Sampling:
        """The same for one task alone."""
        rare, few = (tuple(n for n in names if n == name) for names in (self.rare, self.few))
        return Sampling(self.share, rare, few)


ALL_ROWS = Sampling()
