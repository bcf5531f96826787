"""Which mixture of network and trees scores each task, chosen on its validation days.

Letters: n rows, K outputs of a head, J raw scores of trees, W label columns of all tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pytorch_lightning.callbacks import Callback
from scipy.optimize import minimize
from torch import Tensor

from contracts.kinds import ZeroInflatedLogNormal
from contracts.specs import TrainSpec
from contracts.tasks import Task
from models.artifact.model import Model
from models.data.batches import read_batches
from models.data.label_layout import Cuts, days_of, in_cuts, labelled, task_labels
from models.data.row_hashes import user_hashes
from models.distributed import rank
from models.network.calibration import Calibration
from models.network.heads import Head
from models.training.calibration_fit import calibrate, calibration_losses
from models.training.multi_task import Fitted, fit_encoder, fit_model
from models.training.task_choice import Chosen
from models.training.tree_fit import fit_all
from models.trees.mixtures import Weights, mixed, n_weights
from models.trees.task_trees import TaskTrees

_LOG = logging.getLogger(__name__)

PRIOR = 0.25
"""Standard deviation, around one half, of a weight before any row is looked at."""
_HALF = (0.5,)
SNAP = 0.05
"""A share below this is none: what hardly counts is not worth computing."""


@dataclass(frozen=True)
class _Day:
    """The rows of a validation day that are labelled for any task."""

    outputs: Mapping[str, Tensor]
    """The network's, (n, K) per task."""
    raw: Mapping[str, Tensor]
    """The trees', (n, J) per task."""
    labels: Tensor
    """(n, W): NaN where a row does not count."""
    users: np.ndarray
    """(n,): a hash of each row's user."""


@dataclass(frozen=True)
class TaskRows:
    """The labelled validation rows of one task."""

    outputs: Tensor
    raw: Tensor
    labels: Tensor
    n_users: int


@dataclass(frozen=True)
class FittedMixture:
    """A model, and its members on their own."""

    model: Model
    network: Model
    """The network alone, calibrated by itself."""
    twin: Model
    """The trees of all tasks alone, as LightGBM fits them."""


class FailsWith(Callback):
    """Ends a training once what works beside it has failed, for it would be for nothing."""

    def __init__(self, beside: Future[Any]):
        self._beside = beside

    def on_train_batch_end(self, *_: Any) -> None:
        if self._beside.done():
            self._beside.result()


def fit_members(spec: TrainSpec, chosen: Chosen) -> tuple[Fitted, dict[str, TaskTrees]]:
    """Fit the network, and beside it, on the other cores, the trees of every task.

    Of several ranks the first one fits trees; the others have none.
    """
    encoder, stop = fit_encoder(spec, chosen), Event()
    if rank():
        return fit_model(spec, chosen, encoder=encoder), {}
    _LOG.info("beside the network LightGBM learns each task from the same rows")
    with ThreadPoolExecutor(1) as beside:
        trees = beside.submit(fit_all, chosen, spec.files, encoder, spec.config, stop)
        try:
            return fit_model(spec, chosen, [FailsWith(trees)], encoder), trees.result()
        finally:
            stop.set()


def fit_mixture(
    network: Model, trees: Mapping[str, TaskTrees], files: Sequence[str], chosen: Chosen
) -> FittedMixture:
    """Mix a network with trees that were fitted on the same days and with its encoder."""
    alone = replace(
        network,
        trees=trees,
        weights={task.name: (0.0,) * n_weights_of(network, task) for task in network.tasks},
        calibrations=dict.fromkeys(trees, Calibration()),
    )
    return FittedMixture(with_trees(network, trees, files, chosen), network, alone)


def with_trees(
    network: Model, trees: Mapping[str, TaskTrees], files: Sequence[str], chosen: Chosen
) -> Model:
    """The model that scores by the mixtures that do best on the validation rows, by the network
    alone or by trees alone, as `mixture` says; calibrated on the same rows."""
    choice = network.config.mixture
    if choice == "network":
        return network
    halves = {task.name: _HALF * n_weights_of(network, task) for task in network.tasks}
    both = replace(network, trees=trees, weights=halves)
    cuts = chosen.cuts("valid", network.config.evaluation.test_max_rows)
    days = list(_days(both, files, cuts))
    weights: dict[str, Weights] = {}
    for task in network.tasks:
        if choice == "twin":
            weights[task.name] = (0.0,) * n_weights_of(network, task)
        else:
            rows = _rows_of(network, task, days)
            head, spread = network.network.heads[task.name], trees[task.name].spread
            weights[task.name] = fit_weights(task, head, rows, spread)
        _LOG.info(f"  {task.name:<18} {share_text(weights[task.name])}")
    model = replace(both, weights=weights)
    mixtures = [
        (
            {task.name: model.mixed(task, day.outputs[task.name], day.raw[task.name])
             for task in model.tasks},
            day.labels,
        )
        for day in days
    ]  # fmt: skip
    calibrations = calibrate(chosen, model.network.heads, mixtures, cuts)
    needed = {name: of for name, of in trees.items() if any(w < 1 for w in weights[name])}
    return replace(
        model,
        calibrations=calibrations,
        trees=needed,
        weights={name: weights[name] for name in needed},
    )


def n_weights_of(model: Model, task: Task) -> int:
    return n_weights(task.kind, model.network.heads[task.name])


