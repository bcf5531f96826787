"""Test a trained model once on its test days: beside the constant, its twins, and the champion."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from contracts.splits import Cut
from contracts.tasks import Task
from models.artifact.model import Model
from models.data.batches import read_batches
from models.data.label_layout import Cuts, Layout, days_of, labelled, task_labels
from models.evaluation.feature_importance import TOP, importance
from models.evaluation.gate import (
    Comparison,
    Judged,
    Rank,
    Verdict,
    decide_first,
    decide_next,
    relative_change,
)
from models.evaluation.lightgbm_twins import twin_rows, twin_scores
from models.evaluation.metrics import (
    MAIN_METRIC,
    Array,
    Scores,
    bootstrap,
    constant_scores,
    gain_over,
    main_metric,
    metrics,
    rank_metric,
)
from models.evaluation.plots import draw_importance, draw_reliability
from models.evaluation.segments import SEEN, SEGMENT_ROWS, segments_of

_LOG = logging.getLogger(__name__)

TWINS_AT_ONCE = max(os.cpu_count() or 1, 1)
"""LightGBM works outside Python's lock; each twin has its own threads, so results do not change."""


@dataclass(frozen=True)
class Tested:
    """What is known of the rows that one task is tested on, without their features."""

    labels: Array
    """(n,), or (n, C) for a multi-label task."""
    users: np.ndarray
    """(n,): a number for each user, by which the bootstrap resamples."""
    segments: Mapping[str, np.ndarray]
    """Segment to which of the (n,) rows are in it."""


@dataclass(frozen=True)
class Said:
    """What a model says of the rows that one of its tasks is tested on."""

    outputs: Tensor
    """(n, K), before calibration."""
    scores: Scores


@dataclass(frozen=True)
class Held:
    """The test rows of every task: what happened, and where to read what a model makes of them.

    Features pass by in batches and are not kept: with them, test days of many users are larger
    than memory.
    """

    layout: Layout
    cuts: Cuts
    tasks: Mapping[str, Tested]

    def said_by(self, model: Model, files: Sequence[str]) -> dict[str, Said]:
        """What a model says, task by task, of those of its tasks that are tested here."""
        mine = [task for task in self.layout.tasks if task in model.tasks]
        cuts = {task.name: self.cuts[task.name] for task in mine}
        outputs: dict[str, list[Tensor]] = {task.name: [] for task in mine}
        scores: dict[str, list[dict[str, Tensor]]] = {task.name: [] for task in mine}
        for batch in read_batches(files, days_of(cuts)):
            tested = _tested(batch, self.layout, cuts)
            some = np.any([*tested.values()], axis=0)
            if not some.any():
                continue
            made = model.outputs(batch.filter(pa.array(some)))
            scored = model.scores(made)
            for name, there in tested.items():
                picked = torch.from_numpy(there[some])
                outputs[name].append(made[name][picked])
                scores[name].append({k: v[picked] for k, v in scored[name].items()})
        return {
            name: Said(
                torch.cat(parts),
                as_arrays({k: torch.cat([s[k] for s in scores[name]]) for k in scores[name][0]}),
            )
            for name, parts in outputs.items()
        }


def _tested(rows: pa.RecordBatch | pa.Table, layout: Layout, cuts: Cuts) -> dict[str, np.ndarray]:
    """(B,): per task, which rows it is tested on."""
    tasks = [task for task in layout.tasks if task.name in cuts]
    some = Layout(tuple(tasks), {n: c for n, c in layout.classes.items() if n in cuts})
    labels = some.counted(rows, cuts)
    return {task.name: labelled(task_labels(labels, some.slices[task.name])) for task in tasks}


