"""Score every user of a day: Parquet in, Parquet out, in bounded memory, by one process or several.

The day's rows are cut into shards, whose bounds do not depend on who scores them. Three passes: the
network over each shard, the ranks of each task over all users, the table. Between them are the
shards' scores and one float per user and task on disk, and one task's floats at a time in memory.
What is there of a shard is not made again, so that scoring goes on where it was killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from contracts.errors import ContractError
from contracts.hashes import text_hash
from contracts.specs import ScoreDay, ScoreDaysSpec
from contracts.tables import NO_MODEL, USER_SCORES
from contracts.tasks import BY_BASE_RATE, BY_MODEL, Task
from models.artifact.model import Model, load_model, model_id
from models.data.arrow_schema import arrow_schema
from models.distributed import local_rank, n_ranks, rank

BATCH = 8192
SHARD_ROWS = 262_144
"""Rows of a shard, up to the end of a row group."""


@dataclass(frozen=True)
class Shard:
    """Some row groups of the day, one after the other."""

    number: int
    groups: tuple[tuple[str, int], ...]
    rows: int

    def path_of(self, path: str) -> str:
        """Where its rows of the table go."""
        stem = Path(path)
        return (
            path if self.number == 0 else str(stem.with_name(f"{stem.stem}-{self.number}.parquet"))
        )


def shards_of(files: Sequence[str]) -> list[Shard]:
    """The day's rows in shards of about equal size; one, empty, if there are none."""
    shards: list[Shard] = []
    groups: list[tuple[str, int]] = []
    rows = 0
    for path in files:
        about = pq.read_metadata(path)
        for i in range(about.num_row_groups):
            groups.append((path, i))
            rows += about.row_group(i).num_rows
            if rows >= SHARD_ROWS:
                shards.append(Shard(len(shards), tuple(groups), rows))
                groups, rows = [], 0
    if groups or not shards:
        shards.append(Shard(len(shards), tuple(groups), rows))
    return shards


def score_days(spec: ScoreDaysSpec) -> dict[str, Any]:
    """What `score` returns of each day."""
    return {"days": [score(day) for day in spec.days]}


def score(spec: ScoreDay, model: Model | None = None) -> dict[str, Any]:
    """Write one row per user; tasks that the model was not trained for, or that are not fit to be
    published, are null or their base rate.

    With several ranks each takes its shards; all return the same. `model` stands in for loading it.

    Raises:
        ContractError: a score is no number, or the files are not of the day asked for.
    """
    torch.set_num_threads(spec.threads)
    if n_ranks() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    if model is None and spec.model is not None:
        model = load_model(Path(spec.model))
    if model is not None:
        model = model.without(spec.withheld)
    tasks = () if model is None else model.published
    if model is not None:
        model.network.to(device_of(spec.accelerator))
    shards, scratch = shards_of(spec.files), _scratch(spec)
    scratch.mkdir(parents=True, exist_ok=True)
    own_shards = shards[rank() :: n_ranks()]
    for shard in own_shards:
        if not (scratch / f"{shard.number}.done").exists():
            if model is None:
                _keys_only(spec, shard, scratch)
            else:
                _first_pass(spec, model, shard, scratch)
            (scratch / f"{shard.number}.done").touch()
    _wait()
    for i in range(rank(), len(tasks), n_ranks()):
        _rank_users(i, shards, scratch)
    _wait()
    for shard in own_shards:
        _write(spec, model, shard, scratch)
    _wait()
    return {
        "rows": sum(shard.rows for shard in shards),
        "model_id": _model_id(spec),
        "path": spec.path,
        "paths": [shard.path_of(spec.path) for shard in shards],
        "tasks": [task.name for task in tasks],
        "base_rates": [task.name for task in _by_base_rate(spec, model)],
        "withheld": {} if model is None else dict(model.withheld),
    }


