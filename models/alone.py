"""Single-task twins: the same network trained for one task alone. Does sharing help that task?"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.artifact import Model
from models.evaluate import Gain, gain_over, metrics
from models.examine import Held, as_arrays
from models.layout import Layout
from models.learn import Chosen, TrainSpec, fit_model

HELPS, SAME, ALONE = "sharing helps", "no difference", "train it alone"


def only(chosen: Chosen, name: str) -> Chosen:
    """The same days and labels of one task. It no longer stays within another."""
    (task,) = (t for t in chosen.tasks if t.name == name)
    return Chosen(
        Layout((task,), {n: c for n, c in chosen.layout.classes.items() if n == name}),
        {name: chosen.splits[name]},
        {},
        {name: chosen.labels[name]},
    )


def single_task_twins(
    spec: TrainSpec, chosen: Chosen, shared: Model, held: Mapping[str, Held]
) -> dict[str, dict[str, Any]]:
    """Per task how much better the shared network is in the main metric, with its interval over
    users, and what follows from it. Twins have the rows, days and settings of the shared one.
    """
    made = {}
    for task in chosen.tasks:
        folder = Path(spec.folder, "alone", task.name)
        told = replace(spec, folder=str(folder), checkpoints=None)
        with contextlib.redirect_stdout(io.StringIO()):
            twin = fit_model(told, only(chosen, task.name)).model
        rows = held[task.name]
        ours, theirs = (
            as_arrays(model.scores(model.outputs(rows.rows))[task.name]) for model in (shared, twin)
        )
        gain = gain_over(task, rows.labels, rows.users, ours, theirs, spec.config)
        made[task.name] = {
            "metrics": metrics(task, rows.labels, theirs),
            "gain": gain.gain,
            "low": gain.low,
            "high": gain.high,
            "verdict": verdict(gain),
        }
        print(
            f"  {task.name:<18} beside its single-task twin: {verdict(gain)} "
            f"({gain.gain:+.4g}, {gain.low:+.4g} to {gain.high:+.4g})",
            flush=True,
        )
        shutil.rmtree(folder, ignore_errors=True)
    return made


def verdict(gain: Gain) -> str:
    """What the interval of the shared network's gain says."""
    if gain.low > 0:
        return HELPS
    return ALONE if gain.high < 0 else SAME
