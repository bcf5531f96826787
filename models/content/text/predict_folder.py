"""A folder of labelled texts in, a class number for every text out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.content.text.decisions import Decision, choose_decision
from models.content.text.examples import Texts, pooled
from models.content.text.fit import TextConfig, fit_text_model
from models.content.text.folder import LabelledTask, Part, read_tasks
from models.content.text.metrics import interval, metric_of
from models.content.text.model import TextModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A task's metric on its validation part."""

    task: str
    metric: str
    value: float
    low: float
    high: float


def predict_folder(folder: Path, out: Path, config: TextConfig) -> list[Judged]:
    """Learn from the train parts of `folder`; write `…_predictions.txt` for each file of texts.

    Raises:
        ContractError: the folder is not laid out as `models.content.text.folder` says.
    """
    tasks = read_tasks(folder)
    model = fit_tasks(tasks, config)
    judged, predicted = [], 0
    for task in tasks:
        if task.head not in model.heads:
            log.info("%s: no train part; nothing is predicted", task.name)
            continue
        decision, found = judge(model, task)
        judged += found
        for part in task.parts:
            if part.name != "train":
                _write(out, part, decision.classes(task_probabilities(model, task, part.as_texts)))
                predicted += len(part.texts)
    log.info("%d texts predicted below %s", predicted, out)
    return judged


def fit_tasks(tasks: list[LabelledTask], config: TextConfig) -> TextModel:
    """One model of all tasks that have a train part."""
    learnt = [task for task in tasks if task.examples("train") is not None]
    heads = tuple(task.head for task in learnt)
    began = time.process_time()
    train, validation = (
        pooled([found for task in learnt if (found := task.examples(part))], heads)
        for part in ("train", "val")
    )
    log.info("%d tasks, %d texts to learn from", len(heads), len(train.texts))
    model = fit_text_model(heads, train, validation, config)
    log.info("learnt in %.0f s of processor time", time.process_time() - began)
    return model


def judge(model: TextModel, task: LabelledTask) -> tuple[Decision, list[Judged]]:
    """How the task decides, and its metric, both on its validation part; without one, the most
    probable class and no metric."""
    n_classes = len(task.classes)
    held_out = task.examples("val")
    if held_out is None:
        return Decision((1.0,) * n_classes, 0.0), []
    labels, rows = held_out.of(task.head), held_out.labelled(task.head)
    probabilities = task_probabilities(model, task, held_out.texts)[rows]
    metric = metric_of(task.name)
    decision = choose_decision(metric, probabilities, labels[rows])
    classes = decision.classes(probabilities)
    value = metric.of(labels[rows], classes, n_classes)
    low, high = interval(metric, labels[rows], classes, n_classes)
    log.info("%s: validation %s %.3f (%.3f to %.3f)", task.name, metric.name, value, low, high)
    return decision, [Judged(task.name, metric.name, value, low, high)]


def task_probabilities(model: TextModel, task: LabelledTask, texts: Texts) -> NDArray[np.float32]:
    """Of a task's classes, (N, C)."""
    return model.probabilities(texts)[task.name]


def _write(out: Path, part: Part, classes: NDArray[np.int64]) -> None:
    name = part.file.name.removesuffix(".tsv.gz").removesuffix("_text.txt")
    path = out / part.file.parent / f"{name}_predictions.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{k}\n" for k in classes), "utf-8")
