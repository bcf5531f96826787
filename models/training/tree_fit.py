"""Fitting a task's boosted trees, on the rows and days that its network learns from.

Letters: n rows, F features, J raw scores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar

from contracts.kinds import (
    Binary,
    Count,
    Kind,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.tasks import Task
from contracts.train_config import TrainConfig
from models.data.encoders import Encoder
from models.data.label_layout import Labels
from models.data.numeric_transforms import Floats
from models.network.calibration import Calibration
from models.network.heads import Head, head_of
from models.training.task_choice import Chosen
from models.trees.links import Link, link_of
from models.trees.mixtures import mixed
from models.trees.rows import Interrupted, Rows, labelled_rows
from models.trees.task_trees import TaskTrees

AT_ONCE = max((os.cpu_count() or 1) - 1, 1)
"""Tasks whose trees are fitted at a time, which leaves a core to the network. LightGBM works
outside Python's lock; each task's trees have their own threads, so results do not change."""
ROUNDS, PATIENCE = 400, 25
"""Trees per raw score at most, and trees without a better validation loss after which it stops."""
VALID_SHARE = 0.25
"""Validation rows at most beside those that trees learn from: enough to know when to stop, and less
to hold."""
LEAF_ROWS, LEAF_SHARE = 100, 0.1
"""Rows that a leaf has at least; a share of all where they are few, so that there is a split."""
BRIEF = {"learning_rate": 0.15, "num_leaves": 4}
"""Of a multi-label task, whose boosters, one for each class, would take half of the time in which
trees score: they do as well with fewer, smaller trees."""

Targets = Sequence[tuple[Mapping[str, object], Callable[[Labels], Labels]]]
"""LightGBM's objective per booster, with settings of its own, and what it is of the labels."""


def targets_of(kind: Kind, n_classes: int = 0) -> Targets:
    """What is boosted for a kind; `n_classes` are those of a multi-label task."""
    match kind:
        case Binary():
            return [({"objective": "binary"}, _same)]
        case ZeroInflatedLogNormal():
            tweedie = {"objective": "tweedie", "tweedie_variance_power": 1.5}
            return [({"objective": "binary"}, _some), (tweedie, _same)]
        case Count():
            return [({"objective": "poisson"}, _same)]
        case Regression():
            return [({"objective": "regression"}, _same)]
        case Ordinal(levels=n):
            return [({"objective": "multiclass", "num_class": n}, _from_zero)]
        case MultiClass(classes=classes):
            return [({"objective": "multiclass", "num_class": len(classes)}, _from_zero)]
        case MultiLabel():
            return [({"objective": "binary", **BRIEF}, _column(k)) for k in range(n_classes)]
    raise TypeError(kind)


def _same(labels: Labels) -> Labels:
    return labels


def _some(labels: Labels) -> Labels:
    return (labels > 0).astype(np.float64)


def _from_zero(labels: Labels) -> Labels:
    return labels - 1


def _column(k: int) -> Callable[[Labels], Labels]:
    return lambda labels: labels[:, k]


def fit_all(
    chosen: Chosen,
    files: Sequence[str],
    encoder: Encoder,
    config: TrainConfig,
    stop: Event | None = None,
) -> dict[str, TaskTrees]:
    """Trees of every task that was chosen, fitted on its days with the network's encoder.

    At most about `twin_max_rows` training rows each and a quarter of it to stop by, sampled by a
    hash of user and day. Once `stop` is set, it ends soon.

    Raises:
        Interrupted: `stop` was set.
    """
    max_rows = config.evaluation.twin_max_rows
    samplings = {task.name: chosen.sampling_of(task, max_rows) for task in chosen.tasks}
    train = labelled_rows(files, chosen.layout, chosen.train_cuts, encoder, samplings, stop)
    cuts = chosen.cuts("valid", int(VALID_SHARE * max_rows))
    valid = labelled_rows(files, chosen.layout, cuts, encoder, None, stop)

    def fit(task: Task) -> TaskTrees:
        head = head_of(task.kind, chosen.layout.classes.get(task.name, ()))
        return fit_trees(
            task, head, train.of_task(task), valid.of_task(task), encoder.n_ids, config, stop
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        fitted = pool.map(fit, chosen.tasks)
        return dict(zip((task.name for task in chosen.tasks), fitted, strict=True))


def fit_trees(
    task: Task,
    head: Head,
    train: Rows,
    valid: Rows,
    n_ids: int,
    config: TrainConfig,
    stop: Event | None = None,
) -> TaskTrees:
    """Train on `train` and stop early on `valid`; the last `n_ids` columns are codes of categories.

    Raises:
        Interrupted: `stop` was set.
    """

    def interrupt(_: lgb.callback.CallbackEnv) -> None:
        if stop is not None and stop.is_set():
            raise Interrupted

    n_columns = train.inputs.shape[1]
    categorical = list(range(n_columns - n_ids, n_columns))
    n_classes = train.labels.shape[1] if train.labels.ndim > 1 else 0
    # Cut into bins once, for all boosters of the task.
    data = lgb.Dataset(train.inputs, weight=train.weights, categorical_feature=categorical)
    held_out = lgb.Dataset(valid.inputs, reference=data)
    texts = []
    for objective, target in targets_of(task.kind, n_classes):
        data.set_label(target(train.labels))
        held_out.set_label(target(valid.labels))
        booster = lgb.train(
            _settings(config, len(train.inputs)) | dict(objective),
            data,
            num_boost_round=ROUNDS,
            valid_sets=[held_out],
            callbacks=[interrupt, lgb.early_stopping(PATIENCE, verbose=False)],
        )
        texts.append(booster.model_to_string(num_iteration=booster.best_iteration))
    trees = TaskTrees(tuple(texts))
    link = link_of(task.kind, head)
    if link.spreads is None:
        return trees
    return TaskTrees(trees.texts, _spread(trees, head, link, valid, config.machine.threads))


def scores_of(
    task: Task, head: Head, trees: TaskTrees, inputs: Floats
) -> dict[str, npt.NDArray[np.float64]]:
    """What a task's trees alone say of `tree_inputs` (B, F), by suffix of the score columns."""
    raw = torch.from_numpy(trees.raw(inputs))
    with torch.inference_mode():
        outputs = mixed(task.kind, head, (0.0,), None, raw, trees.spread)
        scores = head.predict(outputs, Calibration())
    return {suffix: values.double().numpy() for suffix, values in scores.items()}


def _settings(config: TrainConfig, n_rows: int) -> dict[str, object]:
    """Chosen on validation days, the same for all tasks: a choice for each by its validation loss
    was no better (docs/decisions/network-and-trees.md)."""
    return {
        "learning_rate": 0.05,
        "num_leaves": 7,
        "min_data_in_leaf": max(min(LEAF_ROWS, int(LEAF_SHARE * n_rows)), 1),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": config.machine.threads,
        "seed": config.seed,
    }


def _spread(trees: TaskTrees, head: Head, link: Link, valid: Rows, threads: int) -> float:
    """The spread with which the trees' means make the validation labels most likely."""
    raw = torch.from_numpy(trees.raw(valid.inputs, threads))
    labels = torch.from_numpy(valid.labels)

    def loss(spread: float) -> float:
        with torch.inference_mode():
            return float(head.loss(link.outputs(link.of_trees(raw, spread)), labels).mean())

    return float(minimize_scalar(loss, bounds=link.spreads, method="bounded").x)
