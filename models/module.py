"""Training with Lightning: masked losses, fixed balance, early stopping on the validation days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from models.config import TrainConfig
from models.data import Batch, Examples
from models.layout import labelled, task_labels
from models.network import Network


class MultiTaskModule(pl.LightningModule):
    """One network, one loss: the mean over tasks of loss over the constant's loss.

    `scales` holds, per task, the loss of the constant that fits the training labels best; dividing
    by it makes tasks of different kinds comparable, and `Task.weight` then says what matters more.
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        scales: Mapping[str, float],
    ):
        super().__init__()
        self.network, self.tasks, self.config, self.scales = network, network.tasks, config, scales
        self.history: list[dict[str, float]] = []
        """Per epoch: training loss, validation loss, and the validation loss of each task."""
        self._sums: dict[str, list[Tensor]] = {}

    def task_losses(self, batch: Batch) -> dict[str, tuple[Tensor, int]]:
        """Mean loss over labelled rows, and how many those are, for tasks that have any."""
        outputs = self.network(batch)
        losses = {}
        slices = self.network.layout.slices
        for task in self.tasks:
            labels = task_labels(batch.labels, slices[task.name])
            there = labelled(labels)
            n = int(there.sum())
            if n:
                head = self.network.heads[task.name]
                losses[task.name] = (head.loss(outputs[task.name][there], labels[there]).mean(), n)
        return losses

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        losses = self.task_losses(batch)
        # The mean is over a task's own labelled rows, so that rare labels count as common ones do.
        total = torch.stack(
            [
                task.weight * losses[task.name][0] / self.scales[task.name]
                for task in self.tasks
                if task.name in losses
            ]
        ).sum()
        loss: Tensor = total / sum(task.weight for task in self.tasks)
        self._add("train_loss", loss.detach(), 1)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, (loss, n) in self.task_losses(batch).items():
            self._add(name, loss * n / self.scales[name], n)

    def on_validation_epoch_end(self) -> None:
        means = {
            name: float(torch.stack(sums).sum() / max(float(torch.stack(counts).sum()), 1e-9))
            for name, (sums, counts) in self._parts().items()
        }
        valid = [means[task.name] for task in self.tasks if task.name in means]
        loss = sum(valid) / max(len(valid), 1)
        self.log("valid_loss", loss)
        if not self.trainer.sanity_checking:
            self.history.append(
                {
                    "epoch": len(self.history) + 1,
                    "train_loss": means.pop("train_loss", float("nan")),
                    "valid_loss": loss,
                    **{f"valid_loss/{name}": value for name, value in means.items()},
                }
            )
        self._sums = {}

    def _add(self, name: str, value: Tensor, n: int) -> None:
        sums = self._sums.setdefault(name, [])
        sums.append(
            torch.stack(
                [value.detach().cpu().double(), torch.tensor(float(n), dtype=torch.float64)]
            )
        )

    def _parts(self) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
        return {
            name: ([s[0] for s in sums], [s[1] for s in sums]) for name, sums in self._sums.items()
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )


class ExampleData(pl.LightningDataModule):
    """Training and validation streams. Batches come ready made, so loaders only pass them on."""

    def __init__(self, train: Examples, valid: Examples):
        super().__init__()
        self.train, self.valid = train, valid

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.train, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.valid, batch_size=None)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return batch.to(device)


class EpochLines(pl.Callback):
    """One line per epoch for the person who waits."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and isinstance(pl_module, MultiTaskModule):
            last = pl_module.history[-1]
            print(
                f"epoch {last['epoch']:>3.0f}  training loss {last['train_loss']:.4f}  "
                f"validation loss {last['valid_loss']:.4f}",
                flush=True,
            )
