"""`make bench-quality`: our one model beside a LightGBM per task, as JSON lines.

Census-Income: the half that is at hand, with the rows, tasks and seeded splits that are in use for
comparisons (4/6 to learn from, 1/6 to stop and choose on, 1/6 to test on). The table is written as
Parquet and goes through the same trainer as a night's examples: three days stand for the parts.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.metrics import roc_auc_score

from contracts.inputs import Inputs
from contracts.kinds import Binary
from contracts.specs import TrainSpec
from contracts.splits import Split
from contracts.tasks import Mask, Task
from contracts.train_config import TrainConfig
from models.data.label_layout import Layout
from models.evaluation.metrics import ece
from models.training.multi_task import fit_model
from models.training.task_choice import Chosen
from tests.conftest import REAL_DATA

LEARN, CHOOSE, TEST = (date(2000, 1, n) for n in (1, 2, 3))
NUMBERS = (0, 5, 16, 17, 18, 30, 39)
WEIGHT = 24
GROUPS = {1: ("income", "never"), 2: ("college", "never")}
LABEL_COLUMNS = {1: (7,), 2: (4, 7)}
COLLEGE = (
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
CENSUS = TrainConfig().changed(
    trunk="ensemble", numbers="piecewise", members=8, width=192, depth=1, dropout=0.25,
    input_dropout=0.05, id_width=4, numeric_width=8, n_bins=32, n_values=2000, schedule="one_cycle",
    max_epochs=10, patience=10, tower_epochs=3, learning_rate=2e-3, id_learning_rate=2e-3, weight_decay=3e-4, batch_size=1024,
    precision="bfloat16", min_rows=1, wide=False,
)  # fmt: skip
SETTINGS = {1: CENSUS, 2: CENSUS.changed(n_values=0, id_width=8, max_epochs=14, patience=14)}
"""By group of tasks, chosen on validation rows of the first split."""


def census() -> pd.DataFrame:
    raw = gzip.decompress((REAL_DATA / "census_income/census-income.test.gz").read_bytes())
    rows = pd.read_csv(io.BytesIO(raw), header=None, skipinitialspace=True, keep_default_na=False)
    rows.columns = [*(f"f{i}" for i in range(41)), "class"]
    return rows


def task_of(name: str) -> Task:
    return Task(name, f"Census: {name}.", Binary(), 1, "order", Mask("everybody"), ())


def write(rows: pd.DataFrame, group: int, seed: int, path: Path) -> Inputs:
    """The table with its labels; the days say which part each row is in."""
    n = len(rows)
    shuffled = np.random.default_rng(seed).permutation(n)
    part = np.empty(n, np.int64)
    for k, picked in enumerate(np.split(shuffled, [4 * n // 6, 5 * n // 6])):
        part[picked] = k
    used = [i for i in range(41) if i != WEIGHT and i not in LABEL_COLUMNS[group]]
    columns: dict[str, Any] = {
        "user_key": [f"{i:06d}" for i in range(n)],
        "as_of": pa.array([(LEARN, CHOOSE, TEST)[k] for k in part], pa.date32()),
    }
    for i in used:
        values = rows[f"f{i}"]
        columns[f"f{i}"] = values.astype(float) if i in NUMBERS else values.astype(str)
    labels = {
        "income": rows["class"].str.strip().str.startswith("50000"),
        "never": rows.f7 == "Never married",
        "college": rows.f4.isin(COLLEGE),
    }
    for name in GROUPS[group]:
        columns[task_of(name).label] = labels[name].astype(int)
    order = np.argsort(part, kind="stable")
    table = pa.table(columns).take(order)
    pq.write_table(table, path, row_group_size=16_384)
    money = {5, 16, 17, 18}
    numeric = tuple((f"f{i}", "money" if i in money else "ratio") for i in used if i in NUMBERS)
    ids = tuple(f"f{i}" for i in used if i not in NUMBERS)
    return Inputs(numeric, ids, events=False, text=False)


def fit_ours(
    path: Path, inputs: Inputs, names: Sequence[str], config: TrainConfig, folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores of the test rows by task, and of the validation rows."""
    tasks = tuple(task_of(name) for name in names)
    split = Split((LEARN,), (CHOOSE,), (TEST,))
    learnt = pq.read_table(path, filters=[("as_of", "=", LEARN)])
    labels = {t.name: torch.tensor(learnt.column(t.label).to_numpy()).float() for t in tasks}
    chosen = Chosen(Layout(tasks), {t.name: split for t in tasks}, {}, labels)
    spec = TrainSpec(
        (str(path),), (LEARN, CHOOSE, TEST), TEST, 0, tuple(names), config, str(folder),
        inputs=inputs,
    )  # fmt: skip
    torch.set_num_threads(config.machine.threads)
    model = fit_model(spec, chosen).model
    by_part = []
    for day in (TEST, CHOOSE):
        rows = pq.read_table(path, filters=[("as_of", "=", day)])
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for batch in rows.to_batches(max_chunksize=4096):
            for name, scores in model.scores(model.outputs(batch)).items():
                parts[name].append(scores[""].numpy())
        by_part.append({name: np.concatenate(p) for name, p in parts.items()})
    return by_part[0], by_part[1]


