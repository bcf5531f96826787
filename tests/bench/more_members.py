"""`python -m tests.bench.more_members HOME`: what members beyond one network and one set of trees give.

The newest night of HOME has left examples in its lake. Networks and trees of several seeds are
fitted on them once; a student that learns from the labels and from the mixture of the first two;
and a network that is taught by trees which never saw the user whose row they predict. Their means
on the link's scale are mixed and calibrated as a night does it. All is judged as an earlier night
would have been, of whose test days tonight's are none.

JSON lines: what each member takes to fit, in processor seconds; per combination and task the share
of what the twin, the first trees, gains over the constant, and the gain over tonight's mixture of
one network and one set of trees (`low` and `high`: 95 % by bootstrap over users, above 0 is
better); per combination the means, and what a row takes to score. `of_mixture` is the part of the
mixture's gain over the constant that is reached, by which a student is judged.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from contracts.splits import USER_FOLDS
from contracts.train_config import TrainConfig
from models.artifact.model import Model
from models.data.batches import Batch, Examples, read_batches
from models.data.encoders import Encoder
from models.data.label_layout import Cuts, Layout, days_of
from models.data.numeric_transforms import Floats
from models.data.row_hashes import user_hashes
from models.evaluation.held_out import Predictions
from models.evaluation.metrics import constant_scores, gain_over, main_metric
from models.network.heads import head_of
from models.network.network import Network
from models.training.mixture_fit import fit_mixture, with_trees
from models.training.multi_task import calibrated_model, example_data, fit_encoder, fit_network
from models.training.task_choice import Chosen
from models.training.tree_fit import fit_all
from models.trees.links import link_of
from models.trees.task_trees import Doubles, TaskTrees
from tests.bench.homes import trial_of
from tests.bench.lines import print_figures
from tests.bench.members import SHARES, Trial, settings_of

TWIN, MIXTURE = "trees", "network + trees"
ALL = "three networks + two sets of trees"
COMBINATIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    MIXTURE: (("network 0",), ("trees 0",)),
    "network": (("network 0",), ()),
    "two networks + trees": (("network 0", "network 1"), ("trees 0",)),
    "three networks + trees": (("network 0", "network 1", "network 2"), ("trees 0",)),
    "network + two sets of trees": (("network 0",), ("trees 0", "trees 1")),
    "two networks + two sets of trees": (("network 0", "network 1"), ("trees 0", "trees 1")),
    ALL: (("network 0", "network 1", "network 2"), ("trees 0", "trees 1")),
    "student": (("student",), ()),
    "student + trees": (("student",), ("trees 0",)),
    "student of all": (("student of all",), ()),
    "student of all + trees": (("student of all",), ("trees 0",)),
    "taught network": (("taught",), ()),
    "taught network + trees": (("taught",), ("trees 0",)),
    "network, taught network + trees": (("network 0", "taught"), ("trees 0",)),
}
"""The networks and sets of trees of each, by name; the twin, the first trees alone, is the measure
of all."""
STUDENTS = {"student": MIXTURE, "student of all": ALL}
"""Networks of full size that learn from the labels and from a combination."""
TAUGHT = "taught"
"""The network that learns from the labels and from trees which have not seen its users."""
FOLDS = ({0, 1}, {2, 3}, {4})
"""Users whose rows are predicted by the same trees, by their folds of `USER_FOLDS`."""

AllTrees = Mapping[str, TaskTrees]
Teacher = Callable[[pa.Table], Mapping[str, Tensor]]
"""Outputs (B, K) per task of rows."""


class MeanNetwork(nn.Module):
    """The mean of several networks, on each task's link."""

    def __init__(self, networks: Sequence[Network]):
        super().__init__()
        first = networks[0]
        self.members = nn.ModuleList(networks)
        self.heads, self.layout, self.tasks = first.heads, first.layout, first.tasks

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs per task, each (B, K)."""
        of_members, means = [network(batch) for network in self.members], {}
        for task in self.tasks:
            link = link_of(task.kind, self.heads[task.name])
            each = [link.of_outputs(outputs[task.name]) for outputs in of_members]
            means[task.name] = link.outputs(torch.stack(each).mean(0))
        return means


@dataclass(frozen=True)
class MeanTrees(TaskTrees):
    """The mean of the raw scores of several sets of a task's trees."""

    sets: tuple[TaskTrees, ...] = ()

    def raw(self, inputs: Floats, threads: int = 1) -> Doubles:
        mean: Doubles = np.mean([trees.raw(inputs, threads) for trees in self.sets], axis=0)
        return mean


