"""Train, calibrate and test one multi-task model; write the artifact and the MLflow run."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from contracts.kinds import MultiLabel
from contracts.table import ContractError
from contracts.tasks import Task, task_named
from models import encoders
from models.artifact import Model, load_model, save_model
from models.calibrate import calibrate
from models.config import TrainConfig
from models.data import Examples, read_batches
from models.examine import examine, held_rows
from models.inputs import USER_INPUTS, Inputs
from models.layout import Cuts, Layout, frequent_classes, labelled
from models.module import EpochLines, ExampleData, MultiTaskModule
from models.network import Network
from models.splits import Split, split_days
from models.tracking import RunSpec, log_run


@dataclass(frozen=True)
class TrainSpec:
    """What the training process is told."""

    files: tuple[str, ...]
    """Parquet files of the table `examples`."""
    as_ofs: tuple[date, ...]
    known_until: date
    settle_days: int
    tasks: tuple[str, ...]
    config: TrainConfig
    folder: str
    """Where the artifact, figures and checkpoints go."""
    champion: str | None = None
    """Folder of the champion's artifact, to compare with."""
    run: RunSpec | None = None
    """The MLflow run to log to; None logs nothing."""
    inputs: Inputs = USER_INPUTS
    """Columns to learn from."""

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> TrainSpec:
        return TrainSpec(
            files=tuple(raw["files"]),
            as_ofs=tuple(map(date.fromisoformat, raw["as_ofs"])),
            known_until=date.fromisoformat(raw["known_until"]),
            settle_days=raw["settle_days"],
            tasks=tuple(raw["tasks"]),
            config=TrainConfig(**raw["config"]),
            folder=raw["folder"],
            champion=raw.get("champion"),
            run=RunSpec(**raw["run"]) if raw.get("run") else None,
        )


