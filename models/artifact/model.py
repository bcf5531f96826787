"""A trained model on disk: the network's weights as safetensors, trees as LightGBM's text in a ZIP
archive, the rest as JSON. Loading executes no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from contracts.errors import ContractError, NightjarError
from contracts.foreign import library_message, without_values
from contracts.spec_json import from_plain, to_plain
from contracts.splits import Split
from contracts.tasks import Task, task_named
from contracts.train_config import TrainConfig, regrouped
from models.artifact import encryption
from models.data.batches import to_batch
from models.data.encoders import Encoder
from models.data.label_layout import Layout
from models.data.numeric_transforms import Floats
from models.network.calibration import Calibration
from models.network.network import Network
from models.trees.mixtures import Weights, mixed, needs_network, needs_trees
from models.trees.rows import tree_inputs
from models.trees.task_trees import TaskTrees, of_archive, to_archive

CPU_ROWS = 1024
"""Rows that go through the network together on a processor: what is made of more leaves its caches,
and takes half as long again."""
_WEIGHTS, _TREES, _ABOUT = "model.safetensors", "trees.zip", "model.json"
_NETWORK_ALONE: Weights = (1.0,)
_OTHER_VERSION = "the model was fitted by another version; train it anew"


@dataclass(frozen=True)
class Model:
    """A network and trees with their encoder and calibration, ready to score."""

    network: Network
    encoder: Encoder
    config: TrainConfig
    calibrations: Mapping[str, Calibration]
    splits: Mapping[str, Split]
    known_until: date
    """Midnight before which its labels were known: it has seen nothing later."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Tasks that are not fit to be published, as their test days showed, and why. It is the one
    thing that test days decide of an artifact. What later nights find is not part of it: whoever
    loads it says so (`without`)."""
    base_rates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task to the best answer that is the same for everybody: a value per suffix of its score
    columns, a list for a multi-label task."""
    trees: Mapping[str, TaskTrees] = field(default_factory=dict)
    """Boosted trees of the tasks whose scores need them."""
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Per task of `trees`, the network's share of the mixture; of others it has all."""

    @property
    def published(self) -> tuple[Task, ...]:
        """Tasks whose scores are fit to be published."""
        return tuple(task for task in self.tasks if task.name not in self.withheld)

    def without(self, withheld: Mapping[str, str]) -> Model:
        """The model, with more tasks that are not fit to be published, as later nights found."""
        return replace(self, withheld={**withheld, **self.withheld})

    @property
    def layout(self) -> Layout:
        return self.network.layout

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.network.tasks

    def outputs(self, rows: pa.RecordBatch | pa.Table) -> dict[str, Tensor]:
        """Uncalibrated outputs per task, each (B, K): the mixture of network and trees.

        Raises:
            ContractError: `rows` lacks a feature that the model was fitted on.
        """
        return outputs_of([self], rows)[0]

    def mixed(self, task: Task, own: Tensor | None, raw: Tensor | None) -> Tensor:
        """A task's outputs (B, K) of the network's, (B, K), and of raw scores of trees, (B, J)."""
        head, weights = self.network.heads[task.name], self.weights_of(task)
        with torch.inference_mode():
            return mixed(task.kind, head, weights, own, raw, self.spread_of(task))

    def spread_of(self, task: Task) -> float:
        """The head's number for the spread of what a task's trees say."""
        return self.trees[task.name].spread if task.name in self.trees else 0.0

    def weights_of(self, task: Task) -> Weights:
        """The network's share of each parameter of a task's link."""
        return self.weights.get(task.name, _NETWORK_ALONE)

    @property
    def network_names(self) -> list[str]:
        """Tasks whose scores need the network."""
        return [task.name for task in self.tasks if needs_network(self.weights_of(task))]

    @property
    def tree_names(self) -> list[str]:
        """Tasks whose scores need trees."""
        return [name for name in self.trees if needs_trees(self.weights[name])]

    def network_outputs(
        self, rows: pa.RecordBatch | pa.Table, names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The network's outputs (B, K) of some tasks; None: of those that need them.

        Raises:
            ContractError: `rows` lacks a feature that the model was fitted on.
        """
        names = self.network_names if names is None else names
        if not names:
            return {}
        labels = torch.full((rows.num_rows, 1), float("nan")).numpy()
        device = next(self.network.parameters()).device
        batch = to_batch(self.encoder.encode(rows), labels)
        step = CPU_ROWS if device.type == "cpu" else max(len(batch), 1)
        with torch.inference_mode():
            parts = [self.network(part.to(device)) for part in batch.parts(step)]
            return {
                name: torch.cat([outputs[name].float().cpu() for outputs in parts])
                for name in names
            }

    def raw_scores(self, rows: pa.RecordBatch | pa.Table) -> dict[str, Tensor]:
        """Raw scores (B, J) of the trees of the tasks that need them."""
        names = self.tree_names
        return self.raw_of(tree_inputs(rows, self.encoder), names) if names else {}

    def raw_of(self, inputs: Floats, names: Iterable[str]) -> dict[str, Tensor]:
        """Raw scores (B, J) of the trees of some tasks, from what trees see of the rows."""
        threads = torch.get_num_threads()
        return {
            name: torch.from_numpy(self.trees[name].raw(inputs, threads)).float() for name in names
        }

    def scores(self, outputs: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Calibrated scores per task and suffix, each (B,), or (B, C) for a multi-label task.

        Calibration is per task, so it is here that a task stays within the one it implies.
        """
        with torch.inference_mode():
            scores = {
                task.name: self.network.heads[task.name].predict(
                    outputs[task.name], self.calibrations[task.name]
                )
                for task in self.tasks
            }
            for task in self.tasks:
                if task.within in scores:
                    scores[task.name][""] = torch.minimum(
                        scores[task.name][""], scores[task.within][""]
                    )
        return scores


def outputs_of(models: Sequence[Model], rows: pa.RecordBatch | pa.Table) -> list[dict[str, Tensor]]:
    """Uncalibrated outputs per task, each (B, K), of models that share network, encoder and trees,
    and mix them each in its own way: rows go through both members once.

    Raises:
        ContractError: `rows` lacks a feature that the models were fitted on.
    """
    first = models[0]
    names = list(dict.fromkeys(name for model in models for name in model.network_names))
    own = first.network_outputs(rows, names)
    raw: dict[str, Tensor] = {}
    if any(model.tree_names for model in models):
        inputs = tree_inputs(rows, first.encoder)
        for model in models:
            raw |= model.raw_of(inputs, [name for name in model.tree_names if name not in raw])
    outputs = []
    for model in models:
        by_network, by_trees = {*model.network_names}, {*model.tree_names}
        outputs.append({
            task.name: model.mixed(
                task,
                own[task.name] if task.name in by_network else None,
                raw[task.name] if task.name in by_trees else None,
            )
            for task in model.tasks
        })  # fmt: skip
    return outputs


def save_model(model: Model, folder: Path) -> str:
    """Write the artifact.

    Returns:
        Its `model_id`: a hash of all of its files, the same whether they are sealed or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.network.state_dict().items()
    }
    files = {_WEIGHTS: save(weights)}
    if model.trees:
        files[_TREES] = to_archive(model.trees)
    for name, content in files.items():
        encryption.write(folder / name, content)
    about = {
        "tasks": [task.name for task in model.tasks],
        "classes": dict(model.layout.classes),
        "config": to_plain(model.config),
        "encoder": model.encoder.to_json(),
        "calibrations": {name: c.to_json() for name, c in model.calibrations.items()},
        "splits": {
            name: {
                part: [d.isoformat() for d in getattr(split, part)]
                for part in ("train", "valid", "test", "spared")
            }
            | {"by_user": split.by_user}
            for name, split in model.splits.items()
        },
        "known_until": model.known_until.isoformat(),
        "withheld": dict(model.withheld),
        "base_rates": {name: dict(rates) for name, rates in model.base_rates.items()},
        "trees": {name: {"spread": trees.spread, "network_shares": list(model.weights[name])}
                  for name, trees in model.trees.items()},
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }  # fmt: skip
    (folder / _ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True))
    return model_id(folder)


def model_id(folder: Path) -> str:
    """The id of the artifact in `folder`."""
    digest = hashlib.sha256()
    about = json.loads((folder / _ABOUT).read_text())
    for name in (_WEIGHTS, *((_TREES,) if about.get("trees") else ()), _ABOUT):
        digest.update(encryption.read(folder / name))
    return digest.hexdigest()[:16]


class DamagedArtifact(ContractError):
    """A file of an artifact is not what was saved."""


def load_model(folder: Path) -> Model:
    """The model that was saved in `folder`, in evaluation mode on the CPU.

    Raises:
        DamagedArtifact: its weights or its trees have changed since.
        ContractError: it is no artifact, or was fitted on other features or tasks than there are.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text())
        weights = load(_intact(folder / _WEIGHTS, about))
        trees = of_archive(
            _intact(folder / _TREES, about) if about.get("trees") else None,
            {name: of["spread"] for name, of in about.get("trees", {}).items()},
        )
    except NightjarError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        raise ContractError(f"{folder} holds no model: {library_message(error)}") from None
    try:
        return _from_json(about, weights, trees)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1:2] or [str(error)]
        why = without_values(first[0].strip())
    except NightjarError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = library_message(error)
    raise ContractError(f"{folder}: {_OTHER_VERSION} ({why})")