def share_text(weights: Weights) -> str:
    """What a person reads of a mixture."""
    shares = ", ".join(f"{weight:.0%}" for weight in weights)
    return f"network {shares}, trees the rest"


def _days(model: Model, files: Sequence[str], cuts: Cuts) -> Iterator[_Day]:
    """What both members say of the labelled rows of each validation day."""
    for day in days_of(cuts):
        of_day = {name: replace(cut, days=tuple({day} & {*cut.days})) for name, cut in cuts.items()}
        parts = list(_parts(model, files, of_day, day))
        if parts:
            yield _Day(
                {t.name: torch.cat([p.outputs[t.name] for p in parts]) for t in model.tasks},
                {t.name: torch.cat([p.raw[t.name] for p in parts]) for t in model.tasks},
                torch.cat([p.labels for p in parts]),
                np.concatenate([p.users for p in parts]),
            )


def _parts(model: Model, files: Sequence[str], cuts: Cuts, day: date) -> Iterator[_Day]:
    for batch in read_batches(files, [day]):
        rows = batch.filter(pa.array(in_cuts(batch, [*cuts.values()])))
        labels = model.layout.counted(rows, cuts)
        some = ~np.isnan(labels).all(axis=1)
        if some.any():
            rows = rows.filter(pa.array(some))
            yield _Day(
                model.network_outputs(rows),
                model.raw_scores(rows),
                torch.from_numpy(labels[some]).float(),
                user_hashes(rows),
            )


def _rows_of(model: Model, task: Task, days: Sequence[_Day]) -> TaskRows:
    """The rows of all days that are labelled for a task."""
    outputs, raw, labels, users = [], [], [], []
    for day in days:
        values = task_labels(day.labels, model.layout.slices[task.name])
        known = labelled(values)
        outputs.append(day.outputs[task.name][known])
        raw.append(day.raw[task.name][known])
        labels.append(values[known])
        users.append(day.users[known.numpy()])
    return TaskRows(
        torch.cat(outputs), torch.cat(raw), torch.cat(labels), len(np.unique(np.concatenate(users)))
    )


def fit_weights(task: Task, head: Head, rows: TaskRows, spread: float) -> Weights:
    """The network's share of each parameter of the link: the most probable one, before calibration.

    A weight is expected around one half, with a standard deviation of 0.25 (so that few rows
    leave the plain mean), and rows speak as independent ones of as many users. With each candidate
    goes the slope and shift that calibrate it best, for calibration comes after.
    """
    n = n_weights(task.kind, head)
    if not len(rows.labels):
        return _HALF * n
    share_of_row = rows.n_users / len(rows.labels)

    def objective(x: np.ndarray) -> float:
        weights = np.clip(x[:n], 0, 1)
        calibration = Calibration(float(np.exp(np.clip(x[n], -4, 2))), float(x[n + 1]))
        outputs = mixed(task.kind, head, weights.tolist(), rows.outputs, rows.raw, spread)
        losses = mixture_losses(task, head, outputs, calibration, rows.labels)
        prior = ((weights - 0.5) ** 2).sum() / (2 * PRIOR**2)
        outside = ((x[:n] - weights) ** 2).sum()
        slope = 1e-3 * float((x[n:] ** 2).sum()) * rows.n_users
        return float(losses.double().sum()) * share_of_row + float(prior + 1e3 * outside) + slope

    with torch.inference_mode():
        optimum = minimize(
            objective,
            np.r_[np.full(n, 0.5), 0.0, 0.0],
            method="Nelder-Mead",
            options={"xatol": 1e-3, "fatol": 1e-4, "maxiter": 300,
                     "initial_simplex": _simplex(n)},
        )  # fmt: skip
    return tuple(_snapped(float(weight)) for weight in np.clip(optimum.x[:n], 0, 1))


def _simplex(n: int) -> np.ndarray:
    """Where the search begins: the plain mean, and a step along each direction."""
    start = np.r_[np.full(n, 0.5), 0.0, 0.0]
    steps = np.diag([*np.full(n, 0.3), 0.2, 0.2])
    return np.vstack([start, start + steps])


def _snapped(weight: float) -> float:
    if weight < SNAP:
        return 0.0
    return 1.0 if weight > 1 - SNAP else weight


def mixture_losses(
    task: Task, head: Head, outputs: Tensor, calibration: Calibration, labels: Tensor
) -> Tensor:
    """What a mixture is chosen by, (n,): the loss after calibration.

    Of amounts the chance that there is one is judged by its log loss, and what is expected, scaled
    to sum to what was seen, by Tweedie's deviance (power 1.5): the density of a log-normal says
    little about the mean. Its dispersion is estimated from the same rows, so that of its likelihood
    half the logarithm of the mean deviance is left, for each row.
    """
    calibrated = head.calibrated(outputs, calibration)
    if not isinstance(task.kind, ZeroInflatedLogNormal):
        return calibration_losses(head, calibrated, labels)
    chance = torch.nn.functional.binary_cross_entropy_with_logits(
        calibrated[:, 0], (labels > 0).float(), reduction="none"
    )
    expected = head.predict(outputs, Calibration())["_expected"].clamp_min(1e-6)
    expected = expected * (labels.double().sum() / expected.sum()).clamp(0.2, 5.0)
    root = torch.sqrt(expected)
    deviance = 4 * (root - torch.sqrt(labels.double())) ** 2 / root
    return chance + 0.5 * torch.log(deviance.mean().clamp_min(1e-9))