@dataclass
class Chosen:
    """Tasks that can be learnt tonight, with their days; and why the others cannot."""

    layout: Layout
    splits: dict[str, Split]
    skipped: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Tensor] = field(default_factory=dict)
    """Training labels per task, (n,), or (n, C) for a multi-label task."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.layout.tasks

    @property
    def train_cuts(self) -> Cuts:
        return {task.name: self.splits[task.name].train for task in self.tasks}

    @property
    def valid_cuts(self) -> Cuts:
        return {task.name: self.splits[task.name].valid for task in self.tasks}


def choose_tasks(spec: TrainSpec) -> Chosen:
    """Split each task by time, and leave out those without labels enough in every part."""
    splits: dict[str, Split] = {}
    classes: dict[str, tuple[str, ...]] = {}
    skipped: dict[str, str] = {}
    labels: dict[str, Tensor] = {}
    for task in map(task_named, spec.tasks):
        split = split_days(task, spec.as_ofs, spec.known_until, spec.settle_days)
        if split is None:
            skipped[task.name] = (
                f"too little history: {task.closes_after} days until a label is known do not fit "
                "three times"
            )
            continue
        if isinstance(task.kind, MultiLabel):
            classes[task.name] = frequent_classes(
                task,
                read_batches(spec.files, split.train, ["as_of", task.label]),
                spec.config.min_rows // 10,
            )
        layout = Layout((task,), {n: c for n, c in classes.items() if n == task.name})
        parts = (
            {
                part: _labels(spec.files, layout, task, getattr(split, part))
                for part in ("train", "valid", "test")
            }
            if len(classes.get(task.name, "..")) > 1
            else {}
        )
        few = [
            f"{len(y)} labels in {part}"
            for part, y in parts.items()
            if len(y) < spec.config.min_rows
        ]
        if few:
            skipped[task.name] = f"{', '.join(few)}; min_rows is {spec.config.min_rows}"
        elif not parts or any(len(torch.unique(y)) < 2 for y in parts.values()):
            skipped[task.name] = "its labels are all the same"
        else:
            splits[task.name] = split
            labels[task.name] = parts["train"]
    tasks = tuple(task for task in map(task_named, spec.tasks) if task.name in splits)
    if not tasks:
        raise ContractError(
            "\n".join(
                [
                    "no task can be learnt:",
                    *(f"  {name}: {why}" for name, why in skipped.items()),
                ]
            )
        )
    kept = Layout(tasks, {name: c for name, c in classes.items() if name in splits})
    return Chosen(kept, splits, skipped, labels)


def _labels(files: Sequence[str], layout: Layout, task: Task, days: Sequence[date]) -> Tensor:
    parts = [
        layout.counted(batch, {task.name: days})
        for batch in read_batches(files, days, ["as_of", task.label])
    ]
    labels = np.concatenate(parts) if parts else np.zeros((0, layout.width))
    kept = torch.from_numpy(labels[labelled(labels)].astype(np.float32))
    return kept if task.name in layout.classes else kept[:, 0]


def train(spec: TrainSpec) -> dict[str, Any]:
    """Train and test; the report is what the flow, MLflow and the run's page show.

    Raises:
        ContractError: no task can be learnt.
    """
    started = time.monotonic()
    config, folder = spec.config, Path(spec.folder)
    torch.set_num_threads(config.threads)
    chosen = choose_tasks(spec)
    for name, why in chosen.skipped.items():
        print(f"task {name} is off tonight: {why}", flush=True)
    print(f"training {len(chosen.tasks)} tasks on {_span(chosen)}", flush=True)
    model, history = fit_model(spec, chosen)
    trained = time.monotonic()
    model_id = save_model(model, folder / "model")
    print(f"model {model_id} is calibrated; testing it beside its LightGBM twins", flush=True)
    champion = _champion(spec.champion)
    report = examine(
        model, chosen.labels, held_rows(spec.files, model), spec.files, champion, folder
    )
    report |= {
        "model_id": model_id,
        "skipped": chosen.skipped,
        "history": history,
        "seconds_training": round(trained - started, 3),
        "seconds_testing": round(time.monotonic() - trained, 3),
        "rows": {name: len(y) for name, y in chosen.labels.items()},
        "splits": {
            name: {
                part: [d.isoformat() for d in getattr(s, part)]
                for part in ("train", "valid", "test")
            }
            for name, s in chosen.splits.items()
        },
        "config": asdict(config),
        "folder": str(folder),
        "run_id": None,
    }
    if spec.run is not None:
        report["run_id"] = log_run(spec.run, report, model, folder)
    return report


def _span(chosen: Chosen) -> str:
    days = sorted({d for split in chosen.splits.values() for d in split.train})
    return f"{len(days)} as-of days, {days[0]} to {days[-1]}"


def _champion(folder: str | None) -> Model | None:
    """The champion, or None if there is none or it was fitted on other features."""
    if folder is None:
        return None
    try:
        return load_model(Path(folder))
    except ContractError as error:
        print(f"the champion cannot be compared with: {error}", flush=True)
        return None


def fit_model(spec: TrainSpec, chosen: Chosen) -> tuple[Model, list[dict[str, float]]]:
    """Fit encoders, network and calibration; the epochs' losses come beside."""
    config = spec.config
    pl.seed_everything(config.seed, workers=False, verbose=False)
    learnt_on = sorted({d for days in chosen.train_cuts.values() for d in days})
    columns = ("user_key", "as_of", *spec.inputs.flat)
    encoder = encoders.fit(
        read_batches(spec.files, learnt_on, columns), config.id_buckets, spec.inputs, config.n_bins
    )
    network = Network(config, chosen.layout, encoder)
    network.start_from(chosen.labels)
    scales = {
        task.name: _constant_loss(network, task, chosen.labels[task.name]) for task in chosen.tasks
    }
    module = MultiTaskModule(network, config, scales)
    data = ExampleData(
        Examples(
            spec.files, chosen.layout, chosen.train_cuts, encoder, config.batch_size, config.seed
        ),
        Examples(spec.files, chosen.layout, chosen.valid_cuts, encoder, 4 * config.batch_size),
    )
    _fit(module, data, config, Path(spec.folder))
    network.eval()
    network.cpu()
    outputs, labels = _valid_outputs(network, data.valid)
    calibrations = calibrate(chosen.layout, network.heads, outputs, labels)
    return Model(
        network, encoder, config, calibrations, chosen.splits, spec.known_until
    ), module.history


def _constant_loss(network: Network, task: Task, labels: Tensor) -> float:
    """Loss of the constant that fits the training labels best; above 0 by construction."""
    head = network.heads[task.name]
    constant = head.start(labels).unsqueeze(0).expand(len(labels), -1)
    return max(float(head.loss(constant, labels).mean()), 1e-3)


def _fit(module: MultiTaskModule, data: ExampleData, config: TrainConfig, folder: Path) -> None:
    best = ModelCheckpoint(
        dirpath=folder / "checkpoints",
        monitor="valid_loss",
        mode="min",
        save_top_k=1,
        save_weights_only=True,
        filename="best",
    )
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Batches come ready made from one stream: workers would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            max_epochs=config.max_epochs,
            gradient_clip_val=config.max_grad_norm,
            deterministic=True,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[EarlyStopping("valid_loss", patience=config.patience), best, EpochLines()],
        )
        trainer.fit(module, datamodule=data)
    saved = torch.load(best.best_model_path, weights_only=True)
    module.load_state_dict(saved["state_dict"])


def _valid_outputs(network: Network, valid: Examples) -> tuple[dict[str, Tensor], Tensor]:
    with torch.inference_mode():
        batches = [(network(batch), batch.labels) for batch in valid]
    names = [task.name for task in network.tasks]
    return (
        {name: torch.cat([outputs[name] for outputs, _ in batches]) for name in names},
        torch.cat([labels for _, labels in batches]),
    )
