"""`python -m tests.bench.homes HOME`: the network beside LightGBM on a home's examples, as JSON lines.

The newest night of HOME has left examples in its lake; the network is trained on them once per seed
as that night would, with `--set name=value …` changed, beside its LightGBM twins and their mixture.
Per task the mean over seeds, and in the last line the share of what LightGBM gains over the
constant that the network gains as well, and where it is significantly worse or better in most seeds.
`--alone` trains single-task twins too.

Settings are chosen with `--valid`: all is then judged on validation days, on which network and twin
both stop, and test days stay unseen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.specs import TrainSpec
from contracts.splits import Cut
from contracts.tables import EXAMPLES
from contracts.tasks import TASKS, Task
from contracts.train_config import TrainConfig
from flows.lake.lake import Lake
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from models.data.batches import read_batches
from models.data.label_layout import Layout, labelled, task_labels
from models.evaluation.held_out import as_arrays
from models.evaluation.metrics import HIGHER_IS_BETTER, Array, Scores, constant_scores, main_metric
from models.network.heads import head_of
from models.train import train
from models.training.multi_task import fit_encoder, fit_model
from models.training.task_choice import Chosen, choose_tasks
from models.training.tree_fit import fit_all, scores_of
from models.trees.rows import labelled_rows

SHARES = (0.0, 1.5)
"""Bounds of a task's share in the mean: one of a twin that gains next to nothing says nothing."""


def examples_of(home: Path) -> tuple[tuple[str, ...], tuple[date, ...], date]:
    """Files of the examples, their as-of days, and the night that trained on them last."""
    files = tuple(file.path for file in Lake(home / "lake").files(EXAMPLES))
    days: set[date] = set()
    for path in files:
        days |= set(pc.unique(pq.read_table(path, columns=["as_of"]).column(0)).to_pylist())
    receipts = Receipts(open_database(f"sqlite:///{home / 'nightjar.db'}"))
    return files, tuple(sorted(days)), max(receipts.days("train"))


def share(measured: dict[str, Any]) -> float:
    """Of what the twin gains over the constant in the main metric, how much the network gains."""
    main = measured["main"]
    ours, twin = (measured[who].get(main, np.nan) for who in ("model", "twin"))
    constant = 0.5 if main in HIGHER_IS_BETTER else measured["constant"][main]
    return float((ours - constant) / (twin - constant))


def read(name: str, value: str) -> Any:
    """A setting as its type wants it."""
    kind = type(TrainConfig().flat[name])
    return value == "true" if kind is bool else kind(value)


def share_on(task: Task, labels: Array, ours: Scores, twin: Scores, flat: Scores) -> float:
    """The same of scores of some rows."""
    mine, other, none = (
        main_metric(task, labels, scores)(np.ones(len(labels))) for scores in (ours, twin, flat)
    )
    return (mine - none) / (other - none)


def rows_of(spec: TrainSpec, layout: Layout, task: Task, cut: Cut) -> Any:
    """The labelled rows of a cut, and their labels."""
    tables, labels = [], []
    only, cuts = layout.only(task), {task.name: cut}
    for batch in read_batches(spec.files, cut.days):
        of_task = task_labels(only.counted(batch, cuts), only.slices[task.name])
        tables.append(pa.Table.from_batches([batch.filter(pa.array(labelled(of_task)))]))
        labels.append(of_task[labelled(of_task)])
    return pa.concat_tables(tables), np.concatenate(labels)


def twins_of(spec: TrainSpec, chosen: Chosen) -> dict[str, Scores]:
    """What the twins say of the validation rows."""
    encoder = fit_encoder(spec, chosen)
    trees = fit_all(chosen, spec.files, encoder, spec.config)
    rows = labelled_rows(spec.files, chosen.layout, chosen.valid_cuts, encoder)
    return {
        task.name: scores_of(
            task,
            head_of(task.kind, chosen.layout.classes.get(task.name, ())),
            trees[task.name],
            rows.of_task(task).inputs,
        )
        for task in chosen.tasks
    }


