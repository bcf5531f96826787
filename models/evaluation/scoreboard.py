"""How the scores of a past day did against what then happened, per task and segment.

Letters: n users with a label, C classes of a multi-label task.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.kinds import Binary, MultiClass, MultiLabel
from contracts.segments import ALL
from contracts.specs import ScoreboardDay, ScoreboardSpec
from contracts.splits import Cut
from contracts.tasks import Task, task_named
from models.data.label_layout import Layout, as_numpy, labelled, task_labels
from models.evaluation.calibration_error import Array, ece
from models.evaluation.metrics import MAIN_METRIC, Scores, main_metric
from models.evaluation.segments import SEEN, SEGMENT_ROWS, segments_of


def compare_days(spec: ScoreboardSpec) -> dict[str, Any]:
    """Rows of the table `scoreboard` for each day of the spec.

    Scores of a model that saw labels from after the day (`retrospective`) say nothing and make no
    row. One task is in memory at a time.
    """
    return {"days": [_day(day) for day in spec.days]}


def _day(day: ScoreboardDay) -> list[dict[str, Any]]:
    as_of = day.as_of
    keys = _read(day.scores, ["user_key", "retrospective", "model_id", "release_id"], as_of)
    keys = keys.filter(pc.invert(keys["retrospective"]))
    if not keys.num_rows:
        return []
    users = keys["user_key"].combine_chunks()
    seen = _of_users(users, _read(day.features, ["user_key", *SEEN], as_of))
    named = {name: keys[name][0].as_py() for name in ("model_id", "release_id")}
    rows = []
    for name in day.tasks:
        task = task_named(name)
        columns = [c.name for c in task.score_columns()]
        scores = _of_users(users, _read(day.scores, ["user_key", *columns], as_of))
        labels = _of_users(users, _read(day.labels, ["user_key", task.label], as_of))
        rows += [
            {"as_of": as_of.isoformat(), "task": name, **named, **row}
            for row in _task_rows(task, as_of, scores, labels, seen)
        ]
    return rows


def _task_rows(
    task: Task, as_of: date, scores: pa.Table, labels: pa.Table, seen: pa.Table
) -> list[dict[str, Any]]:
    """A row per segment that has enough users with a label and a score."""
    answered = pc.and_(
        pc.is_valid(labels[task.label]), pc.is_valid(scores[task.score_columns()[0].name])
    )
    scores, labels, seen = (t.filter(answered) for t in (scores, labels, seen))
    if labels.num_rows < SEGMENT_ROWS:
        return []
    predicted = _scores(task, scores)
    truth = _labels(task, as_of, labels, scores)
    known = labelled(truth)
    rows = []
    for segment, in_segment in {ALL: np.ones(len(known), dtype=bool), **segments_of(seen)}.items():
        picked = in_segment & known
        if picked.sum() >= SEGMENT_ROWS:
            kept = {suffix: values[picked] for suffix, values in predicted.items()}
            rows.append({"segment": segment, **compared(task, truth[picked], kept)})
    return rows


def compared(task: Task, labels: Array, scores: Scores) -> dict[str, Any]:
    """What (n,) or (n, C) labels say of scores: the main metric, and what was predicted on average
    beside what happened, with the standard error of their difference."""
    n = len(labels)
    value = main_metric(task, labels, scores)(np.ones(n))
    row: dict[str, Any] = {
        "n_users": n,
        "metric": MAIN_METRIC[type(task.kind)],
        "value": value if np.isfinite(value) else None,
        "mean_predicted": None,
        "mean_observed": None,
        "standard_error": None,
        "calibration_error": ece(labels, scores[""]) if isinstance(task.kind, Binary) else None,
    }
    if isinstance(task.kind, MultiClass):
        return row  # classes have no mean
    if isinstance(task.kind, MultiLabel):
        expected, observed = scores["_probabilities"].sum(axis=1), labels.sum(axis=1)
    else:
        expected, observed = scores.get("_expected", scores.get("")), labels
    row |= {
        "mean_predicted": float(expected.mean()),
        "mean_observed": float(observed.mean()),
        "standard_error": float(np.std(expected - observed) / np.sqrt(n)),
    }
    return row


def _scores(task: Task, rows: pa.Table) -> dict[str, Array]:
    """Score columns by suffix, (n,) or (n, C)."""
    by_suffix = {}
    for column in task.score_columns():
        suffix = column.name.removeprefix(f"score_{task.name}")
        if column.type == "array<float>":
            numbers = rows[column.name].combine_chunks().flatten()
            by_suffix[suffix] = as_numpy(numbers).astype(np.float64).reshape(rows.num_rows, -1)
        elif column.is_float and column.name != task.percentile:
            by_suffix[suffix] = as_numpy(rows[column.name].cast(pa.float64()))
    return by_suffix


def _labels(task: Task, as_of: date, labels: pa.Table, scores: pa.Table) -> npt.NDArray[Any]:
    """(n,), or (n, C) in the order of the classes that the scores know."""
    classes = {}
    if isinstance(task.kind, MultiLabel):
        classes[task.name] = tuple(scores[f"score_{task.name}_classes"][0].as_py())
    layout = Layout((task,), classes)
    days = pa.array([as_of] * labels.num_rows, pa.date32())
    counted = layout.counted(labels.append_column("as_of", days), {task.name: Cut((as_of,))})
    return task_labels(counted, layout.slices[task.name])


def _read(paths: Sequence[str], columns: Sequence[str], as_of: date) -> pa.Table:
    """Columns of the files, of the rows of the day."""
    if "as_of" not in columns:
        columns = [*columns, "as_of"]
    table = pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])
    return table.filter(pc.equal(table["as_of"], pa.scalar(as_of, pa.date32()))).drop(["as_of"])


def _of_users(users: pa.Array, table: pa.Table) -> pa.Table:
    """The rows of `users`, in their order; null where the table does not know one."""
    at = pc.index_in(users, value_set=table["user_key"].combine_chunks())
    return table.drop(["user_key"]).take(at)
