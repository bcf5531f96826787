"""Where each task's labels stand among the columns of a batch.

Letters: B rows, C classes of a multi-label task, W columns of all tasks together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.kinds import MultiLabel
from contracts.splits import FOLDS_OF, USER_FOLDS, Cut
from contracts.tasks import Task
from models.data.row_hashes import row_hashes, user_hashes

Cuts = Mapping[str, Cut]
"""Task to the rows whose labels count."""
Labels = npt.NDArray[np.float64]
A = TypeVar("A")


@dataclass(frozen=True)
class Layout:
    """Tasks, and what a multi-label task can tell apart."""

    tasks: tuple[Task, ...]
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Multi-label task to its classes, by name."""

    @property
    def slices(self) -> dict[str, slice]:
        """Task to its columns: one, or one per class."""
        slices, start = {}, 0
        for task in self.tasks:
            width = len(self.classes[task.name]) if task.name in self.classes else 1
            slices[task.name] = slice(start, start + width)
            start += width
        return slices

    @property
    def width(self) -> int:
        return max((s.stop for s in self.slices.values()), default=0)

    def only(self, task: Task) -> Layout:
        return Layout((task,), {n: c for n, c in self.classes.items() if n == task.name})

    def counted(self, rows: pa.RecordBatch | pa.Table, cuts: Cuts) -> Labels:
        """(B, W): labels of the rows that count for each task, else NaN."""
        labels = np.full((rows.num_rows, self.width), np.nan)
        known = _Known(rows)
        for task in self.tasks:
            column = rows.column(task.label)
            counts = known.in_cut(cuts[task.name]) & as_numpy(pc.is_valid(column)).astype(bool)
            place = self.slices[task.name]
            if task.name in self.classes:
                labels[counts, place] = _members(column, counts, self.classes[task.name])
            else:
                kept = column.filter(pa.array(counts)).cast(pa.float64())
                labels[counts, place.start] = as_numpy(kept)
        return labels


class _Known:
    """Which rows are in a cut. What rows share is worked out once, and only if it is asked for."""

    def __init__(self, rows: pa.RecordBatch | pa.Table):
        self._rows = rows

    @cached_property
    def _folds(self) -> npt.NDArray[np.uint64]:
        return user_hashes(self._rows) % np.uint64(USER_FOLDS)

    @cached_property
    def _places(self) -> npt.NDArray[np.float64]:
        """(B,): of each row, a place between 0 and 1 that user and day decide."""
        return row_hashes(self._rows) / 2.0**64

    def _on(self, days: Collection[date]) -> npt.NDArray[np.bool_]:
        listed = pa.array(sorted(set(days)), pa.date32())
        return as_numpy(pc.is_in(self._rows.column("as_of"), value_set=listed)).astype(bool)

    def in_cut(self, cut: Cut) -> npt.NDArray[np.bool_]:
        inside = self._on(cut.days)
        if cut.folds is not None:
            inside &= np.isin(self._folds, sorted(cut.folds))
        if cut.spared:
            inside &= ~(self._on(cut.spared) & np.isin(self._folds, sorted(FOLDS_OF["test"])))
        if cut.share < 1:
            inside &= self._places < cut.share
        return inside


def in_cuts(rows: pa.RecordBatch | pa.Table, cuts: Collection[Cut]) -> npt.NDArray[np.bool_]:
    """(B,): whether each row is in one of the cuts."""
    known = _Known(rows)
    return np.any([known.in_cut(cut) for cut in cuts], axis=0)


def columns_of(cut: Cut) -> tuple[str, ...]:
    """Columns that decide which rows are in a cut."""
    by_day = cut.folds is None and cut.share >= 1 and not cut.spared
    return ("as_of",) if by_day else ("user_key", "as_of")


def days_of(cuts: Cuts) -> list[date]:
    """All days of some cuts, in order."""
    return sorted({day for cut in cuts.values() for day in cut.days})


def task_labels(labels: A, place: slice) -> A:
    """One task's labels of an array or tensor (B, W): (B,), or (B, C) for a multi-label task."""
    return labels[:, place] if place.stop - place.start > 1 else labels[:, place.start]  # type: ignore[index]


def labelled(labels: Any) -> Any:
    """Whether each of a task's rows, an array or tensor (B,) or (B, C), has a label: (B,)."""
    first = labels if labels.ndim == 1 else labels[:, 0]
    return first == first  # NaN is not


def as_numpy(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column as an array, wherever its memory is."""
    if isinstance(column, pa.ChunkedArray):
        return column.to_numpy()
    return column.to_numpy(zero_copy_only=False)


def _members(
    column: pa.Array | pa.ChunkedArray, rows: npt.NDArray[np.bool_], classes: Sequence[str]
) -> Labels:
    """(B, C): 1 where a list holds the class; of the picked rows."""
    kept = column.filter(pa.array(rows))
    if isinstance(kept, pa.ChunkedArray):
        kept = kept.combine_chunks()
    row = np.repeat(np.arange(len(kept)), as_numpy(pc.list_value_length(kept)).astype(np.int64))
    places = pc.index_in(kept.flatten(), value_set=pa.array(classes, pa.string()))
    known = as_numpy(pc.is_valid(places)).astype(bool)
    members = np.zeros((len(kept), len(classes)))
    members[row[known], as_numpy(places.drop_null()).astype(np.int64)] = 1.0
    return members


def frequent_classes(
    task: Task, batches: Iterable[pa.RecordBatch], max_rare: int = 0
) -> tuple[str, ...]:
    """The most frequent names among a multi-label task's labels, sorted by name.

    Names that stand in `max_rare` rows or fewer cannot be learned and are left out.
    """
    counted: Counter[str] = Counter()
    for batch in batches:
        for entry in pc.value_counts(batch.column(task.label).drop_null().flatten()).to_pylist():
            counted[entry["values"]] += entry["counts"]
    most = task.kind.max_classes if isinstance(task.kind, MultiLabel) else 0
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(sorted(name for name, n in ranked[:most] if n > max_rare))