def judged_on_validation_days(spec: TrainSpec, given: dict[str, str], seeds: int) -> None:
    """One line: the share of the twins' gain per task, its mean and median; and the same of all
    seeds' mean score, which is what a network that said what all of them say would have."""
    chosen = choose_tasks(spec)
    twins = twins_of(spec, chosen)
    said: dict[str, list[Scores]] = {task.name: [] for task in chosen.tasks}
    rows = {
        t.name: rows_of(spec, chosen.layout, t, chosen.splits[t.name].cut("valid"))
        for t in chosen.tasks
    }
    took = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as temporary:
            seeded = replace(spec, config=spec.config.changed(seed=seed), folder=temporary)
            started = time.process_time()
            model = fit_model(seeded, chosen).model
            took.append(time.process_time() - started)
        for task in chosen.tasks:
            scores = model.scores(model.outputs(rows[task.name][0]))
            said[task.name].append(as_arrays(scores[task.name]))
    each, together = {}, {}
    for task in chosen.tasks:
        labels, of = rows[task.name][1], said[task.name]
        flat = constant_scores(task, chosen.labels[task.name].double().numpy(), len(labels))
        mean = {name: np.mean([scores[name] for scores in of], axis=0) for name in of[0]}
        shares = [share_on(task, labels, scores, twins[task.name], flat) for scores in (*of, mean)]
        each[task.name], together[task.name] = float(np.mean(shares[:-1])), shares[-1]
    print(json.dumps({
        "judged_on": "validation days", "settings": given, "seeds": seeds,
        **{f"{how}{what}": round(float(f(list(by_task.values()))), 4)
           for what, by_task in (("", each), ("_of_mean_score", together))
           for how, f in (("share", lambda x: np.mean(np.clip(x, *SHARES))), ("median", np.median))},
        "tasks": {name: round(value, 3) for name, value in each.items()},
        "cpu_seconds": round(float(np.mean(took))),
    }), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="single-task twins as well")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    parser.add_argument("--valid", action="store_true", help="validation days, to choose by")
    o = parser.parse_args()
    given = dict(x.split("=", 1) for x in o.set)
    config = TrainConfig().changed(**{name: read(name, value) for name, value in given.items()})
    files, days, night = examples_of(o.home.absolute())
    spec = TrainSpec(files, days, night, 2, tuple(t.name for t in TASKS), config, "")
    if o.valid:
        judged_on_validation_days(spec, given, o.seeds)
        return
    reports, took = [], []
    for seed in range(o.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            seeded = replace(
                spec, config=config.changed(seed=seed), folder=temporary, single_task_twins=o.alone
            )
            started = time.process_time()
            reports.append(train(seeded))
            took.append(time.process_time() - started)
    _tell(o.home.name, reports, given, float(np.mean(took)))


def _tell(
    data: str, reports: Sequence[dict[str, Any]], given: dict[str, str], seconds: float
) -> None:
    """A line per task, means over seeds: `low` and `high` bound the gain of the mixture over the
    twin in the main metric, above 0 is better; `share` is of the twin's gain over the constant."""
    lost, won, shares = [], [], []
    for name in reports[0]["tasks"]:
        measured = [report["tasks"][name] for report in reports]
        main, gains = measured[0]["main"], [f["gain_over_twin"] for f in measured]
        low, high = (float(np.mean([g[end] for g in gains])) for end in ("low", "high"))
        lost += [name] if high < 0 else []
        won += [name] if low > 0 else []
        shares.append(np.mean([share(f) for f in measured]))
        line: dict[str, Any] = {"data": data, "task": name, "metric": main}
        for column, of in (("network", "network"), ("twin", "twin"), ("mixture", "model"),
                           ("constant", "constant")):  # fmt: skip
            line[column] = np.mean([f[of].get(main, np.nan) for f in measured])
        line |= {
            "low": low, "high": high, "share": shares[-1], "seeds": len(reports),
            "network_share": np.mean([f["network_shares"] for f in measured]),
            "test_rows": measured[0]["test_rows"],
        }  # fmt: skip
        if "ece" in measured[0]["model"]:
            line["ece"] = np.mean([f["model"]["ece"] for f in measured])
        if "single_task" in measured[0]:
            line["over_single_task"] = np.mean([f["single_task"]["gain"] for f in measured])
            line["verdicts"] = [f["single_task"]["verdict"] for f in measured]
        print(json.dumps(line, default=float), flush=True)
    print(json.dumps({
        "data": data, "settings": given, "seeds": len(reports), "tasks": len(shares),
        "mean_share": round(float(np.mean(np.clip(shares, *SHARES))), 4),
        "median_share": round(float(np.median(shares)), 4), "behind": lost, "ahead": won,
        "towers_gain": np.mean([m["before"] - m["after"] for r in reports
                                for m in r["towers"].values()]),
        "cpu_seconds": round(seconds),
    }, default=float), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