def _intact(path: Path, about: Mapping[str, Any]) -> bytes:
    """The content of a file of an artifact, before anything parses it: LightGBM ends the process
    at a text that stops in the middle, and would score with trees of another model.

    Raises:
        DamagedArtifact: it is not what was saved.
    """
    content = encryption.read(path)
    if "sha256" not in about:  # it is from before there were digests
        return content
    expected, digest = about["sha256"].get(path.name, "none"), hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise DamagedArtifact(
            f"{path} is not what was saved: expected SHA-256 {expected[:16]}…, found "
            f"{digest[:16]}…; move {path.parent} away, and the next run fetches it again"
        )
    return content


def _from_json(
    about: Mapping[str, Any], weights: Mapping[str, Tensor], trees: Mapping[str, TaskTrees]
) -> Model:
    """The model that `save_model` has described, with its weights.

    Raises:
        RuntimeError: the weights are of another network.
        NightjarError: it was fitted on other features or tasks, or with other settings.
        KeyError, TypeError, AttributeError, ValueError: what is described is something else.
    """
    config = _config(about["config"])
    layout = Layout(
        tuple(task_named(name) for name in about["tasks"]),
        {name: tuple(classes) for name, classes in about["classes"].items()},
    )
    encoder = Encoder.from_json(about["encoder"])
    network = Network(config, layout, encoder)
    network.load_state_dict(weights)
    network.eval()
    return Model(
        network,
        encoder,
        config,
        {name: Calibration.from_json(c) for name, c in about["calibrations"].items()},
        {
            name: Split(
                _days(split["train"]),
                _days(split["valid"]),
                _days(split["test"]),
                split.get("by_user", False),
                _days(split.get("spared", ())),
            )
            for name, split in about["splits"].items()
        },
        date.fromisoformat(about["known_until"]),
        about.get("withheld", {}),
        about.get("base_rates", {}),
        trees,
        {name: tuple(of["network_shares"]) for name, of in about.get("trees", {}).items()},
    )


def _config(saved: Mapping[str, Any]) -> TrainConfig:
    """The settings that an artifact was trained with, also of one from before there were groups.

    Raises:
        ContractError: there are no such settings any more.
    """
    try:
        if "network" not in saved:
            saved = {"wide": False, **saved}
        return from_plain(TrainConfig, regrouped(saved))
    except NightjarError as error:
        raise ContractError(f"{_OTHER_VERSION} ({error})") from None


def _days(texts: Sequence[str]) -> tuple[date, ...]:
    return tuple(date.fromisoformat(text) for text in texts)
