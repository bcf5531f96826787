"""Score every user of a day: Parquet in, Parquet out, in bounded memory.

Three passes: the network over batches, the ranks of each task over all users, the table. Between
them lie one float per user and task on disk, and one task's floats at a time in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from contracts.table import ContractError
from contracts.tables import USER_SCORES
from contracts.tasks import Task
from models.arrow import arrow_schema
from models.artifact import Model, load_model, model_id

BATCH = 8192


@dataclass(frozen=True)
class ScoreSpec:
    """What the scoring process is told."""

    files: tuple[str, ...]
    """Parquet files of `user_features`, all of one `as_of`."""
    as_of: date
    model: str
    """Folder of the artifact."""
    release_id: str
    path: str
    """The Parquet file to write."""
    scratch: str
    threads: int = 1

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> ScoreSpec:
        return ScoreSpec(
            tuple(raw["files"]),
            date.fromisoformat(raw["as_of"]),
            raw["model"],
            raw["release_id"],
            raw["path"],
            raw["scratch"],
            raw["threads"],
        )


def score(spec: ScoreSpec) -> dict[str, Any]:
    """Write one row per user; tasks that the model has not learnt are null.

    Raises:
        ContractError: a score is no number, or the files are not of the day asked for.
    """
    torch.set_num_threads(spec.threads)
    model = load_model(Path(spec.model))
    n = sum(pq.read_metadata(path).num_rows for path in spec.files)
    scratch = Path(spec.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    ranks = np.lib.format.open_memmap(
        scratch / "ranks.npy", mode="w+", dtype=np.float32, shape=(len(model.tasks), n)
    )
    parts = scratch / "scores.parquet"
    _first_pass(spec, model, ranks, parts)
    for i in range(len(model.tasks)):
        ranks[i] = percentiles(ranks[i])
    _write(spec, model, ranks, parts)
    return {
        "rows": n,
        "model_id": model_id(Path(spec.model)),
        "path": spec.path,
        "tasks": [task.name for task in model.tasks],
    }


def _first_pass(spec: ScoreSpec, model: Model, ranks: npt.NDArray[np.float32], path: Path) -> None:
    columns = [c for task in model.tasks for c in task.score_columns()[:-1]]
    schema = pa.schema(
        [USER_SCORES_SCHEMA.field("user_key"), *(USER_SCORES_SCHEMA.field(c.name) for c in columns)]
    )
    done = 0
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _feature_batches(spec):
            outputs = model.outputs(batch)
            values: dict[str, Any] = {"user_key": batch.column("user_key")}
            for i, task in enumerate(model.tasks):
                ranked = model.network.heads[task.name].rank(outputs[task.name]).numpy()
                ranks[i, done : done + len(ranked)] = ranked
            for task, scores in zip(model.tasks, model.scores(outputs).values(), strict=True):
                made = {f"score_{task.name}{suffix}": v.numpy() for suffix, v in scores.items()}
                broken = [name for name, v in made.items() if not np.isfinite(v).all()]
                if broken:
                    raise ContractError(f"{', '.join(broken)}: some scores are not finite numbers")
                values |= made
                if task.name in model.layout.classes:
                    values |= class_columns(task, model.layout.classes[task.name], values)
            writer.write_table(
                pa.Table.from_arrays(
                    [pa.array(values[f.name], f.type) for f in schema], schema=schema
                )
            )
            done += batch.num_rows


def class_columns(
    task: Task, classes: Sequence[str], values: Mapping[str, Any]
) -> dict[str, pa.Array]:
    """The columns of a multi-label task, from its probabilities (B, C)."""
    score = f"score_{task.name}"
    chances = values[f"{score}_probabilities"]
    n, width = chances.shape
    offsets = pa.array(np.arange(n + 1) * width, pa.int32())
    names = pa.array(classes, pa.string())
    each = names.take(pa.array(np.tile(np.arange(width), n)))
    return {
        f"{score}_probabilities": pa.ListArray.from_arrays(offsets, pa.array(chances.ravel())),
        f"{score}_classes": pa.ListArray.from_arrays(offsets, each),
        f"{score}_top": names.take(pa.array(chances.argmax(axis=1))),
    }


def _feature_batches(spec: ScoreSpec) -> Iterator[pa.RecordBatch]:
    for path in spec.files:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH):
            days = batch.column("as_of").unique().to_pylist()
            if days != [spec.as_of]:
                raise ContractError(
                    f"{path}: expected features as of {spec.as_of}, found "
                    + ", ".join(map(str, days))
                )
            yield batch


def percentiles(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mid-ranks over n, in (0, 1): ties share the middle of their ranks."""
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, scores, side="left")
    upto = np.searchsorted(ordered, scores, side="right")
    return ((below + upto) / (2 * len(scores))).astype(np.float32)


def _write(spec: ScoreSpec, model: Model, ranks: npt.NDArray[np.float32], parts: Path) -> None:
    learnt: Sequence[Task] = model.tasks
    constant = {
        "as_of": spec.as_of,
        "model_id": model_id(Path(spec.model)),
        "release_id": spec.release_id,
        "retrospective": model.known_until > spec.as_of,
    }
    Path(spec.path).parent.mkdir(parents=True, exist_ok=True)
    done = 0
    with pq.ParquetWriter(spec.path, USER_SCORES_SCHEMA, compression="zstd") as writer:
        for batch in pq.ParquetFile(parts).iter_batches(batch_size=BATCH):
            n = batch.num_rows
            made: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
            made |= {task.percentile: ranks[i, done : done + n] for i, task in enumerate(learnt)}
            columns = []
            for field in USER_SCORES_SCHEMA:
                if field.name in made:
                    columns.append(pa.array(made[field.name], field.type))
                else:
                    columns.append(pa.array([constant.get(field.name)] * n, field.type))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=USER_SCORES_SCHEMA))
            done += n


USER_SCORES_SCHEMA = arrow_schema(USER_SCORES)
