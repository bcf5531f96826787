"""`python -m tests.bench.oracle RAW`: each task of a night on a simulated market, beside the oracle.

RAW is the folder of the raw logs with its `truth/`; the home and the key come from the settings
(`make night` and then `make oracle` for the demo's). The oracle knows each user's traits and
whether the user was awake on the day before, in closed form; the ceiling is LightGBM given the same
as features, trained on the same labels as the model was.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from contracts.kinds import Binary, Count, MultiClass, MultiLabel, Ordinal
from contracts.tables import LABELS
from contracts.tasks import Task, task_named
from contracts.train_config import TrainConfig
from flows.lake.lake import Lake
from flows.settings import read_settings
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from models.evaluation.metrics import HIGHER_IS_BETTER, MAIN_METRIC, metrics
from models.network.heads import head_of
from models.training.tree_fit import fit_trees, scores_of
from models.trees.rows import Rows

CLASSES = 12


def main() -> None:
    settings, raw = read_settings(), Path(sys.argv[1])
    receipts = Receipts(open_database(settings.receipts_url))
    night = max(receipts.days("train"))
    receipt = receipts.get("train", night)
    if receipt is None:
        raise SystemExit("no night has been trained")
    report = receipt.outputs
    files = [f.path for f in Lake(settings.home_folder.lake).files(LABELS)]
    key = settings.user_key().key
    latents = pd.read_parquet(raw / "truth/latents.parquet")
    latents["user_key"] = [
        hmac.new(key, u.encode(), hashlib.sha256).hexdigest()[:32] for u in latents["user_id"]
    ]
    labels = duckdb.read_parquet(files).df()
    print(
        "| task | metric | model | LightGBM | oracle | LightGBM with latents | model's share of its "
        "gain over the constant | oracle's AUC (main; with any) |\n|---|---|---|---|---|---|---|---|"
    )
    for name, measured in report["tasks"].items():
        task = task_named(name)
        parts = {
            part: rows_of(task, labels, latents, raw, report["splits"][name][part])
            for part in ("train", "valid", "test")
        }
        x = {part: latent_inputs(rows) for part, rows in parts.items()}
        y = {part: label_values(task, rows) for part, rows in parts.items()}
        oracle = metrics(task, y["test"], truth_scores(task, parts["test"], y["train"]))
        config = TrainConfig().changed(threads=2)
        head = head_of(task.kind, ("",) * (y["train"].shape[1] if y["train"].ndim > 1 else 0))
        train, valid = (Rows(x[part], y[part]) for part in ("train", "valid"))
        trees = fit_trees(task, head, train, valid, 0, config)
        ceiling = metrics(task, y["test"], scores_of(task, head, trees, x["test"]))
        main_ = MAIN_METRIC[type(task.kind)]
        cells = [
            measured["model"].get(main_), measured["twin"].get(main_), oracle.get(main_),
            ceiling.get(main_),
        ]  # fmt: skip
        auc = oracle["auc"] if "auc" in oracle else rank_auc(task, parts["test"], y["test"])
        print(
            f"| {name} | {main_} | "
            + " | ".join("—" if c is None else f"{c:,.4g}" for c in cells)
            + f" | {share(main_, measured, ceiling):.2f} | {auc:.3f} |",
            flush=True,
        )


def share(metric: str, measured: Mapping[str, Any], ceiling: Mapping[str, float]) -> float:
    """Of what LightGBM gains over the constant when it is given the latents, what the model gains
    without them."""
    constant = 0.5 if metric in HIGHER_IS_BETTER else measured["constant"][metric]
    return float((measured["model"][metric] - constant) / (ceiling[metric] - constant))


def rows_of(
    task: Task, labels: pd.DataFrame, latents: pd.DataFrame, raw: Path, days: list[str]
) -> pd.DataFrame:
    """Labelled users of some as-of days, with the truth of that day and their traits."""
    tables = []
    for day in days:
        mine = labels[pd.to_datetime(labels["as_of"]).dt.date == date.fromisoformat(day)]
        mine = mine[mine[task.label].notna()][["user_key", task.label]]
        truth = pd.read_parquet(raw / f"truth/as_of={day}.parquet")
        joined = mine.merge(latents, on="user_key").merge(truth, on="user_id")
        joined["days_known"] = (date.fromisoformat(day) - date(2025, 1, 1)).days
        tables.append(joined)
    return pd.concat(tables, ignore_index=True)


def latent_inputs(rows: pd.DataFrame) -> np.ndarray:
    """Traits, whether awake, and the day: all of them numbers."""
    names = [c for c in rows.columns if c.startswith(("rate_", "interest_c"))]
    names += ["leave", "wake", "mood", "basket", "ad_liking", "vulnerability", "wealth", "awake",
              "days_known"]  # fmt: skip
    return rows[names].to_numpy(np.float32)


def label_values(task: Task, rows: pd.DataFrame) -> np.ndarray:
    if isinstance(task.kind, MultiLabel):
        return np.array(
            [[float(f"c{c}" in met) for c in range(CLASSES)] for met in rows[task.label]]
        )
    return rows[task.label].to_numpy(np.float64)


def truth_scores(task: Task, rows: pd.DataFrame, train: np.ndarray) -> dict[str, np.ndarray]:
    """The truth in the shape of the task's scores."""
    match task.kind:
        case Binary():
            return {"": rows[task.name].to_numpy()}
        case Count():
            return {"_expected": rows[task.name].to_numpy()}
        case MultiClass(classes=classes):
            return {f"_is_{c}": rows[f"{task.name}_is_{c}"].to_numpy() for c in classes}
        case MultiLabel():
            return {
                "_probabilities": rows[[f"{task.name}_is_c{c}" for c in range(CLASSES)]].to_numpy()
            }
        case Ordinal(levels=levels):
            expected = rows[task.name].to_numpy()
            # Levels are not part of the truth; those of the training labels stand in.
            shares = {
                f"_is_{k}": np.full(len(rows), (train == k).mean()) for k in range(1, levels + 1)
            }
            return {"_expected": expected, **shares}
        case _:
            some = rows["purchase_30d"].to_numpy()
            return {"_probability": some, "_expected": rows[task.name].to_numpy()}


def rank_auc(task: Task, rows: pd.DataFrame, labels: np.ndarray) -> float:
    """For an ordinal task: how well the truth tells the upper half of the levels."""
    from models.evaluation.metrics import auc_of

    high = (labels > np.median(labels) - 0.5).astype(float)
    return auc_of(high, rows[task.name].to_numpy(np.float64))(np.ones(len(labels)))


if __name__ == "__main__":
    main()