def fit_lightgbm(rows: pd.DataFrame, path: Path, inputs: Inputs, name: str) -> np.ndarray:
    """A single-task peer with the settings of the comparison's own script."""
    table = pq.read_table(path)
    x = pd.DataFrame({n: table.column(n).to_numpy().astype(float) for n, _ in inputs.numeric})
    for n in inputs.ids:
        values = pd.Series(table.column(n).to_pylist()).astype("category")
        x[n] = values.cat.codes + 1
    y = table.column(task_of(name).label).to_numpy()
    day = np.array(table.column("as_of").to_pylist())
    learn, choose, test = (day == d for d in (LEARN, CHOOSE, TEST))
    data = lgb.Dataset(x[learn], y[learn], categorical_feature=list(inputs.ids))
    stop = lgb.Dataset(x[choose], y[choose], reference=data)
    booster = lgb.train(
        {"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_leaves": 31,
         "min_data_in_leaf": 50, "cat_smooth": 50, "feature_fraction": 0.7,
         "bagging_fraction": 0.8, "bagging_freq": 1, "verbose": -1, "num_threads": 1},
        data, 1000, [stop], callbacks=[lgb.early_stopping(50, verbose=False)],
    )  # fmt: skip
    return np.asarray(booster.predict(x[test]))


def one(call: tuple[int, int, TrainConfig, bool, bool]) -> list[dict[str, Any]]:
    """One group of tasks and one seed."""
    group, seed, config, with_peer, with_single = call
    rows, names = census(), GROUPS[group]
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "census.parquet"
        inputs = write(rows, group, seed, path)
        table = pq.read_table(path, filters=[("as_of", "=", TEST)])
        started = time.process_time()
        ours, chosen_on = fit_ours(path, inputs, names, config.changed(seed=seed), folder / "ours")
        took = time.process_time() - started
        held = pq.read_table(path, filters=[("as_of", "=", CHOOSE)])
        for name in names:
            y = table.column(task_of(name).label).to_numpy()
            line: dict[str, Any] = {
                "data": f"census_{group}", "task": name, "seed": seed, "rows": len(y),
                "auc": roc_auc_score(y, ours[name]),
                "valid_auc": roc_auc_score(
                    held.column(task_of(name).label).to_numpy(), chosen_on[name]),
                "ece": ece(y.astype(float), ours[name].astype(float)), "cpu_seconds": took,
            }  # fmt: skip
            if with_peer:
                line["lightgbm_auc"] = roc_auc_score(y, fit_lightgbm(rows, path, inputs, name))
            if with_single:
                alone, _ = fit_ours(
                    path, inputs, [name], config.changed(seed=seed), folder / f"alone-{name}"
                )
                line["single_task_auc"] = roc_auc_score(y, alone[name])
            lines.append(line)
    return lines


def summary(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and 95 % interval over seeds (Student's t), per task."""
    from scipy.stats import t

    table = []
    for data, task in dict.fromkeys((x["data"], x["task"]) for x in lines):
        mine = [x for x in lines if (x["data"], x["task"]) == (data, task)]
        row: dict[str, Any] = {"data": data, "task": task, "seeds": len(mine)}
        for what in ("auc", "lightgbm_auc", "single_task_auc", "ece", "cpu_seconds"):
            values = np.array([x[what] for x in mine if what in x])
            if not len(values):
                continue
            row[what] = round(float(values.mean()), 5)
            if what == "auc" and "lightgbm_auc" in mine[0] and len(values) > 1:
                gain = values - np.array([x["lightgbm_auc"] for x in mine])
                half = t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5
                row |= {"gain_over_lightgbm": round(float(gain.mean()), 5),
                        "interval": [round(float(gain.mean() - half), 5),
                                     round(float(gain.mean() + half), 5)]}  # fmt: skip
        table.append(row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    parser.add_argument("--single-task", action="store_true", help="single-task twins as well")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    o = parser.parse_args()
    given = dict(x.split("=", 1) for x in o.set)
    kinds = {name: type(CENSUS.flat[name]) for name in given}
    changed = {name: kinds[name](value) for name, value in given.items()}
    if not (REAL_DATA / "census_income").is_dir():
        sys.exit(f"no census table at {REAL_DATA / 'census_income'}")
    calls = [(g, s, SETTINGS[g].changed(**changed), not o.no_peer, o.single_task)
             for g in o.groups for s in range(o.seeds)]  # fmt: skip
    lines = []
    with ProcessPoolExecutor(o.processes) as pool:
        for of_seed in pool.map(one, calls):
            lines += of_seed
            for line in of_seed:
                print(json.dumps({k: round(v, 5) if isinstance(v, float) else v
                                  for k, v in line.items()}), flush=True)  # fmt: skip
    for row in summary(lines):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
