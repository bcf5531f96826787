"""Cross-validation over as-of days: the same model as it would have been learnt earlier.

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
from models.evaluation.metrics import MAIN_METRIC, gain_over, metrics
from models.evaluation.model_test import held_rows, lightgbm_scores
from models.progress import without_progress
from models.training.multi_task import choose_tasks, fit_model

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
        told = replace(
            spec, known_until=known_until, as_ofs=as_ofs, folder=str(folder), checkpoints=None
        )
        try:
            chosen = choose_tasks(told, by_user=False)
        except NightjarError as error:
            _LOG.info(f"fold {k}, as of {known_until}: {error}")
            break
        with without_progress():
            model = fit_model(told, chosen).model
        tasks: dict[str, dict[str, Any]] = {}
        cuts = chosen.cuts("test", told.config.evaluation.test_max_rows)
        held = held_rows(told.files, chosen.layout, cuts)
        said = held.said_by(model, told.files)
        for name, rows in held.tasks.items():
            (task,) = (t for t in model.tasks if t.name == name)
            ours = said[name].scores
            twin = lightgbm_scores(model, task, told.files, held.cuts[name])
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
