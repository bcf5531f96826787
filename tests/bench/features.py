"""`python -m tests.bench.features HOME --without GLOB …`: did these features help? As JSON lines.

The newest night of HOME has left examples in its lake. Per task LightGBM, with the settings of the
twins, is fitted on all features and on all but those whose names match a glob. Both stop and are
judged on validation days, by which features are chosen: test days stay unseen. Each side's scores
are the mean of `--seeds` fits, for the luck of one fit is as large as what a feature gives. `low`
and `high` bound the gain by a bootstrap over users, and above 0 is better; the last line says how
many tasks gain and lose significantly, and the mean gain as a share of what LightGBM gains over the
constant.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.inputs import user_inputs
from contracts.specs import TrainSpec
from contracts.tasks import TASKS, Task
from contracts.train_config import TrainConfig
from models.data.encoders import Encoder
from models.evaluation.held_out import HeldOut, held_out_rows
from models.evaluation.metrics import (
    MAIN_METRIC,
    Scores,
    constant_scores,
    gain_over,
    main_metric,
)
from models.network.heads import head_of
from models.training.multi_task import fit_encoder
from models.training.task_choice import Chosen, choose_tasks
from models.training.tree_fit import fit_trees, scores_of
from models.trees.rows import LabelledRows, input_names, labelled_rows
from tests.bench.homes import examples_of

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """What a home has left to learn from, read once for all tasks."""

    config: TrainConfig
    chosen: Chosen
    encoder: Encoder
    train: LabelledRows
    valid: LabelledRows
    held_out: HeldOut

    @staticmethod
    def of(spec: TrainSpec) -> Examples:
        chosen, config = choose_tasks(spec), spec.config
        encoder = fit_encoder(spec, chosen)
        cuts = chosen.cuts("train", config.evaluation.twin_max_rows), chosen.valid_cuts
        train, valid = (labelled_rows(spec.files, chosen.layout, c, encoder) for c in cuts)
        held_out = held_out_rows(spec.files, chosen.layout, chosen.valid_cuts)
        return Examples(config, chosen, encoder, train, valid, held_out)

    def scores(self, task: Task, kept: Flags, seeds: int) -> Scores:
        """The mean of what trees of several seeds say of the validation rows, by columns kept."""
        head = head_of(task.kind, self.chosen.layout.classes.get(task.name, ()))
        n_ids = int(kept[len(kept) - self.encoder.n_ids :].sum())
        train, valid = (
            rows.of_task(task)._replace(inputs=rows.of_task(task).inputs[:, kept])
            for rows in (self.train, self.valid)
        )
        said = []
        for seed in range(seeds):
            trees = fit_trees(task, head, train, valid, n_ids, self.config.changed(seed=seed))
            said.append(scores_of(task, head, trees, valid.inputs))
        return {name: np.mean([scores[name] for scores in said], axis=0) for name in said[0]}


def compared(examples: Examples, task: Task, kept: Flags, seeds: int) -> dict[str, Any]:
    """A task with all features, and with those that are kept; `share` is the gain in units of what
    all give over the constant."""
    rows, trained_on = examples.held_out.tasks[task.name], examples.train.of_task(task).labels
    scores, seconds = [], []
    for columns in (np.ones_like(kept), kept):
        started = time.process_time()
        scores.append(examples.scores(task, columns, seeds))
        seconds.append(time.process_time() - started)
    full, less = scores
    gain = gain_over(task, rows.labels, rows.users, full, less, examples.config)
    every = np.ones(len(rows.labels))
    flat = constant_scores(task, trained_on, len(rows.labels))
    with_, without, constant = (
        main_metric(task, rows.labels, s)(every) for s in (full, less, flat)
    )
    return {
        "task": task.name, "metric": MAIN_METRIC[type(task.kind)], "with": with_,
        "without": without, "constant": constant, "gain": gain.gain, "low": gain.low,
        "high": gain.high, "share": gain.gain / abs(with_ - constant),
        "train_rows": len(trained_on), "valid_rows": len(rows.labels),
        "seconds_with": round(seconds[0], 1), "seconds_without": round(seconds[1], 1),
    }  # fmt: skip


def kept_columns(names: Sequence[str], globs: Sequence[str]) -> Flags:
    """(F,): the columns that match none of the globs.

    Raises:
        SystemExit: a glob matches nothing, and so would measure nothing.
    """
    idle = [glob for glob in globs if not any(fnmatchcase(name, glob) for name in names)]
    if idle:
        raise SystemExit(f"no feature is called like {', '.join(idle)}; docs/tables.md lists them")
    return np.array([not any(fnmatchcase(name, glob) for glob in globs) for name in names])


def summary(lines: Sequence[dict[str, Any]], n_without: int) -> dict[str, Any]:
    return {
        "tasks": len(lines),
        "features_without": n_without,
        "gain": [line["task"] for line in lines if line["low"] > 0],
        "lose": [line["task"] for line in lines if line["high"] < 0],
        "mean_share": float(np.mean([line["share"] for line in lines])),
        "seconds_with": sum(line["seconds_with"] for line in lines),
        "seconds_without": sum(line["seconds_without"] for line in lines),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--without", nargs="+", required=True, help="globs of names of features")
    parser.add_argument(
        "--content", action="store_true", help="all features, and those that tell of posts' texts"
    )
    parser.add_argument("--tasks", nargs="*", default=[t.name for t in TASKS])
    parser.add_argument("--seeds", type=int, default=3, help="fits whose scores are averaged")
    o = parser.parse_args()
    files, days, night = examples_of(o.home.absolute())
    config, inputs = TrainConfig().changed(threads=2), user_inputs(o.content)
    examples = Examples.of(
        TrainSpec(files, days, night, 2, tuple(o.tasks), config, "", inputs=inputs)
    )
    kept = kept_columns(input_names(examples.encoder), o.without)
    lines = []
    for task in examples.chosen.tasks:
        lines.append(compared(examples, task, kept, o.seeds))
        print(json.dumps(lines[-1], default=float), flush=True)
    print(json.dumps(summary(lines, int((~kept).sum()))), flush=True)


if __name__ == "__main__":
    main()
