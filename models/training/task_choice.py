"""Which tasks can be trained tonight, on which days, and how much of them is learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from contracts.errors import ContractError
from contracts.kinds import Binary, MultiLabel
from contracts.specs import TrainSpec
from contracts.splits import Cut, Split, split_days, too_few
from contracts.tasks import Task, task_named
from contracts.train_config import TrainConfig
from models.data.batches import read_batches
from models.data.label_layout import (
    Cuts,
    Layout,
    columns_of,
    days_of,
    frequent_classes,
    in_cuts,
    labelled,
)
from models.data.sampling import ALL_ROWS, Sampling
from models.training.budget import WHOLE_SHARE, Budget, budget_of


@dataclass
class Chosen:
    """Tasks that can be trained tonight, with their days; and why the others cannot."""

    layout: Layout
    splits: dict[str, Split]
    skipped: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Tensor] = field(default_factory=dict)
    """Training labels per task, (n,), or (n, C) for a multi-label task; of many, a sample."""
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """Labelled rows per task, of `train`, `valid` and `test`."""
    n_positive: dict[str, int] = field(default_factory=dict)
    """Positive training rows of each binary task."""
    budget: Budget | None = None
    """How much is learned from; None: everything, for as many epochs as the settings say."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.layout.tasks

    @property
    def train_cuts(self) -> Cuts:
        return self.cuts("train")

    @property
    def valid_cuts(self) -> Cuts:
        return self.cuts("valid")

    @property
    def sampling(self) -> Sampling:
        """Which training rows the network learns from."""
        return ALL_ROWS if self.budget is None else self.budget.sampling

    def within_budget(self, config: TrainConfig) -> TrainConfig:
        """Settings with as many epochs as the budget allows for."""
        if self.budget is None:
            return config
        return config.changed(
            max_epochs=self.budget.max_epochs, tower_epochs=self.budget.tower_epochs
        )

    def cuts(self, part: str, max_rows: int | None = None, share: float = 1.0) -> Cuts:
        """The rows of a part, or a share of them; with `max_rows` no more than about so many of any
        task. They are chosen by a hash of user and day."""
        cuts = {}
        for task in self.tasks:
            n = self.rows.get(task.name, {}).get(part, 0)
            of_task = share if max_rows is None or n <= max_rows else min(share, max_rows / n)
            cuts[task.name] = self.splits[task.name].cut(part, of_task)
        return cuts

    def sampling_of(self, task: Task, max_rows: int) -> Sampling:
        """Which training rows trees of one task learn from: no more than about `max_rows`, or all
        that are positive besides, where those are few."""
        n = self.rows.get(task.name, {}).get("train", 0)
        if n <= max_rows:
            return ALL_ROWS
        is_rare = 0 < self.n_positive.get(task.name, 0) <= WHOLE_SHARE * max_rows
        return Sampling(max_rows / n, (task.name,) if is_rare else ())

    def mean_weights(self) -> dict[str, float]:
        """Per task the mean weight of the training rows that the network learns from."""
        return {
            task.name: self.sampling.mean_weight(
                task.name,
                self.rows.get(task.name, {}).get("train", 0),
                self.n_positive.get(task.name, 0),
            )
            for task in self.tasks
        }

    def only(self, name: str) -> Chosen:
        """The same rows and labels of one task. It no longer stays within another."""
        (task,) = (t for t in self.tasks if t.name == name)
        return Chosen(
            self.layout.only(task),
            {name: self.splits[name]},
            {},
            {name: self.labels[name]},
            {name: self.rows.get(name, {})},
            {known: n for known, n in self.n_positive.items() if known == name},
            None if self.budget is None else self.budget.only(name),
        )


class NoTrainableTask(ContractError):
    """No task has days and labels enough."""

    def __init__(self, skipped: Mapping[str, str]):
        self.skipped = dict(skipped)
        lines = (f"  {name}: {why}" for name, why in skipped.items())
        super().__init__("\n".join(["no task can be trained:", *lines]))


