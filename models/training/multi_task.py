"""Fitting one network to the tasks that were chosen: encoder, weights, calibration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from contracts.errors import NightjarError
from contracts.specs import TrainSpec
from contracts.tasks import Task
from contracts.train_config import TrainConfig
from models.artifact.model import Model, load_model
from models.data import encoders
from models.data.batches import Examples, read_batches
from models.data.label_layout import (
    days_of,
    in_cuts,
)
from models.distributed import n_ranks, rank
from models.network.network import Network
from models.training.calibration_fit import calibrate
from models.training.lightning_fit import fit
from models.training.lightning_module import ExampleData, MultiTaskModule
from models.training.task_choice import Chosen
from models.training.tower_refit import Refitted
from models.training.warm_start import may_start_from, start_from

_LOG = logging.getLogger(__name__)


def fit_encoder(spec: TrainSpec, chosen: Chosen) -> encoders.Encoder:
    """Fit transforms and vocabularies to the training rows, or the share that is learned from."""
    config, train_cuts = spec.config, chosen.cuts("train", share=chosen.sampling.share)
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
    data = example_data(spec, chosen, encoder)
    network, history, towers, speed = fit_network(spec, chosen, encoder, data, callbacks)
    teacher: dict[str, float] | None = None
    if config.losses.student_width is not None:
        config = student_of(config)
        _LOG.info(f"a student of width {config.network.width} learns from it")
        teacher_loss = history[-1]["best_loss"]
        small, history, towers, _ = fit_network(
            replace(spec, config=config), chosen, encoder, data, callbacks, network
        )
        sizes = [sum(p.numel() for p in n.parameters()) for n in (network, small)]
        network = small
        teacher = {
            "teacher_valid_loss": teacher_loss,
            "valid_loss": history[-1]["best_loss"],
            "share_of_weights": sizes[1] / sizes[0],
        }
    model = calibrated_model(replace(spec, config=config), chosen, encoder, network)
    return Fitted(model, history, towers, speed, teacher)


def calibrated_model(
    spec: TrainSpec, chosen: Chosen, encoder: encoders.Encoder, network: Network
) -> Model:
    """A fitted network that scores alone, calibrated on the validation days."""
    config = spec.config
    outputs, cuts_of_valid = [], chosen.cuts("valid", config.evaluation.test_max_rows)
    for day in days_of(cuts_of_valid):
        cuts = {
            name: replace(cut, days=tuple({day} & {*cut.days}))
            for name, cut in cuts_of_valid.items()
        }
        rows = Examples(spec.files, chosen.layout, cuts, encoder, 4 * config.optimiser.batch_size)
        outputs += _outputs(network, rows)
    calibrations = calibrate(chosen, network.heads, outputs, cuts_of_valid)
    config = chosen.within_budget(config)
    return Model(network, encoder, config, calibrations, chosen.splits, spec.known_until)


def student_of(config: TrainConfig) -> TrainConfig:
    """The settings of a smaller network for scoring: one trunk for all tasks, one block deep."""
    return config.changed(
        trunk="shared_bottom",
        width=config.losses.student_width or config.network.width,
        depth=1,
        balance="fixed",
        student_width=None,
    )


def example_data(spec: TrainSpec, chosen: Chosen, encoder: encoders.Encoder) -> ExampleData:
    size, files = spec.config.optimiser.batch_size, spec.files
    seed, sampling = spec.config.seed, chosen.sampling
    train = Examples(files, chosen.layout, chosen.train_cuts, encoder, size, seed, sampling)
    cuts = chosen.cuts("valid", spec.config.evaluation.test_max_rows)
    return ExampleData(train, Examples(files, chosen.layout, cuts, encoder, 4 * size))


def fit_network(
    spec: TrainSpec,
    chosen: Chosen,
    encoder: encoders.Encoder,
    data: ExampleData,
    callbacks: Sequence[Callback],
    teacher: nn.Module | None = None,
) -> tuple[Network, list[dict[str, float]], dict[str, Refitted], float]:
    """A fitted network, its losses per epoch, how its towers came about, and rows per second.

    It is not calibrated. A `teacher` gives for a batch what the network is to say, as a network
    would.
    """
    config = chosen.within_budget(spec.config)
    network = Network(config, chosen.layout, encoder)
    network.start_from(chosen.labels)
    scales = {
        task.name: _constant_loss(network, task, chosen.labels[task.name]) for task in chosen.tasks
    }
    is_tight = chosen.budget is not None and chosen.budget.is_tight
    if (config.optimiser.warm_start or is_tight) and spec.champion is not None and teacher is None:
        _start_warm(network, spec, chosen, encoder)
    for part in (data.train, data.valid):
        part.rank, part.n_ranks = rank(), n_ranks()
        part.start_at(0, 0)
    module = MultiTaskModule(network, config, scales, teacher, chosen.mean_weights())
    checkpoints = Path(spec.checkpoints or Path(spec.folder, "checkpoints"))
    folder = checkpoints / "student" if teacher is not None else checkpoints
    towers = fit(module, data, config, folder, callbacks)
    return network, module.history, towers, module.rows_per_second


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
    rows_per_second: float
    """How fast the network learned."""
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
