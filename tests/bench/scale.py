"""`python -m tests.bench.scale HOME`: a training on many users, as JSON: peak memory, and seconds.

The examples of HOME's newest night are written again and again under other user keys until there
are `--users` of them on each day, and one model is trained on them within `--minutes`, in a process
of its own, whose largest resident set is what is printed. `--set max_epochs=1 tower_epochs=0` trains
no longer than memory needs.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.specs import TrainSpec
from contracts.tasks import TASKS
from contracts.train_config import TrainConfig
from models.train import train
from models.training import tree_fit
from tests.bench.homes import examples_of
from tests.bench.members import settings_of


def multiplied(files: Sequence[str], n_users: int, folder: Path) -> tuple[str, ...]:
    """The files' rows, as often as makes `n_users` users a day, each time under other keys."""
    written = []
    for i, path in enumerate(files):
        rows = pq.read_table(path)
        copies = max(round(n_users / max(_per_day(rows), 1)), 1)
        place = rows.schema.get_field_index("user_key")
        rest = pc.utf8_slice_codeunits(rows.column("user_key"), 6)
        target = folder / f"{i:04d}.parquet"
        with pq.ParquetWriter(target, rows.schema, compression="zstd") as writer:
            for k in range(copies):
                prefix = pa.array([f"{k:06x}"] * rows.num_rows)
                keys = pc.binary_join_element_wise(prefix, rest, "").cast(
                    rows.schema.field(place).type
                )
                writer.write_table(rows.set_column(place, rows.schema.field(place), keys))
        written.append(str(target))
    return tuple(written)


def _per_day(rows: pa.Table) -> int:
    return max(entry["counts"] for entry in pc.value_counts(rows.column("as_of")).to_pylist())


def trained(spec: TrainSpec, rounds: int) -> dict[str, Any]:
    """What a training came to, and the largest resident set of its process."""
    tree_fit.ROUNDS = rounds
    started, worked = time.monotonic(), time.process_time()
    report = train(spec)
    return {
        "budget": report["budget"],
        "epochs": len(report["history"]),
        "tasks": len(report["tasks"]),
        "seconds_training": report["seconds_training"],
        "seconds_testing": report["seconds_testing"],
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=tree_fit.ROUNDS,
                        help="trees at most; memory does not depend on it")  # fmt: skip
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    o = parser.parse_args()
    files, days, night = examples_of(o.home.absolute())
    given = {"minutes": o.minutes, "single_task_twins": "never"} | settings_of(o.set)
    config = TrainConfig().changed(**given)
    names = tuple(task.name for task in TASKS)
    with tempfile.TemporaryDirectory() as temporary:
        spec = TrainSpec(files, days, night, 2, names, config, str(Path(temporary, "model")))
        many = multiplied(files, o.users, Path(temporary))
        line = {"users": o.users, "days": len(days), "rows": _rows(many), "bytes": _bytes(many)}
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            report = process.submit(trained, replace(spec, files=many), o.rounds).result()
        print(json.dumps(line | report))


def _rows(files: Sequence[str]) -> int:
    return sum(pq.read_metadata(path).num_rows for path in files)


def _bytes(files: Sequence[str]) -> int:
    return sum(Path(path).stat().st_size for path in files)


if __name__ == "__main__":
    main()