def device_of(accelerator: str) -> torch.device:
    """This process's GPU where there is one and it is asked for, else the processor."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", local_rank() % torch.cuda.device_count())
    return torch.device("cpu")


def _scratch(spec: ScoreDay) -> Path:
    """A folder for just these inputs and this model."""
    about = [(path, os.path.getsize(path)) for path in spec.files]
    key = repr((about, spec.as_of, _model_id(spec), sorted(spec.withheld), BATCH, SHARD_ROWS))
    return Path(spec.scratch, text_hash(key))


def _model_id(spec: ScoreDay) -> str:
    return NO_MODEL if spec.model is None else model_id(Path(spec.model))


def _by_base_rate(spec: ScoreDay, model: Model | None) -> list[Task]:
    """Tasks whose base rate stands in for scores that are not fit to be published."""
    if model is None or spec.failed_tasks != "base_rate":
        return []
    return [t for t in model.tasks if t.name in model.withheld and t.name in model.base_rates]


def _wait() -> None:
    """Until all ranks are here."""
    if n_ranks() > 1:
        dist.barrier()


def _first_pass(spec: ScoreDay, model: Model, shard: Shard, scratch: Path) -> None:
    """The network over a shard: its scores, and the values that users are ranked by."""
    tasks = model.published
    columns = [c.name for task in tasks for c in task.score_columns()[:-1]]
    schema = pa.schema([USER_SCORES_SCHEMA.field(name) for name in ("user_key", *columns)])
    ranking_values = np.empty((len(tasks), shard.rows), np.float32)
    done = 0
    # What is between the passes is read once and soon: it is not worth compressing.
    with pq.ParquetWriter(
        scratch / f"{shard.number}.parquet", schema, compression="none", use_dictionary=False
    ) as writer:
        for batch in _feature_batches(spec, shard):
            outputs = model.outputs(batch)
            values: dict[str, Any] = {"user_key": batch.column("user_key")}
            for i, task in enumerate(tasks):
                ranked = model.network.heads[task.name].rank(outputs[task.name]).numpy()
                ranking_values[i, done : done + len(ranked)] = ranked
            scores = model.scores(outputs)
            for task in tasks:
                columns_of_task = {
                    f"score_{task.name}{suffix}": v.numpy()
                    for suffix, v in scores[task.name].items()
                }
                broken = [name for name, v in columns_of_task.items() if not np.isfinite(v).all()]
                if broken:
                    raise ContractError(f"{', '.join(broken)}: some scores are not finite numbers")
                values |= columns_of_task
                if task.name in model.layout.classes:
                    values |= class_columns(task, model.layout.classes[task.name], values)
            writer.write_table(
                pa.Table.from_arrays(
                    [pa.array(values[f.name], f.type) for f in schema], schema=schema
                )
            )
            done += batch.num_rows
    np.save(scratch / f"{shard.number}.ranks.npy", ranking_values)


def _keys_only(spec: ScoreDay, shard: Shard, scratch: Path) -> None:
    """The users of a shard whom no model scores."""
    schema = pa.schema([USER_SCORES_SCHEMA.field("user_key")])
    with pq.ParquetWriter(scratch / f"{shard.number}.parquet", schema) as writer:
        for batch in _feature_batches(spec, shard, ["user_key", "as_of"]):
            writer.write_table(pa.Table.from_arrays([batch.column("user_key")], schema=schema))


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


def _feature_batches(
    spec: ScoreDay, shard: Shard, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    for path in dict.fromkeys(path for path, _ in shard.groups):
        groups = [i for of, i in shard.groups if of == path]
        batches = pq.ParquetFile(path).iter_batches(
            BATCH, row_groups=groups, columns=columns, use_threads=False
        )
        for batch in batches:
            days = batch.column("as_of").unique().to_pylist()
            if days != [spec.as_of]:
                raise ContractError(
                    f"{path}: expected features as of {spec.as_of}, found "
                    + ", ".join(map(str, days))
                )
            yield batch


def _rank_users(i: int, shards: Sequence[Shard], scratch: Path) -> None:
    """Percentiles of one task over the users of all shards."""
    parts = [np.load(scratch / f"{s.number}.ranks.npy", mmap_mode="r")[i] for s in shards]
    np.save(scratch / f"percentiles-{i}.npy", percentiles(np.concatenate(parts)))


def percentiles(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mid-ranks over n, in (0, 1): ties share the middle of their ranks."""
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(scores)]
    mid_ranks = np.empty(len(scores), np.float32)
    mid_ranks[order] = np.repeat((starts + ends) / (2 * len(scores)), ends - starts)
    return mid_ranks


def _write(spec: ScoreDay, model: Model | None, shard: Shard, scratch: Path) -> None:
    """A shard's rows of the table."""
    tasks: Sequence[Task] = () if model is None else model.published
    constant = {
        "as_of": spec.as_of,
        "model_id": _model_id(spec),
        "release_id": spec.release_id,
        "retrospective": model is not None and model.known_until > spec.as_of,
        **{task.method: BY_MODEL for task in tasks},
    }
    if model is not None:
        for task in _by_base_rate(spec, model):
            constant |= base_rate_columns(task, model)
    percentiles_of = [
        np.load(scratch / f"percentiles-{i}.npy", mmap_mode="r") for i in range(len(tasks))
    ]
    path = shard.path_of(spec.path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    done = sum(s.rows for s in shards_of(spec.files)[: shard.number])
    with pq.ParquetWriter(path, USER_SCORES_SCHEMA, compression="zstd") as writer:
        for batch in pq.ParquetFile(scratch / f"{shard.number}.parquet").iter_batches(BATCH):
            n = batch.num_rows
            values: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
            values |= {
                t.percentile: r[done : done + n] for t, r in zip(tasks, percentiles_of, strict=True)
            }
            columns = []
            for field in USER_SCORES_SCHEMA:
                if field.name in values:
                    columns.append(pa.array(values[field.name], field.type))
                elif constant.get(field.name) is None:
                    columns.append(pa.nulls(n, field.type))
                else:
                    columns.append(pa.repeat(pa.scalar(constant[field.name], field.type), n))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=USER_SCORES_SCHEMA))
            done += n


def base_rate_columns(task: Task, model: Model) -> dict[str, Any]:
    """The columns of a task that are its base rate, marked as such. It ranks nobody: there is no
    percentile."""
    score, rates = f"score_{task.name}", model.base_rates[task.name]
    values = {f"{score}{suffix}": value for suffix, value in rates.items()} | {
        task.method: BY_BASE_RATE
    }
    if task.name in model.layout.classes:
        classes, chances = model.layout.classes[task.name], rates["_probabilities"]
        values[f"{score}_classes"] = list(classes)
        values[f"{score}_top"] = classes[int(np.argmax(chances))]
    return values


USER_SCORES_SCHEMA = arrow_schema(USER_SCORES)