def mean_trees(sets: Sequence[AllTrees]) -> AllTrees:
    """Per task the mean of several sets."""
    return {
        name: MeanTrees((), float(np.mean([of[name].spread for of in sets])),
                        tuple(of[name] for of in sets))
        for name in sets[0]
    }  # fmt: skip


class TaughtExamples(Examples):
    """Training rows with a teacher's outputs of them, in columns behind the labels."""

    teacher: Teacher

    @classmethod
    def of(cls, rows: Examples, teacher: Teacher) -> TaughtExamples:
        taught = cls(
            rows.files, rows.layout, rows.cuts, rows.encoder, rows.batch_size, rows.seed,
            rows.sampling,
        )  # fmt: skip
        taught.teacher = teacher
        return taught

    def _pool(self, tables: Sequence[pa.Table]) -> Batch:
        batch, outputs = super()._pool(tables), self.teacher(pa.concat_tables(tables))
        targets = [outputs[task.name] for task in self.layout.tasks]
        return replace(batch, labels=torch.cat([batch.labels, *targets], dim=1))


class StoredTeacher(nn.Module):
    """Gives for a batch of taught examples the outputs of their teacher."""

    def __init__(self, layout: Layout):
        super().__init__()
        self._start = layout.width
        self._widths = {
            task.name: head_of(task.kind, layout.classes.get(task.name, ())).n_outputs
            for task in layout.tasks
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs per task, each (B, K)."""
        parts = batch.labels[:, self._start :].split([*self._widths.values()], dim=1)
        return dict(zip(self._widths, parts, strict=True))


@dataclass
class OfFolds(Chosen):
    """Learns from the users of some folds alone."""

    folds: frozenset[int] = frozenset()

    def cuts(self, part: str, max_rows: int | None = None, share: float = 1.0) -> Cuts:
        cuts = super().cuts(part, max_rows, share)
        if part != "train":
            return cuts
        return {name: replace(cut, folds=self.folds) for name, cut in cuts.items()}


@dataclass
class Members:
    """Networks and sets of trees by name, each fitted when it is first asked for."""

    trial: Trial
    encoder: Encoder
    folder: Path
    networks: dict[str, Network] = field(default_factory=dict)
    trees: dict[str, AllTrees] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of each, without those of the members that it learns from."""

    def network(self, name: str) -> Network:
        if name not in self.networks:
            teacher = self._teacher(name)
            with self._timed(name):
                self.networks[name] = self._fitted(name, teacher)
        return self.networks[name]

    def trees_of(self, name: str) -> AllTrees:
        if name not in self.trees:
            with self._timed(name):
                config = self._config(name)
                self.trees[name] = fit_all(
                    self.trial.chosen, self.trial.spec.files, self.encoder, config
                )
        return self.trees[name]

    def model(self, combination: str) -> Model:
        """The mixture of the means of a combination's members; networks alone if it has no trees."""
        names, of_trees = COMBINATIONS[combination]
        networks = [self.network(name) for name in names]
        sets = [self.trees_of(name) for name in of_trees]
        network = networks[0] if len(networks) == 1 else MeanNetwork(networks)
        spec, chosen = self.trial.spec, self.trial.chosen
        alone = calibrated_model(spec, chosen, self.encoder, network)
        if not sets:
            return alone
        trees = sets[0] if len(sets) == 1 else mean_trees(sets)
        return with_trees(alone, trees, spec.files, chosen)

    def twin(self) -> Model:
        """The first trees alone, as LightGBM fits them."""
        spec, chosen = self.trial.spec, self.trial.chosen
        alone = calibrated_model(spec, chosen, self.encoder, self.network("network 0"))
        return fit_mixture(alone, self.trees_of("trees 0"), spec.files, chosen).twin

    def _config(self, name: str) -> TrainConfig:
        """The settings of a member: the number behind its name is added to the seed."""
        config, last = self.trial.spec.config, name.rpartition(" ")[2]
        return config.changed(seed=config.seed + (int(last) if last.isdigit() else 0))

    def _teacher(self, name: str) -> Teacher | None:
        if name in STUDENTS:
            return self.model(STUDENTS[name]).outputs
        return self._out_of_fold() if name == TAUGHT else None

    def _fitted(self, name: str, teacher: Teacher | None) -> Network:
        spec = replace(self.trial.spec, config=self._config(name), folder=str(self.folder / name))
        torch.set_num_threads(spec.config.machine.threads)
        pl.seed_everything(spec.config.seed, workers=False, verbose=False)
        data, stored = example_data(spec, self.trial.chosen, self.encoder), None
        if teacher is not None:
            data.train = TaughtExamples.of(data.train, teacher)
            stored = StoredTeacher(self.trial.chosen.layout)
        return fit_network(spec, self.trial.chosen, self.encoder, data, [], stored)[0]

    def _out_of_fold(self) -> Teacher:
        """Trees of each task that have not seen the user whose row they predict."""
        network = self.network("network 0")
        spec, chosen = self.trial.spec, self.trial.chosen
        alone = calibrated_model(spec, chosen, self.encoder, network)
        own = {f.name: getattr(chosen, f.name) for f in fields(Chosen)}
        models = []
        for fold in FOLDS:
            others = OfFolds(**own, folds=frozenset(range(USER_FOLDS)) - fold)
            with self._timed("out-of-fold trees"):
                trees = fit_all(others, spec.files, self.encoder, spec.config)
            models.append(fit_mixture(alone, trees, spec.files, chosen).twin)
        return partial(by_fold, models)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


def by_fold(models: Sequence[Model], rows: pa.Table) -> dict[str, Tensor]:
    """Outputs (B, K) per task, of each row by the model of its user's fold."""
    folds = user_hashes(rows) % np.uint64(USER_FOLDS)
    places, parts = [], []
    for model, fold in zip(models, FOLDS, strict=True):
        inside = np.isin(folds, sorted(fold))
        places.append(np.flatnonzero(inside))
        parts.append(model.outputs(rows.filter(pa.array(inside))))
    back = torch.from_numpy(np.argsort(np.concatenate(places)))
    return {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}


def seconds_per_row(model: Model, trial: Trial) -> float:
    """Processor time in which the members score a row of the first held-out ones."""
    rows = next(read_batches(trial.spec.files, days_of(trial.held_out.cuts)))
    started = time.process_time()
    model.outputs(rows)
    return (time.process_time() - started) / rows.num_rows


def lines_of(
    name: str, trial: Trial, of: Mapping[str, Mapping[str, Predictions]]
) -> list[dict[str, Any]]:
    """Per task what a combination gains, beside the twin and tonight's mixture."""
    lines = []
    for task in trial.chosen.tasks:
        rows = trial.held_out.tasks[task.name]
        scores = {who: of[who][task.name].scores for who in (TWIN, MIXTURE, name)}
        train = trial.chosen.labels[task.name].double().numpy()
        scores["constant"] = constant_scores(task, train, len(rows.labels))
        every = np.ones(len(rows.labels))
        value = {who: main_metric(task, rows.labels, s)(every) for who, s in scores.items()}
        gained = {who: value[who] - value["constant"] for who in value}
        gain = gain_over(
            task, rows.labels, rows.users, scores[name], scores[MIXTURE], trial.spec.config
        )
        lines.append({
            "combination": name, "task": task.name, "value": value[name],
            "share": gained[name] / gained[TWIN], "of_mixture": gained[name] / gained[MIXTURE],
            **asdict(gain),
        })  # fmt: skip
    return lines


def summary_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The means over tasks, and which of them differ from tonight's mixture."""
    bounded = {
        column: np.clip([line[column] for line in lines], *SHARES)
        for column in ("share", "of_mixture")
    }
    return {
        "tasks": len(lines),
        "mean_share": float(bounded["share"].mean()),
        "median_share": float(np.median(bounded["share"])),
        "of_mixture": float(bounded["of_mixture"].mean()),
        "behind": [line["task"] for line in lines if line["high"] < 0],
        "ahead": [line["task"] for line in lines if line["low"] > 0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the first members")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    parser.add_argument("--only", nargs="+", choices=[*COMBINATIONS], default=[*COMBINATIONS])
    o = parser.parse_args()
    config = TrainConfig().changed(**settings_of(o.set), seed=o.seed)
    trial = trial_of(o.home.absolute(), config, valid=True)
    encoder = fit_encoder(trial.spec, trial.chosen)
    with tempfile.TemporaryDirectory() as folder:
        members = Members(trial, encoder, Path(folder))
        of = {TWIN: trial.held_out.predictions_of(members.twin(), trial.spec.files)}
        for name in dict.fromkeys([MIXTURE, *o.only]):
            model = members.model(name)
            of[name] = trial.held_out.predictions_of(model, trial.spec.files)
            lines = lines_of(name, trial, of)
            for line in lines:
                print_figures(line)
            us = 1e6 * seconds_per_row(model, trial)
            print_figures({"combination": name, **summary_of(lines), "us_per_row": us})
    print_figures({"cpu_seconds": {k: round(v, 1) for k, v in members.seconds.items()}})


if __name__ == "__main__":
    main()