def held_rows(files: Sequence[str], layout: Layout, cuts: Cuts) -> Held:
    """The labelled rows of each task's test days, in the order of the files."""
    labels: dict[str, list[Array]] = {task.name: [] for task in layout.tasks}
    users: dict[str, list[pa.Array]] = {task.name: [] for task in layout.tasks}
    segments: dict[str, list[dict[str, np.ndarray]]] = {task.name: [] for task in layout.tasks}
    columns = ["user_key", "as_of", *SEEN, *(task.label for task in layout.tasks)]
    for batch in read_batches(files, days_of(cuts), columns):
        counted, found = layout.counted(batch, cuts), segments_of(batch)
        for task in layout.tasks:
            mine = task_labels(counted, layout.slices[task.name])
            there = labelled(mine)
            labels[task.name].append(mine[there])
            users[task.name].append(batch.column("user_key").filter(pa.array(there)))
            segments[task.name].append({name: rows[there] for name, rows in found.items()})
    tasks = {}
    for name, parts in labels.items():
        keys = pa.chunked_array(users[name]).combine_chunks().to_numpy(zero_copy_only=False)
        _, codes = np.unique(keys.astype(str), return_inverse=True)
        tasks[name] = Tested(
            np.concatenate(parts),
            codes,
            {
                segment: np.concatenate([part[segment] for part in segments[name]])
                for segment in segments[name][0]
            },
        )
    return Held(layout, cuts, tasks)


def examine(
    model: Model,
    train_labels: Mapping[str, Tensor],
    held: Held,
    said: Mapping[str, Said],
    files: Sequence[str],
    champion: Model | None,
    folder: Path,
) -> dict[str, Any]:
    """Metrics, intervals, twins and the gate's verdict, as the report's dictionary.

    `said` is what the model says of the rows of `held`.
    """
    tasks: dict[str, Any] = {}
    mine, theirs = Judged(), Judged()
    against: dict[str, Comparison] = {}
    reliability: dict[str, tuple[Array, Array]] = {}
    with ThreadPoolExecutor(TWINS_AT_ONCE) as pool:
        twins = {
            task.name: pool.submit(lightgbm_scores, model, task, files, held.cuts[task.name])
            for task in model.tasks
        }
        by_champion = {} if champion is None else held.said_by(champion, files)
        for task in model.tasks:
            rows, scores = held.tasks[task.name], said[task.name].scores
            train = train_labels[task.name].double().numpy()
            flat = constant_scores(task, train, len(rows.labels))
            twin = twins[task.name].result()
            gain = gain_over(task, rows.labels, rows.users, scores, twin, model.config)
            tasks[task.name] = {
                "test_rows": len(rows.labels),
                "measured_on": model.splits[task.name].measured_on,
                "main": MAIN_METRIC[type(task.kind)],
                "model": metrics(task, rows.labels, scores),
                "twin": metrics(task, rows.labels, twin),
                "constant": metrics(task, rows.labels, flat),
                "gain_over_twin": asdict(gain),
                "segments": _by_segment(task, rows, scores, twin),
            }
            losses = _losses(model, task, said[task.name].outputs, rows.labels)
            constant = _constant_losses(model, task, train, rows.labels)
            _judge(mine, model, task, rows, scores, losses, constant)
            if task.name in mine.ranks:
                tasks[task.name]["rank"] = asdict(mine.ranks[task.name])
            if champion is not None and task in champion.published:
                same = champion.layout.classes.get(task.name) == held.layout.classes.get(task.name)
                later = model.splits[task.name].is_later_than(champion.splits[task.name])
                if same and later:
                    there = by_champion[task.name]
                    other = _losses(champion, task, there.outputs, rows.labels)
                    against[task.name] = _compare(rows, losses, other, model)
                    _judge(theirs, model, task, rows, there.scores, other, constant)
            if "" in scores:
                reliability[task.name] = (scores[""], rows.labels)
            _LOG.info(_line(task, tasks[task.name]))
    draw_reliability(reliability, folder / "reliability.png")
    leant_on = importance(model, files, held.cuts, model.config.seed)
    draw_importance(leant_on, folder / "importance.png")
    for name, found in leant_on.items():
        tasks[name]["importance"] = dict(list(found.items())[:TOP])
    verdict, others = _verdict(model, champion, mine, theirs, against)
    return {
        "tasks": tasks,
        "gate": {
            "decision": verdict.decision,
            "reasons": list(verdict.reasons),
            "withheld": dict(verdict.withheld),
            "champion_withheld": dict(verdict.champion_withheld),
            "against": "the champion" if others is against else "the constant",
            "comparisons": {name: {**asdict(c), "change": c.change} for name, c in others.items()},
        },
    }


