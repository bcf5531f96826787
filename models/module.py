"""Training with Lightning: masked losses, their balance, early stopping on the validation days."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from models.balance import balance_of
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
        self.balance = balance_of(config.balance, network.tasks)
        self.history: list[dict[str, float]] = []
        """Per epoch: training loss, validation loss, and the validation loss of each task."""
        self._sums: dict[str, list[Tensor]] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.config.event_dropout:
            batch = without_events(batch, self.config.event_dropout)
        shared = self.network.shared(batch)
        leaf = shared.detach().requires_grad_() if self.balance.cuts else shared
        outputs = self.network.of_tasks(self.network.trunk.split(leaf))
        # The mean is over a task's own labelled rows, so that rare labels count as common ones do.
        losses = {
            name: loss / self.scales[name]
            for name, (loss, _) in self.losses(outputs, batch.labels).items()
        }
        self._add("train_loss", self.balance.mean(losses).detach(), 1)
        loss = self.balance(losses, shared, leaf)
        return loss + self.config.l1 * self.network.l1() if self.config.l1 else loss

    def losses(
        self, outputs: Mapping[str, Tensor], labels: Tensor
    ) -> dict[str, tuple[Tensor, int]]:
        """Mean loss over labelled rows and members, and how many rows, for tasks that have any.

        Outputs are (B, M, K), or (B, K) of the ensemble as a whole.
        """
        made = {}
        for task in self.tasks:
            mine = task_labels(labels, self.network.layout.slices[task.name])
            there = labelled(mine)
            n = int(there.sum())
            if n:
                given, kept = outputs[task.name][there], mine[there]
                if given.ndim == 3:
                    kept = kept.repeat_interleave(given.shape[1], dim=0)
                    given = given.flatten(0, 1)
                made[task.name] = (self.network.heads[task.name].loss(given, kept).mean(), n)
        return made

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, (loss, n) in self.losses(self.network(batch), batch.labels).items():
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

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        if config.schedule == "constant":
            return optimizer
        # Per epoch, because the number of steps of a stream is known only at its end.
        cycle = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: one_cycle(epoch / config.max_epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": cycle}


def one_cycle(progress: float) -> float:
    """The learning rate over its highest, at a share of the way (Smith, 2018): it rises over a
    third, then falls along a cosine to nearly none."""
    rise = 0.3
    if progress < rise:
        return 0.2 + 0.8 * progress / rise
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def without_events(batch: Batch, share: float) -> Batch:
    """The batch without some events of each sequence, as if they had not happened."""
    kept = torch.rand(batch.verbs.shape, device=batch.verbs.device) >= share
    return replace(
        batch,
        verbs=batch.verbs * kept,
        items=batch.items * kept,
        times=batch.times * kept.unsqueeze(2),
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
