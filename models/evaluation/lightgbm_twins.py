"""A LightGBM twin of every task, on the same rows: what the network is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.kinds import (
    Binary,
    Count,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.tasks import Task
from contracts.train_config import TrainConfig
from models.data.batches import read_batches
from models.data.encoders import Encoder
from models.data.label_layout import Cuts, Layout, labelled, task_labels
from models.data.numeric_transforms import Floats, numeric_values
from models.data.row_hashes import row_hashes
from models.evaluation.metrics import Array, Scores

Hashes = npt.NDArray[np.uint64]
Rows = tuple[Floats, Array]
"""Inputs (n, F + I) and labels, (n,) or (n, C), of one task."""


def twin_rows(
    files: Sequence[str], layout: Layout, cuts: Cuts, encoder: Encoder, max_rows: int | None
) -> Rows:
    """The labelled rows of the layout's one task: numeric features as they are, ids as codes.

    With `max_rows`, a sample by the hash of user and day, the same whatever the order of rows.
    """
    (task,) = layout.tasks
    inputs: list[Floats] = []
    labels: list[Array] = []
    hashes: list[Hashes] = []
    columns = ("user_key", "as_of", *encoder.inputs.flat, task.label)
    for batch in read_batches(files, cuts[task.name].days, columns):
        label = task_labels(layout.counted(batch, cuts), layout.slices[task.name])
        known = labelled(label)
        kept = batch.filter(pa.array(known))
        inputs.append(
            np.concatenate(
                [
                    numeric_values(kept, encoder.inputs),
                    encoder.codes(kept),
                ],
                axis=1,
            ).astype(np.float32)
        )
        labels.append(label[known])
        hashes.append(row_hashes(kept))
        if max_rows is not None and sum(map(len, labels)) > 2 * max_rows:
            inputs, labels, hashes = _sample(inputs, labels, hashes, max_rows)
    if max_rows is not None and labels:
        inputs, labels, hashes = _sample(inputs, labels, hashes, max_rows)
    return np.concatenate(inputs), np.concatenate(labels)


def _sample(
    inputs: list[Floats], labels: list[Array], hashes: list[Hashes], n: int
) -> tuple[list[Floats], list[Array], list[Hashes]]:
    x, y, h = np.concatenate(inputs), np.concatenate(labels), np.concatenate(hashes)
    kept = np.sort(np.argsort(h, kind="stable")[:n])
    return [x[kept]], [y[kept]], [h[kept]]


def twin_scores(
    task: Task, train: Rows, valid: Rows, test: Floats, n_ids: int, config: TrainConfig
) -> Scores:
    """Train on `train`, stop on `valid`, and score the rows of `test`, as the task's head would.

    The last `n_ids` columns are codes of categories.
    """
    fit = _Booster(train, valid, test, n_ids, config)
    y, y_valid = train[1], valid[1]
    match task.kind:
        case Binary():
            return {"": fit({"objective": "binary"}, y, y_valid)}
        case ZeroInflatedLogNormal():
            some = (y > 0).astype(np.float64), (y_valid > 0).astype(np.float64)
            tweedie = {"objective": "tweedie", "tweedie_variance_power": 1.5}
            return {
                "_probability": fit({"objective": "binary"}, *some),
                "_expected": fit(tweedie, y, y_valid),
            }
        case Count():
            return {"_expected": fit({"objective": "poisson"}, y, y_valid)}
        case Regression():
            return {"_expected": fit({"objective": "regression"}, y, y_valid)}
        case Ordinal(levels=levels):
            chances = fit({"objective": "multiclass", "num_class": levels}, y - 1, y_valid - 1)
            return {
                "_expected": chances @ np.arange(1, levels + 1),
                **{f"_is_{k + 1}": chances[:, k] for k in range(levels)},
            }
        case MultiClass(classes=classes):
            n = len(classes)
            chances = fit({"objective": "multiclass", "num_class": n}, y - 1, y_valid - 1)
            return {f"_is_{name}": chances[:, k] for k, name in enumerate(classes)}
        case MultiLabel():
            columns = [
                fit({"objective": "binary"}, y[:, k], y_valid[:, k]) for k in range(y.shape[1])
            ]
            return {"_probabilities": np.stack(columns, axis=1)}


class _Booster:
    """Trains boosted trees on the same rows for one target after the other."""

    def __init__(self, train: Rows, valid: Rows, test: Floats, n_ids: int, config: TrainConfig):
        self._train, self._valid, self._test = train[0], valid[0], test
        n_columns = train[0].shape[1]
        self._categorical = list(range(n_columns - n_ids, n_columns))
        self._settings = {
            "learning_rate": 0.05,
            "num_leaves": 15,
            "min_data_in_leaf": 40,
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

    def __call__(
        self, objective: Mapping[str, object], target: Array, valid_target: Array
    ) -> Array:
        """What it predicts of the test rows."""
        data = lgb.Dataset(
            self._train, target, categorical_feature=self._categorical, free_raw_data=False
        )
        booster = lgb.train(
            {**self._settings, **objective},
            data,
            num_boost_round=400,
            valid_sets=[lgb.Dataset(self._valid, valid_target, reference=data)],
            callbacks=[lgb.early_stopping(25, verbose=False)],
        )
        return np.asarray(booster.predict(self._test), np.float64)
