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
from models.evaluation.metrics import auc_of

SAMPLES = 400
MIN_ROWS = 50
_MIDDLE: dict[type[Kind], float] = {Ordinal: 3.0}
"""Levels above which a rating is a good one; whatever else is counted either happens or not."""


def compare_features(spec: LateDataSpec) -> dict[str, Any]:
    """The AUC of each task with an ordered score, as was and as now, and the difference.

    What is told apart is whether anything happened: a label above 0, or for ratings above the
    middle. The interval is that of a bootstrap over users, paired: both see the same users.
    """
    asked = [task for task in TASKS if task.name in spec.tasks and _orders(task)]
    scores = [task.score_columns()[0].name for task in asked]
    tables = {
        name: _read(paths, ["user_key", *scores])
        for name, paths in (("was", spec.as_was), ("now", spec.as_now))
    }
    tables["labels"] = _read(spec.labels, ["user_key", *(task.label for task in asked)])
    users = tables["labels"]["user_key"]
    for name in ("was", "now"):
        users = users.filter(pc.is_in(users, value_set=tables[name]["user_key"].combine_chunks()))
    users = users.combine_chunks()
    made = {}
    for task in asked:
        column = task.score_columns()[0]
        labels = _column(tables["labels"], users, task.label)
        known = ~np.isnan(labels)
        middle = _MIDDLE.get(type(task.kind), 0.0)
        happened = (labels > middle)[known].astype(float)
        if known.sum() < MIN_ROWS or happened.min() == happened.max():
            continue
        was, now = (_column(tables[n], users, column.name)[known] for n in ("was", "now"))
        of_was, of_now = auc_of(happened, was), auc_of(happened, now)
        rng = np.random.default_rng(0)
        gains = []
        for _ in range(SAMPLES):
            weights = np.bincount(
                rng.integers(0, len(happened), len(happened)), minlength=len(happened)
            ).astype(float)
            gains.append(of_now(weights) - of_was(weights))
        one = np.ones(len(happened))
        low, high = np.nanquantile(gains, [0.025, 0.975])
        made[task.name] = {
            "users": int(known.sum()),
            "was": float(of_was(one)),
            "now": float(of_now(one)),
            "gain": float(of_now(one) - of_was(one)),
            "low": float(low),
            "high": float(high),
            "moved": int((was != now).sum()),
        }
    return made


def _orders(task: Task) -> bool:
    """Whether there is one score, which orders users."""
    return not isinstance(task.kind, MultiClass | MultiLabel)


def _read(paths: Sequence[str], columns: list[str]) -> pa.Table:
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])


def _column(table: pa.Table, users: pa.Array, name: str) -> Any:
    at = pc.index_in(users, value_set=table["user_key"].combine_chunks())
    return table[name].combine_chunks().take(at).cast(pa.float64()).to_numpy(zero_copy_only=False)
