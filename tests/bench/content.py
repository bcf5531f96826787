"""`make bench-content`: how well labelled texts are classified, and how fast, as JSON lines.

The text model learns from the train parts of a folder of tasks
([docs/content.md](../../docs/content.md)) and is calibrated on the validation parts. Each part with
labels that it did not learn from has a line per task and model (`default` is the mean of all
members, the others are members alone): the task's official metric with 95 % by bootstrap over
texts (`low`, `high`), and texts that the model scores in a second of processor time. How far rare
classes are preferred is chosen on the validation part, whose own figures are therefore too good by
a little. A line of the part `train` has the seconds that learning takes, and texts of all passes in
one of them. `published` are results of others on the test parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.content.encoders.text_encoder import load_text_encoder
from models.content.text.decisions import Decision, choose_decision
from models.content.text.examples import Texts
from models.content.text.fit import TextConfig
from models.content.text.folder import LabelledTask, read_tasks
from models.content.text.metrics import interval, metric_of
from models.content.text.model import TextModel
from models.content.text.predict_folder import fit_tasks, task_probabilities
from tests.bench.lines import print_figures
from tests.conftest import REAL_DATA

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "SVM": {"emoji": 29.3, "emotion": 64.7, "hate": 36.7, "irony": 61.7, "offensive": 52.3,
            "sentiment": 62.9, "stance": 67.3},
    "FastText": {"emoji": 25.8, "emotion": 65.2, "hate": 50.6, "irony": 63.1, "offensive": 73.4,
                 "sentiment": 62.9, "stance": 65.4},
    "RoBERTa-base": {"emoji": 30.9, "emotion": 76.1, "hate": 46.6, "irony": 59.7,
                     "offensive": 79.5, "sentiment": 71.3, "stance": 68.0},
    "BERTweet": {"emoji": 33.4, "emotion": 79.3, "hate": 56.4, "irony": 82.1, "offensive": 79.5,
                 "sentiment": 73.4, "stance": 71.2},
}  # fmt: skip
"""In percent, from the leaderboard of TweetEval (Barbieri et al. 2020)."""
N_TIMED = 2048
"""Texts that are scored for a model's speed."""


def bench(folder: Path, config: TextConfig) -> Iterator[dict[str, Any]]:
    """Lines of all models that are fitted on a folder of tasks."""
    tasks = read_tasks(folder)
    began = time.process_time()
    model = fit_tasks(tasks, config)
    seconds = time.process_time() - began
    tasks = [task for task in tasks if task.head in model.heads]
    learnt = [found for task in tasks if (found := task.examples("train"))]
    n_read = sum(len(part.texts) for part in learnt) * config.cnn.n_passes
    yield {
        "task": "all", "part": "train", "model": "default", "metric": "cpu_seconds",
        "value": seconds, "texts_per_cpu_second": n_read / seconds,
    }  # fmt: skip
    yield from lines_of("default", model, tasks)
    for member in model.members:
        yield from lines_of(member, model.alone(member), tasks)
    yield from published_lines([task.name for task in tasks])


def lines_of(name: str, model: TextModel, tasks: Sequence[LabelledTask]) -> list[dict[str, Any]]:
    """A line per task and labelled part, and one of each part's mean over the tasks."""
    speed = texts_per_cpu_second(model, tasks)
    lines = []
    for task in tasks:
        metric, n_classes = metric_of(task.name), len(task.classes)
        decision = Decision((1.0,) * n_classes, 0.0)
        parts = {p.name for p in task.parts if p.labels is not None} - {"train"}
        for part in sorted(parts, key=lambda name: (name != "val", name)):
            held_out = task.examples(part)
            if held_out is None:
                continue
            rows = held_out.labelled(task.head)
            labels = held_out.of(task.head)[rows]
            probabilities = task_probabilities(model, task, held_out.texts)[rows]
            if part == "val":
                decision = choose_decision(metric, probabilities, labels)
            classes = decision.classes(probabilities)
            low, high = interval(metric, labels, classes, n_classes)
            lines.append({
                "task": task.name, "part": part, "model": name, "metric": metric.name,
                "value": metric.of(labels, classes, n_classes), "low": low, "high": high,
                "texts_per_cpu_second": speed,
            })  # fmt: skip
    of_parts = dict.fromkeys(line["part"] for line in lines)
    return lines + [_mean(name, part, lines, speed) for part in of_parts]


def _mean(name: str, part: str, lines: Sequence[Mapping[str, Any]], speed: float) -> dict[str, Any]:
    values = [line["value"] for line in lines if line["part"] == part]
    return {
        "task": "mean", "part": part, "model": name, "metric": f"mean_of_{len(values)}",
        "value": float(np.mean(values)), "texts_per_cpu_second": speed,
    }  # fmt: skip


def texts_per_cpu_second(model: TextModel, tasks: Sequence[LabelledTask]) -> float:
    """Of texts that are as long as those of all tasks together; one text is scored before, so that
    what is made ready once is not counted."""
    texts = [text for task in tasks for part in task.parts for text in part.texts]
    chosen = texts[:: max(len(texts) // N_TIMED, 1)][:N_TIMED]
    model.probabilities(Texts(chosen[:1]))
    began = time.process_time()
    model.probabilities(Texts(chosen))
    return len(chosen) / (time.process_time() - began)


def published_lines(tasks: Sequence[str]) -> list[dict[str, Any]]:
    """What others report of the test parts of these tasks."""
    return [
        {
            "task": task, "part": "test", "model": "published", "system": system,
            "metric": metric_of(task).name, "value": values[task] / 100,
        }
        for system, values in PUBLISHED.items()
        for task in tasks
        if task in values
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, default=REAL_DATA / "tweets", help="folder of tasks")
    parser.add_argument("--encoder", type=Path, help="folder of an encoder as a third member")
    o = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not o.texts.is_dir():
        print(f"{o.texts}: its data are not there, so it is left out", file=sys.stderr)
        return
    encoder = None if o.encoder is None else load_text_encoder(o.encoder)
    for line in bench(o.texts, TextConfig(encoder=encoder)):
        print_figures(line)


if __name__ == "__main__":
    main()
