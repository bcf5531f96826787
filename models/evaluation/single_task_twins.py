"""Single-task twins: the same network trained for one task alone. Does sharing help that task?"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.specs import TrainSpec
from models.evaluation.held_out import HeldOut, Predictions
from models.evaluation.metrics import Gain, gain_over, metrics
from models.progress import without_progress
from models.training.multi_task import fit_model
from models.training.task_choice import Chosen

_LOG = logging.getLogger(__name__)

SHARING_HELPS, NO_DIFFERENCE, TRAIN_ALONE = "sharing helps", "no difference", "train it alone"


def single_task_twins(
    spec: TrainSpec, chosen: Chosen, held_out: HeldOut, shared: Mapping[str, Predictions]
) -> dict[str, dict[str, Any]]:
    """Per task how much better the shared network is in the main metric, with its interval over
    users, and what follows from it. Twins have the rows, days and settings of the shared one,
    and begin from nothing: a champion's weights know other tasks.
    """
    twins = {}
    for task in chosen.tasks:
        folder = Path(spec.folder, "single_task", task.name)
        twin_spec = replace(spec, folder=str(folder), checkpoints=None, champion=None)
        with without_progress():
            twin = fit_model(twin_spec, chosen.only(task.name)).model
        rows, ours = held_out.tasks[task.name], shared[task.name].scores
        theirs = held_out.predictions_of(twin, spec.files)[task.name].scores
        gain = gain_over(task, rows.labels, rows.users, ours, theirs, spec.config)
        twins[task.name] = {
            "metrics": metrics(task, rows.labels, theirs),
            "gain": gain.gain,
            "low": gain.low,
            "high": gain.high,
            "verdict": verdict(gain),
        }
        _LOG.info(
            f"  {task.name:<18} beside its single-task twin: {verdict(gain)} "
            f"({gain.gain:+.4g}, {gain.low:+.4g} to {gain.high:+.4g})"
        )
        shutil.rmtree(folder, ignore_errors=True)
    return twins


def verdict(gain: Gain) -> str:
    """What the interval of the shared network's gain says."""
    if gain.low > 0:
        return SHARING_HELPS
    return TRAIN_ALONE if gain.high < 0 else NO_DIFFERENCE
