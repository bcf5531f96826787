"""One model's scores on features as they were and as they are known now, beside what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.kinds import Kind, MultiClass, MultiLabel, Ordinal
from contracts.specs import LateDataSpec
from contracts.tasks import TASKS, Task
from models.evaluation.metrics import Array, auc_of

SAMPLES = 400
MIN_ROWS = 50
_MIDDLE: dict[type[Kind], float] = {Ordinal: 3.0}
"""Levels above which a rating is a good one; whatever else is counted either happens or not."""


def compare_features(spec: LateDataSpec) -> dict[str, Any]:
    """The AUC of each task with an ordered score, as was and as now, and the difference.

    The AUC is of whether anything happened: a label above 0, or for ratings above the
    middle. The interval is that of a bootstrap over users, paired: both see the same users.
    """
    tasks = [task for task in TASKS if task.name in spec.tasks and _orders(task)]
    scores = [task.score_columns()[0].name for task in tasks]
    as_was, as_now = (_read(paths, ["user_key", *scores]) for paths in (spec.as_was, spec.as_now))
    labels = _read(spec.labels, ["user_key", *(task.label for task in tasks)])
    users = labels["user_key"]
    for table in (as_was, as_now):
        users = users.filter(pc.is_in(users, value_set=table["user_key"].combine_chunks()))
    users = users.combine_chunks()
    report = {}
    for task in tasks:
        label = _column(labels, users, task.label)
        known = ~np.isnan(label)
        happened = (label > _MIDDLE.get(type(task.kind), 0.0))[known].astype(float)
        if known.sum() < MIN_ROWS or happened.min() == happened.max():
            continue
        name = task.score_columns()[0].name
        was, now = (_column(table, users, name)[known] for table in (as_was, as_now))
        report[task.name] = _compared(happened, was, now)
    return report


def _compared(happened: Array, was: Array, now: Array) -> dict[str, Any]:
    """Both AUCs over users, (n,) each, and the interval of their difference."""
    of_was, of_now = auc_of(happened, was), auc_of(happened, now)
    n, rng = len(happened), np.random.default_rng(0)
    gains = []
    for _ in range(SAMPLES):
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(float)
        gains.append(of_now(weights) - of_was(weights))
    low, high = np.nanquantile(gains, [0.025, 0.975])
    once = np.ones(n)
    return {
        "users": n,
        "was": float(of_was(once)),
        "now": float(of_now(once)),
        "gain": float(of_now(once) - of_was(once)),
        "low": float(low),
        "high": float(high),
        "moved": int((was != now).sum()),
    }


def _orders(task: Task) -> bool:
    """Whether there is one score, which orders users."""
    return not isinstance(task.kind, MultiClass | MultiLabel)


def _read(paths: Sequence[str], columns: list[str]) -> pa.Table:
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])


def _column(table: pa.Table, users: pa.Array, name: str) -> Any:
    at = pc.index_in(users, value_set=table["user_key"].combine_chunks())
    return table[name].combine_chunks().take(at).cast(pa.float64()).to_numpy(zero_copy_only=False)
