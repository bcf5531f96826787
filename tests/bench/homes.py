"""`python -m tests.bench.homes HOME`: settings tried on the examples of a home, as JSON lines.

The newest night of HOME has left examples in its lake; the network is trained on them once per seed
as that night would, with `--set name=value …` changed, beside LightGBM twins that are trained once.
Per task the mean over seeds, and in the last line the share of what LightGBM gains over the
constant that the network gains as well (the mean over tasks), and where it is significantly worse
or better in most seeds. `--alone` trains single-task twins too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.tables import EXAMPLES
from contracts.tasks import TASKS
from flows.database import open_database
from flows.lake import Lake
from flows.receipts import Receipts
from models import examine
from models.config import TrainConfig
from models.evaluate import HIGHER_IS_BETTER
from models.learn import TrainSpec
from models.train import train


def examples_of(home: Path) -> tuple[tuple[str, ...], tuple[date, ...], date]:
    """Files of the examples, their as-of days, and the night that learnt from them last."""
    files = tuple(file.path for file in Lake(home / "lake").files(EXAMPLES))
    days: set[date] = set()
    for path in files:
        days |= set(pc.unique(pq.read_table(path, columns=["as_of"]).column(0)).to_pylist())
    receipts = Receipts(open_database(f"sqlite:///{home / 'nightjar.db'}"))
    return files, tuple(sorted(days)), max(receipts.days("train"))


def once(find: Any) -> Any:
    """Twins do not depend on the network's seed."""
    known: dict[str, Any] = {}

    def found(model: Any, task: Any, files: Any, rows: Any) -> Any:
        if task.name not in known:
            known[task.name] = find(model, task, files, rows)
        return known[task.name]

    return found


def share(found: dict[str, Any]) -> float:
    """Of what the twin gains over the constant in the main metric, how much the network gains."""
    main = found["main"]
    ours, twin = (found[who].get(main, np.nan) for who in ("model", "twin"))
    constant = 0.5 if main in HIGHER_IS_BETTER else found["constant"][main]
    return float((ours - constant) / (twin - constant))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="single-task twins as well")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    o = parser.parse_args()
    given = dict(x.split("=", 1) for x in o.set)
    base = TrainConfig()
    kinds = {name: type(getattr(base, name)) for name in given}
    config = replace(base, **{name: kinds[name](value) for name, value in given.items()})
    files, days, night = examples_of(o.home.absolute())
    examine.lightgbm_scores = once(examine.lightgbm_scores)
    reports, took = [], []
    for seed in range(o.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            spec = TrainSpec(
                files, days, night, 2, tuple(t.name for t in TASKS),
                replace(config, seed=seed), temporary, single_task_twins=o.alone,
            )  # fmt: skip
            started = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                reports.append(train(spec))
            took.append(time.process_time() - started)
    _tell(reports, given, float(np.mean(took)))


def _tell(reports: Sequence[dict[str, Any]], given: dict[str, str], seconds: float) -> None:
    lost, won, shares = [], [], []
    for name in reports[0]["tasks"]:
        found = [report["tasks"][name] for report in reports]
        main, gains = found[0]["main"], [f["gain_over_twin"] for f in found]
        lower = np.mean([g["high"] < 0 for g in gains]) > 0.5
        higher = np.mean([g["low"] > 0 for g in gains]) > 0.5
        lost += [name] if lower else []
        won += [name] if higher else []
        shares.append(np.mean([share(f) for f in found]))
        line = {
            "task": name, "metric": main, "test_rows": found[0]["test_rows"],
            "ours": np.mean([f["model"].get(main, np.nan) for f in found]),
            "lightgbm": found[0]["twin"].get(main),
            "constant": found[0]["constant"].get(main),
            "gain": np.mean([g["gain"] for g in gains]),
            "interval": [np.mean([g["low"] for g in gains]), np.mean([g["high"] for g in gains])],
            "share_of_gain": shares[-1],
        }  # fmt: skip
        if "ece" in found[0]["model"]:
            line["ece"] = np.mean([f["model"]["ece"] for f in found])
        if "single_task" in found[0]:
            line["over_single_task"] = np.mean([f["single_task"]["gain"] for f in found])
            line["verdicts"] = [f["single_task"]["verdict"] for f in found]
        print(json.dumps(line, default=float), flush=True)
    print(json.dumps({
        "settings": given, "seeds": len(reports), "tasks": len(shares),
        "share_of_gain": round(float(np.mean(shares)), 4), "worse": lost, "better": won,
        "towers_gain": np.mean([m["before"] - m["after"] for r in reports
                                for m in r["towers"].values()]),
        "cpu_seconds": round(seconds),
    }, default=float), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
