"""Fit a network with Lightning: on one core or many, on GPUs where there are some, and go on where
a killed training stopped."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from contracts.train_config import TrainConfig
from models.training.lightning_module import ExampleData, MultiTaskModule
from models.training.tower_refit import Refitted, TaskEarlyStopping, TowerModule, refitted

_LOG = logging.getLogger(__name__)

RESUME = "resume.ckpt"
CHECK_BATCHES = 50
"""Batches between two looks at the clock."""


class EpochLines(Callback):
    """One line per epoch for the person who waits."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and isinstance(pl_module, MultiTaskModule):
            last = pl_module.history[-1]
            _LOG.info(
                f"epoch {last['epoch']:>3.0f}  training loss {last['train_loss']:.4f}  "
                f"validation loss {last['valid_loss']:.4f}  best of each {last['best_loss']:.4f}  "
                f"learning {len(pl_module.tasks) - len(pl_module.stopped)}"
            )


class Speed(Callback):
    """Notes how many rows a second the network learns from, validation included."""

    def __init__(self) -> None:
        self._n_rows, self._started = 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        self._n_rows += len(batch) * trainer.world_size

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, MultiTaskModule):
            pl_module.rows_per_second = self._n_rows / max(time.monotonic() - self._started, 1e-9)


class Resumable(Callback):
    """Keeps where training is: every so many seconds, and when it is asked to end (SIGTERM).

    What is kept is the state behind a batch in the middle of an epoch, with all that is still to be
    drawn; training that goes on from it is the same, to the bit, as one that was never stopped.
    Between two epochs nothing is kept: the state before serves as well.
    """

    def __init__(self, path: Path, every_seconds: float):
        self.path, self.every_seconds, self._last = path, every_seconds, time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if progress.is_last_batch or progress.current.ready % CHECK_BATCHES:
            return
        due = time.monotonic() - self._last >= self.every_seconds
        if trainer.strategy.broadcast(due):
            trainer.save_checkpoint(self.path)
            self._last = time.monotonic()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, SIGTERMException):
            if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
                trainer.save_checkpoint(self.path)
            if self.path.exists():
                _LOG.info(f"asked to end; training can go on from {self.path}")


def precision_of(config: TrainConfig) -> Any:
    """Lightning's word for the precision, as far as the processor has it."""
    if config.machine.precision == "float32":
        return "32-true"
    able = torch.cpu.get_capabilities()
    has = (
        torch.cuda.is_bf16_supported()
        if _on_gpu(config)
        else able.get("avx512_bf16") or able.get("amx_bf16")
    )
    if not has:
        _say_no_bfloat16()
    return "bf16-mixed" if has else "32-true"


@cache
def _say_no_bfloat16() -> None:
    """Once per process, though two trainings ask."""
    _LOG.info("this processor has no bfloat16: training goes on in float32")


def fit(
    module: MultiTaskModule,
    data: ExampleData,
    config: TrainConfig,
    folder: Path,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Refitted]:
    """Train until every task has stopped early; then restore and freeze the trunk of the last
    task's best epoch, and train each tower further to its own (`models/training/tower_refit.py`).

    `folder` keeps checkpoints. Where an earlier training of the same kind has left one, training
    resumes from it. `callbacks` are the caller's.
    """
    best = ModelCheckpoint(
        dirpath=folder, monitor="best_loss", mode="min", save_top_k=1, save_weights_only=True,
        filename="best", enable_version_counter=False,
        save_on_train_epoch_end=False,  # while the mean of the weights is in their place
    )  # fmt: skip
    own = [TaskEarlyStopping(config.optimiser.patience), best, EpochLines(), Speed()]
    _run(module, data, config, config.optimiser.max_epochs, folder, [*own, *callbacks])
    saved = torch.load(best.best_model_path, weights_only=True)
    module.load_state_dict(saved["state_dict"])
    module.network.cpu()
    falls = [row["best_loss"] for row in module.history]
    trunk_epoch = int(module.history[falls.index(min(falls))]["epoch"])
    steps = config.optimiser
    towers, stopping = (
        TowerModule(module),
        TaskEarlyStopping(min(steps.patience, steps.tower_epochs)),
    )
    rank, n_ranks = data.valid.rank, data.valid.n_ranks
    data.valid.rank, data.valid.n_ranks = 0, 1
    towers.start(data.valid)
    stopping.keep(towers)
    if steps.tower_epochs:
        _LOG.info(f"the trunk is that of epoch {trunk_epoch}; towers go on learning")
        data.valid.rank, data.valid.n_ranks = rank, n_ranks
        data.train.start_at(0, 0)
        _run(towers, data, config, steps.tower_epochs, folder / "towers", [stopping, EpochLines()])
        data.valid.rank, data.valid.n_ranks = 0, 1
    refits = refitted(module, towers, stopping, trunk_epoch)
    module.network.eval().cpu()
    return refits


def _run(
    module: MultiTaskModule,
    data: ExampleData,
    config: TrainConfig,
    max_epochs: int,
    folder: Path,
    callbacks: Sequence[Callback],
) -> None:
    """So many epochs at most, from where a training was stopped that left its state in `folder`."""
    resume = folder / RESUME
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*GPU available but not used.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own
        trainer = pl.Trainer(
            accelerator=config.machine.accelerator,
            devices=config.machine.devices,
            strategy=_strategy(config),
            precision=precision_of(config),
            max_epochs=max_epochs,
            deterministic="warn" if _on_gpu(config) else True,
            logger=False,
            enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[*callbacks, Resumable(resume, config.machine.checkpoint_seconds)],
        )
        # Asking for determinism makes torch fill all fresh memory, a quarter of a step's time here;
        # nothing of ours reads memory that it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        is_resumed = resume.exists()
        if is_resumed:
            _LOG.info("going on with a training that was stopped")
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(resume) if is_resumed else None,
            weights_only=True,
        )


def _on_gpu(config: TrainConfig) -> bool:
    return torch.cuda.is_available() and config.machine.accelerator != "cpu"


def _strategy(config: TrainConfig) -> Any:
    if config.machine.devices == 1:
        return "auto"
    # A batch, or a rank's part of it, may have no label of some task; nothing in buffers differs.
    return DDPStrategy(
        process_group_backend="nccl" if _on_gpu(config) else "gloo",
        find_unused_parameters=True,
        broadcast_buffers=False,
    )