def choose_tasks(spec: TrainSpec, by_user: bool = True) -> Chosen:
    """Split each task by time, or where history is too short by user, and leave out those without
    labels enough in every part.

    Without `by_user` tasks that would be split by user are left out as well.

    Raises:
        NoTrainableTask: that leaves no task.
    """
    tasks = [task_named(name) for name in spec.tasks]
    possible = {
        task.name: split_days(task, spec.as_ofs_of(task), spec.known_until, spec.settle_days)
        for task in tasks
    }
    usable: list[Usable] = []
    skipped: dict[str, str] = {}
    for task in tasks:
        split = possible[task.name]
        if split is None or (split.by_user and not by_user):
            times = "once" if split is None else "three times"
            skipped[task.name] = (
                f"too little history: {task.closes_after} days until a label is known, and "
                f"{spec.settle_days} for late rows, do not fit {times} behind an example day"
            )
            continue
        outcome = _usable(spec, task, split.within(possible.get(task.within or "")))
        if isinstance(outcome, Usable):
            usable.append(outcome)
        else:
            skipped[task.name] = outcome
    if not usable:
        raise NoTrainableTask(skipped)
    layout = Layout(
        tuple(u.task for u in usable),
        {u.task.name: u.classes for u in usable if u.classes is not None},
    )
    chosen = Chosen(
        layout,
        {u.task.name: u.split for u in usable},
        skipped,
        {u.task.name: u.labels for u in usable},
        {u.task.name: u.rows for u in usable},
        {u.task.name: u.n_positive for u in usable if isinstance(u.task.kind, Binary)},
    )
    n_rows = _n_rows(spec.files, layout, chosen.train_cuts)
    labels = {name: rows["train"] for name, rows in chosen.rows.items()}
    return replace(chosen, budget=budget_of(spec.config, n_rows, labels, chosen.n_positive))


def _n_rows(files: Sequence[str], layout: Layout, cuts: Cuts) -> int:
    """Rows with a label that counts for some task."""
    columns = {name for cut in cuts.values() for name in columns_of(cut)}
    columns |= {task.label for task in layout.tasks}
    return sum(
        int((~np.isnan(layout.counted(batch, cuts)).all(axis=1)).sum())
        for batch in read_batches(files, days_of(cuts), sorted(columns))
    )


@dataclass(frozen=True)
class Usable:
    """A task with labels enough in every part; see `Chosen`."""

    task: Task
    split: Split
    labels: Tensor
    rows: dict[str, int]
    n_positive: int
    """Training rows whose label is 1."""
    classes: tuple[str, ...] | None
    """Of a multi-label task."""


def _usable(spec: TrainSpec, task: Task, split: Split) -> Usable | str:
    """The task with its labels; or why it has too few, or none that differ."""
    classes = _classes(spec, task, split) if isinstance(task.kind, MultiLabel) else None
    layout = Layout((task,), {} if classes is None else {task.name: classes})
    counts = (
        {
            part: _counted(spec.files, layout, task, split.cut(part))
            for part in ("train", "valid", "test")
        }
        if classes is None or len(classes) > 1
        else {}
    )
    rows = {part: counted.n for part, counted in counts.items()}
    few = too_few(rows, spec.config.evaluation.min_rows)
    if few is not None:
        return few
    if not counts or any(not counted.differ for counted in counts.values()):
        return "its labels are all the same"
    share = min(1.0, MAX_LABELS / rows["train"])
    labels = _labels(spec.files, layout, task, split.cut("train", share))
    return Usable(task, split, labels, rows, counts["train"].n_positive, classes)


def _classes(spec: TrainSpec, task: Task, split: Split) -> tuple[str, ...]:
    """Classes that are frequent enough among training labels."""
    cut = split.cut("train")
    batches = read_batches(spec.files, cut.days, [*columns_of(cut), task.label])
    return frequent_classes(
        task,
        (batch.filter(pa.array(in_cuts(batch, [cut]))) for batch in batches),
        spec.config.evaluation.min_rows // 10,
    )


MAX_LABELS = 1_000_000
"""Training labels of a task from which its base rate, and how hard it is, are taken."""


def _label_parts(
    files: Sequence[str], layout: Layout, task: Task, cut: Cut
) -> Iterator[npt.NDArray[np.float32]]:
    """Labels of a cut, some rows after the others, each (n, W)."""
    for batch in read_batches(files, cut.days, [*columns_of(cut), task.label]):
        labels = layout.counted(batch, {task.name: cut})
        yield labels[labelled(labels)].astype(np.float32)


@dataclass(frozen=True)
class _Counted:
    """The labels of a part of a task."""

    n: int
    n_positive: int
    """How many are 1."""
    differ: bool


def _counted(files: Sequence[str], layout: Layout, task: Task, cut: Cut) -> _Counted:
    """How many labels there are, and whether they differ; nothing of them is kept."""
    n, n_positive, low, high = 0, 0, float("inf"), float("-inf")
    for labels in _label_parts(files, layout, task, cut):
        if len(labels):
            n, n_positive = n + len(labels), n_positive + int((labels == 1).sum())
            low, high = min(low, float(labels.min())), max(high, float(labels.max()))
    return _Counted(n, n_positive, low < high)


def _labels(files: Sequence[str], layout: Layout, task: Task, cut: Cut) -> Tensor:
    parts = list(_label_parts(files, layout, task, cut))
    kept = torch.from_numpy(np.concatenate(parts))
    return kept if task.name in layout.classes else kept[:, 0]
