"""Cross-validation over as-of days: the same model as it would have been trained earlier.

Each fold knows labels up to an earlier midnight only, and is tested on the newest days that were
closed then (rolling origin: Tashman, 2000). No fold sees a day later than its test days.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from contracts.counts import n_of
from contracts.errors import NightjarError
from contracts.specs import TrainSpec
from models.evaluation.held_out import held_out_rows
from models.evaluation.metrics import MAIN_METRIC, gain_over, metrics
from models.progress import without_progress
from models.training.mixture_fit import fit_members, fit_mixture
from models.training.task_choice import choose_tasks

_LOG = logging.getLogger(__name__)

FOLD_DAYS = 28
"""Days between the midnights at which two folds stand."""


def cross_validate(spec: TrainSpec) -> list[dict[str, Any]]:
    """Per fold, from the newest, and task: the main metric and the gain over LightGBM.

    A fold without history enough for any task ends the row of folds.
    """
    folds = []
    for k in range(1, spec.config.evaluation.folds + 1):
        known_until = spec.known_until - timedelta(days=k * FOLD_DAYS)
        folder = Path(spec.folder, f"fold-{k}")
        as_ofs = tuple(day for day in spec.as_ofs if day < known_until)
        fold = replace(
            spec, known_until=known_until, as_ofs=as_ofs, folder=str(folder), checkpoints=None
        )
        try:
            chosen = choose_tasks(fold, by_user=False)
        except NightjarError as error:
            _LOG.info(f"fold {k}, as of {known_until}: {error}")
            break
        with without_progress():
            fitted, trees = fit_members(fold, chosen)
            mixture = fit_mixture(fitted.model, trees, fold.files, chosen)
        tasks: dict[str, dict[str, Any]] = {}
        cuts = chosen.cuts("test", fold.config.evaluation.test_max_rows)
        held_out = held_out_rows(fold.files, chosen.layout, cuts)
        predictions, twins = held_out.predictions_of_all([mixture.model, mixture.twin], fold.files)
        for task in chosen.tasks:
            name, rows = task.name, held_out.tasks[task.name]
            ours, twin = predictions[name].scores, twins[name].scores
            gain = gain_over(task, rows.labels, rows.users, ours, twin, spec.config)
            tasks[name] = {
                "value": metrics(task, rows.labels, ours).get(MAIN_METRIC[type(task.kind)]),
                "gain_over_twin": gain.gain,
            }
        shutil.rmtree(folder, ignore_errors=True)
        folds.append({"known_until": known_until.isoformat(), "tasks": tasks})
        mean = float(np.mean([t["gain_over_twin"] > 0 for t in tasks.values()]))
        _LOG.info(
            f"fold {k}, as of {known_until}: {n_of(len(tasks), 'task')}, better than LightGBM in "
            f"{mean:.0%}"
        )
    return folds