def _verdict(
    model: Model,
    champion: Model | None,
    mine: Judged,
    theirs: Judged,
    against: Mapping[str, Comparison],
) -> tuple[Verdict, Mapping[str, Comparison]]:
    """What the gate says, and the comparisons that it went by."""
    if champion is None:
        return decide_first(mine.against_constant, mine.ranks), mine.against_constant
    limits, published = model.config.evaluation, {task.name for task in champion.published}
    verdict = decide_next(
        mine, theirs, against, published, limits.gate_max_worse, limits.gate_min_rows
    )
    no_champion = published <= set(verdict.champion_withheld)
    return verdict, mine.against_constant if no_champion else against


def _judge(
    judged: Judged,
    model: Model,
    task: Task,
    rows: Tested,
    scores: Scores,
    losses: Array,
    constant: Array,
) -> None:
    """Note how scores and losses (n,) of a task do beside the constant's losses, and by chance."""
    judged.against_constant[task.name] = _compare(rows, losses, constant, model)
    rank = _rank(model, task, rows, scores)
    if rank is not None:
        judged.ranks[task.name] = rank


def _rank(model: Model, task: Task, rows: Tested, scores: Scores) -> Rank | None:
    """How well the scores order users; None where too few rows say so."""
    order = rank_metric(task, rows.labels, scores)
    if order is None:
        return None
    config = model.config
    low, high = bootstrap(rows.users, order, config.evaluation.bootstrap_samples, config.seed)
    return Rank(order(np.ones(len(rows.labels))), low, high)


def as_arrays(scores: Mapping[str, Tensor]) -> Scores:
    """Scores of one task by suffix, as double-precision arrays."""
    return {suffix: values.double().numpy() for suffix, values in scores.items()}


def lightgbm_scores(model: Model, task: Task, files: Sequence[str], tested: Cut) -> Scores:
    """Scores of the task's LightGBM twin for its test rows."""
    split, config, layout = model.splits[task.name], model.config, model.layout.only(task)
    max_rows = config.evaluation.twin_max_rows
    train, valid = (
        twin_rows(files, layout, {task.name: split.cut(part)}, model.encoder, max_rows)
        for part in ("train", "valid")
    )
    test, _ = twin_rows(files, layout, {task.name: tested}, model.encoder, None)
    return twin_scores(task, train, valid, test, model.encoder.n_ids, config)


def _by_segment(
    task: Task, rows: Tested, ours: Scores, twin: Scores
) -> dict[str, dict[str, float]]:
    """Rows of new, active and dormant users, and the main metric of both where they are enough."""
    found: dict[str, dict[str, float]] = {}
    for name, mine in rows.segments.items():
        weights = mine.astype(np.float64)
        if not mine.sum():
            continue
        found[name] = {"rows": int(mine.sum())}
        if mine.sum() >= SEGMENT_ROWS:
            found[name] |= {
                "model": main_metric(task, rows.labels, ours)(weights),
                "twin": main_metric(task, rows.labels, twin)(weights),
            }
    return found


def _losses(model: Model, task: Task, outputs: Tensor, labels: Array) -> Array:
    """Loss per row after calibration, (n,)."""
    head, calibration = model.network.heads[task.name], model.calibrations[task.name]
    with torch.inference_mode():
        losses = head.loss(head.calibrated(outputs, calibration), torch.from_numpy(labels).float())
    return losses.double().numpy()


def _constant_losses(model: Model, task: Task, train: Array, labels: Array) -> Array:
    head = model.network.heads[task.name]
    start = head.start(torch.from_numpy(train).float()).unsqueeze(0).expand(len(labels), -1)
    return head.loss(start, torch.from_numpy(labels).float()).double().numpy()


def _compare(rows: Tested, ours: Array, theirs: Array, model: Model) -> Comparison:
    low, high = bootstrap(
        rows.users,
        lambda w: relative_change(float(ours @ w), float(theirs @ w)),
        model.config.evaluation.bootstrap_samples,
        model.config.seed,
    )
    return Comparison(len(rows.labels), float(ours.mean()), float(theirs.mean()), low, high)


def _line(task: Task, made: Mapping[str, Any]) -> str:
    main, gain = made["main"], made["gain_over_twin"]

    def value(who: str) -> str:
        return f"{made[who].get(main, float('nan')):,.4g}"

    return (
        f"  {task.name:<18} {main:<4} {value('model'):>9}   LightGBM {value('twin'):>9}   "
        f"constant {value('constant'):>9}   gain {gain['gain']:+.4g} "
        f"({gain['low']:+.4g} to {gain['high']:+.4g})"
    )
