"""Census-Income as examples: the half that is at hand, with the pairs of tasks that are in use for
comparisons.

Rows are split by a seed: 4/6 to learn from, 1/6 to stop and choose on, 1/6 to test on. The table is
written as Parquet and goes through the same trainer as a night's examples: three days stand for
the parts.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from contracts.inputs import Inputs
from contracts.kinds import Binary
from contracts.specs import TrainSpec
from contracts.splits import Split
from contracts.tasks import Mask, Task
from contracts.train_config import TrainConfig
from models.data.label_layout import Layout
from models.evaluation.held_out import HeldOut, TaskRows
from models.training.task_choice import Chosen
from tests.bench.members import Trial
from tests.conftest import REAL_DATA

TABLE = REAL_DATA / "census_income/census-income.test.gz"
LEARN, CHOOSE, TEST, LEFT_OUT = (date(2000, 1, n) for n in (1, 2, 3, 4))
PARTS, VALID_PARTS = (LEARN,) * 4 + (CHOOSE, TEST), (LEARN,) * 3 + (CHOOSE, TEST, LEFT_OUT)
"""What each sixth of the shuffled rows is for; and when test rows are not to be looked at."""
NUMBERS = (0, 5, 16, 17, 18, 30, 39)
MONEY = (5, 16, 17, 18)
WEIGHT = 24
GROUPS = {"census_income": ("income", "never"), "census_college": ("college", "never")}
LABEL_COLUMNS = {"census_income": (7,), "census_college": (4, 7)}
COLLEGE = (
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
_NETWORK = TrainConfig().changed(
    trunk="ensemble", numbers="piecewise", members=8, width=192, depth=1, dropout=0.25,
    input_dropout=0.05, id_width=4, numeric_width=8, n_bins=32, n_values=2000, schedule="one_cycle",
    max_epochs=10, patience=10, tower_epochs=3, learning_rate=2e-3, id_learning_rate=2e-3, weight_decay=3e-4, batch_size=1024,
    precision="bfloat16", min_rows=1, wide=False,
)  # fmt: skip
SETTINGS = {
    "census_income": _NETWORK,
    "census_college": _NETWORK.changed(n_values=0, id_width=8, max_epochs=14, patience=14),
}
"""By group of tasks, chosen on validation rows of the first split."""


def trial_of(group: str, seed: int, config: TrainConfig, valid: bool, folder: Path) -> Trial:
    """One group of tasks on the split of one seed; the table is written below `folder`.

    With `valid` the sixth that validates is tested on, and another one, of those to learn from,
    validates.
    """
    path = folder / f"{group}.parquet"
    inputs = _write(group, seed, VALID_PARTS if valid else PARTS, path)
    tasks = tuple(_task_of(name) for name in GROUPS[group])
    split = Split((LEARN,), (CHOOSE,), (TEST,))
    layout, splits = Layout(tasks), {task.name: split for task in tasks}
    learned, tested = (_labels(path, day, tasks) for day in (LEARN, TEST))
    labels = {name: torch.from_numpy(values).float() for name, values in learned.items()}
    spec = TrainSpec(
        (str(path),), (LEARN, CHOOSE, TEST), TEST, 0, GROUPS[group], config, str(folder),
        inputs=inputs,
    )  # fmt: skip
    rows = {name: TaskRows(values, np.arange(len(values)), {}) for name, values in tested.items()}
    cuts = {task.name: split.cut("test") for task in tasks}
    return Trial(spec, Chosen(layout, splits, {}, labels), HeldOut(layout, cuts, rows))


def _task_of(name: str) -> Task:
    return Task(name, f"Census: {name}.", Binary(), 1, "order", Mask("everybody"), ())


def _labels(path: Path, day: date, tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """(n,) per task, of the rows of a part."""
    rows = pq.read_table(path, filters=[("as_of", "=", day)])
    return {task.name: rows.column(task.label).to_numpy().astype(np.float64) for task in tasks}


def _write(group: str, seed: int, parts: Sequence[date], path: Path) -> Inputs:
    """The table with its labels; the days say which part each row is in."""
    rows = pd.read_csv(
        io.BytesIO(gzip.decompress(TABLE.read_bytes())),
        header=None, skipinitialspace=True, keep_default_na=False,
        names=[*(f"f{i}" for i in range(41)), "class"],
    )  # fmt: skip
    n = len(rows)
    shuffled = np.random.default_rng(seed).permutation(n)
    day_of = np.empty(n, object)
    for sixth, day in enumerate(parts):
        day_of[shuffled[sixth * n // 6 : (sixth + 1) * n // 6]] = day
    used = [i for i in range(41) if i != WEIGHT and i not in LABEL_COLUMNS[group]]
    columns: dict[str, Any] = {
        "user_key": [f"{i:06d}" for i in range(n)],
        "as_of": pa.array(day_of, pa.date32()),
    }
    for i in used:
        columns[f"f{i}"] = rows[f"f{i}"].astype(float if i in NUMBERS else str)
    labels = {
        "income": rows["class"].str.strip().str.startswith("50000"),
        "never": rows.f7 == "Never married",
        "college": rows.f4.isin(COLLEGE),
    }
    for name in GROUPS[group]:
        columns[_task_of(name).label] = labels[name].astype(int)
    table = pa.table(columns).take(np.argsort(day_of, kind="stable"))
    pq.write_table(table, path, row_group_size=16_384)
    numeric = tuple((f"f{i}", "money" if i in MONEY else "ratio") for i in used if i in NUMBERS)
    return Inputs(numeric, tuple(f"f{i}" for i in used if i not in NUMBERS), False, False)


def peers_of(trial: Trial) -> dict[str, float]:
    """Per task the AUC of a LightGBM with the settings of the comparison's own script."""
    inputs, table = trial.spec.inputs, pq.read_table(trial.spec.files[0])
    x = pd.DataFrame({n: table.column(n).to_numpy().astype(float) for n, _ in inputs.numeric})
    for n in inputs.ids:
        x[n] = pd.Series(table.column(n).to_pylist()).astype("category").cat.codes + 1
    day = np.array(table.column("as_of").to_pylist())
    learn, choose, test = (day == d for d in (LEARN, CHOOSE, TEST))
    aucs = {}
    for task in trial.chosen.tasks:
        y = table.column(task.label).to_numpy()
        data = lgb.Dataset(x[learn], y[learn], categorical_feature=list(inputs.ids))
        stop = lgb.Dataset(x[choose], y[choose], reference=data)
        booster = lgb.train(
            {"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_leaves": 31,
             "min_data_in_leaf": 50, "cat_smooth": 50, "feature_fraction": 0.7,
             "bagging_fraction": 0.8, "bagging_freq": 1, "verbose": -1, "num_threads": 1},
            data, 1000, [stop], callbacks=[lgb.early_stopping(50, verbose=False)],
        )  # fmt: skip
        aucs[task.name] = float(roc_auc_score(y[test], booster.predict(x[test])))
    return aucs


def over_peer(mixture: Sequence[float], peer: Sequence[float]) -> list[float]:
    """The mean gain of the mixture over its peer, and its 95 % interval over splits (Student's t)
    where there are several."""
    gain = np.subtract(mixture, peer)
    if len(gain) == 1:
        return [float(gain[0])]
    half = t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5
    return [float(gain.mean()), float(gain.mean() - half), float(gain.mean() + half)]
