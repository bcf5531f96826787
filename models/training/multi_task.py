"""Which tasks can be trained, and fitting one network to them: encoders, weights, calibration."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from contracts.errors import ContractError, NightjarError
from contracts.kinds import MultiLabel
from contracts.specs import TrainSpec
from contracts.splits import Cut, Split, split_days, too_few
from contracts.tasks import Task, task_named
from contracts.train_config import TrainConfig
from models.artifact.model import Model, load_model
from models.data import encoders
from models.data.batches import Examples, read_batches
from models.data.label_layout import (
    Cuts,
    Layout,
    columns_of,
    days_of,
    frequent_classes,
    in_cuts,
    labelled,
)
from models.distributed import n_ranks, rank
from models.network.network import Network
from models.training.calibration_fit import calibrate
from models.training.lightning_fit import fit
from models.training.lightning_module import ExampleData, MultiTaskModule
from models.training.tower_refit import Refitted
from models.training.warm_start import may_start_from, start_from

_LOG = logging.getLogger(__name__)


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

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.layout.tasks

    @property
    def train_cuts(self) -> Cuts:
        return self.cuts("train")

    @property
    def valid_cuts(self) -> Cuts:
        return self.cuts("valid")

    def cuts(self, part: str, max_rows: int | None = None) -> Cuts:
        """The rows of a part; with `max_rows` no more than about so many of any task, chosen by a
        hash of user and day."""
        cuts = {}
        for task in self.tasks:
            n = self.rows.get(task.name, {}).get(part, 0)
            share = 1.0 if max_rows is None or n <= max_rows else max_rows / n
            cuts[task.name] = self.splits[task.name].cut(part, share)
        return cuts

    def only(self, name: str) -> Chosen:
        """The same rows and labels of one task. It no longer stays within another."""
        (task,) = (t for t in self.tasks if t.name == name)
        return Chosen(
            self.layout.only(task),
            {name: self.splits[name]},
            {},
            {name: self.labels[name]},
            {name: self.rows.get(name, {})},
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
    return Chosen(
        layout,
        {u.task.name: u.split for u in usable},
        skipped,
        {u.task.name: u.labels for u in usable},
        {u.task.name: u.rows for u in usable},
    )


@dataclass(frozen=True)
class Usable:
    """A task with labels enough in every part; see `Chosen`."""

    task: Task
    split: Split
    labels: Tensor
    rows: dict[str, int]
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
    rows = {part: n for part, (n, _) in counts.items()}
    few = too_few(rows, spec.config.evaluation.min_rows)
    if few is not None:
        return few
    if not counts or any(not differ for _, differ in counts.values()):
        return "its labels are all the same"
    share = min(1.0, MAX_LABELS / rows["train"])
    labels = _labels(spec.files, layout, task, split.cut("train", share))
    return Usable(task, split, labels, rows, classes)


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


def _counted(files: Sequence[str], layout: Layout, task: Task, cut: Cut) -> tuple[int, bool]:
    """How many labels there are, and whether they differ; nothing of them is kept."""
    n, low, high = 0, float("inf"), float("-inf")
    for labels in _label_parts(files, layout, task, cut):
        if len(labels):
            n += len(labels)
            low, high = min(low, float(labels.min())), max(high, float(labels.max()))
    return n, low < high


def _labels(files: Sequence[str], layout: Layout, task: Task, cut: Cut) -> Tensor:
    parts = list(_label_parts(files, layout, task, cut))
    kept = torch.from_numpy(np.concatenate(parts))
    return kept if task.name in layout.classes else kept[:, 0]


def fit_encoder(spec: TrainSpec, chosen: Chosen) -> encoders.Encoder:
    """Fit transforms and vocabularies to the training rows."""
    config, train_cuts = spec.config, chosen.train_cuts
    columns = ("user_key", "as_of", *spec.inputs.flat)
    batches = read_batches(spec.files, days_of(train_cuts), columns)
    return encoders.fit(
        (batch.filter(pa.array(in_cuts(batch, {*train_cuts.values()}))) for batch in batches),
        config.inputs.id_buckets,
        spec.inputs,
        config.inputs.n_bins,
        config.inputs.hash_buckets,
        config.inputs.n_values,
    )


def fit_model(
    spec: TrainSpec,
    chosen: Chosen,
    callbacks: Sequence[Callback] = (),
    encoder: encoders.Encoder | None = None,
) -> Fitted:
    """Fit encoder, network and calibration; `callbacks` are called during training.

    With `student_width` a smaller network is then fitted to labels and to what the first one says,
    and is the model.
    """
    config = spec.config
    torch.set_num_threads(config.machine.threads)
    pl.seed_everything(config.seed, workers=False, verbose=False)
    if encoder is None:
        encoder = fit_encoder(spec, chosen)
    data = _data(spec, chosen, encoder)
    network, history, towers = _network(spec, chosen, encoder, data, callbacks)
    teacher: dict[str, float] | None = None
    if config.losses.student_width is not None:
        config = student_of(config)
        _LOG.info(f"a student of width {config.network.width} learns from it")
        teacher_loss = history[-1]["best_loss"]
        small, history, towers = _network(
            replace(spec, config=config), chosen, encoder, data, callbacks, network
        )
        sizes = [sum(p.numel() for p in n.parameters()) for n in (network, small)]
        network = small
        teacher = {
            "teacher_valid_loss": teacher_loss,
            "valid_loss": history[-1]["best_loss"],
            "share_of_weights": sizes[1] / sizes[0],
        }
    outputs, cuts_of_valid = [], chosen.cuts("valid", config.evaluation.test_max_rows)
    for day in days_of(cuts_of_valid):
        cuts = {
            name: replace(cut, days=tuple({day} & {*cut.days}))
            for name, cut in cuts_of_valid.items()
        }
        rows = Examples(spec.files, chosen.layout, cuts, encoder, 4 * config.optimiser.batch_size)
        outputs += _outputs(network, rows)
    calibrations = calibrate(chosen.layout, network.heads, outputs)
    model = Model(network, encoder, config, calibrations, chosen.splits, spec.known_until)
    return Fitted(model, history, towers, teacher)


def student_of(config: TrainConfig) -> TrainConfig:
    """The settings of a smaller network for scoring: one trunk for all tasks, one block deep."""
    return config.changed(
        trunk="shared_bottom",
        width=config.losses.student_width or config.network.width,
        depth=1,
        balance="fixed",
        student_width=None,
    )


def _data(spec: TrainSpec, chosen: Chosen, encoder: encoders.Encoder) -> ExampleData:
    size, files = spec.config.optimiser.batch_size, spec.files
    train = Examples(files, chosen.layout, chosen.train_cuts, encoder, size, spec.config.seed)
    return ExampleData(train, Examples(files, chosen.layout, chosen.valid_cuts, encoder, 4 * size))


def _network(
    spec: TrainSpec,
    chosen: Chosen,
    encoder: encoders.Encoder,
    data: ExampleData,
    callbacks: Sequence[Callback],
    teacher: Network | None = None,
) -> tuple[Network, list[dict[str, float]], dict[str, Refitted]]:
    """A fitted network, its losses per epoch, and how its towers came about."""
    config = spec.config
    network = Network(config, chosen.layout, encoder)
    network.start_from(chosen.labels)
    scales = {
        task.name: _constant_loss(network, task, chosen.labels[task.name]) for task in chosen.tasks
    }
    if config.optimiser.warm_start and spec.champion is not None and teacher is None:
        _start_warm(network, spec, chosen, encoder)
    for part in (data.train, data.valid):
        part.rank, part.n_ranks = rank(), n_ranks()
        part.start_at(0, 0)
    module = MultiTaskModule(network, config, scales, teacher)
    checkpoints = Path(spec.checkpoints or Path(spec.folder, "checkpoints"))
    folder = checkpoints / "student" if teacher is not None else checkpoints
    towers = fit(module, data, config, folder, callbacks)
    return network, module.history, towers


def _start_warm(
    network: Network, spec: TrainSpec, chosen: Chosen, encoder: encoders.Encoder
) -> None:
    """Begin with the champion's weights, unless it has seen held-out days."""
    try:
        champion = load_model(Path(spec.champion or ""))
    except NightjarError as error:
        _LOG.info(f"no warm start: {error}")
        return
    if not may_start_from(champion, chosen.splits):
        _LOG.info(
            "no warm start: the champion has seen days that tonight's model is chosen or tested by"
        )
        return
    copied = start_from(network, chosen.layout, encoder, champion)
    n_weights = len(network.state_dict())
    _LOG.info(f"a warm start: {len(copied)} of {n_weights} weights are the champion's")


@dataclass(frozen=True)
class Fitted:
    """A model, and how it came about."""

    model: Model
    history: list[dict[str, float]]
    """Losses per epoch."""
    towers: dict[str, Refitted]
    """How each task's tower came about."""
    student: dict[str, float] | None = None
    """What a student came to beside its teacher."""


def _constant_loss(network: Network, task: Task, labels: Tensor) -> float:
    """Loss of the constant that fits the training labels best; above 0 by construction."""
    head = network.heads[task.name]
    constant = head.start(labels).unsqueeze(0).expand(len(labels), -1)
    return max(float(head.loss(constant, labels).mean()), 1e-3)


def _outputs(network: Network, rows: Examples) -> list[tuple[dict[str, Tensor], Tensor]]:
    """Outputs by task and labels of all rows; nothing if no row has a label that counts."""
    with torch.inference_mode():
        batches = [(network(batch), batch.labels) for batch in rows]
    if not batches:
        return []
    names = [task.name for task in network.tasks]
    outputs = {name: torch.cat([outputs[name] for outputs, _ in batches]) for name in names}
    return [(outputs, torch.cat([labels for _, labels in batches]))]
