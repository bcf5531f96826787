"""Early stopping per task, and towers that are trained further on the frozen trunk.

Tasks peak at different epochs: a network overfits rare labels while it still learns from frequent
ones. So a task whose validation loss has not fallen for `patience` epochs stops early: its tower is
restored to its best epoch and frozen, and its loss no longer counts for the trunk. When all have
stopped, the trunk is restored to the last epoch at which some task was better than ever, and
frozen. On it every tower is trained further until its own best epoch, which costs no task anything.

Tasks of which one lies within another stop together, for they share their loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from models.data.batches import Batch, Examples
from models.training.early_stopping import best_epochs, stopped_early
from models.training.lightning_module import MultiTaskModule, without_events

State = dict[str, Tensor]


class TaskEarlyStopping(Callback):
    """Keeps the tower of each task's best epoch, stops tasks early, and ends training when all have
    stopped."""

    def __init__(self, patience: int):
        self.patience = patience
        self.towers: dict[str, State] = {}

    def keep(self, module: MultiTaskModule) -> None:
        """Keep the towers that are better than ever."""
        now = int(module.history[-1]["epoch"])
        for name, (epoch, _) in best_epochs(module.history, module.tasks).items():
            if epoch == now:
                tower = module.network.towers[name].state_dict()
                self.towers[name] = {k: v.detach().cpu().clone() for k, v in tower.items()}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and isinstance(pl_module, MultiTaskModule):
            self.keep(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop_tasks(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop_tasks(pl_module)
        if isinstance(pl_module, MultiTaskModule) and len(pl_module.stopped) == len(
            pl_module.tasks
        ):
            trainer.should_stop = True

    def stop_tasks(self, module: pl.LightningModule) -> None:
        if isinstance(module, MultiTaskModule):
            for name in stopped_early(module.history, module.tasks, self.patience):
                if name not in module.stopped:
                    module.stop_task(name, self.towers.get(name))

    def state_dict(self) -> dict[str, Any]:
        return {"towers": self.towers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.towers = state_dict["towers"]


class TowerModule(MultiTaskModule):
    """Trains the towers alone; what lies before them is frozen, though its dropout stays."""

    def __init__(self, module: MultiTaskModule):
        config = module.config.changed(balance="fixed", schedule="constant")
        super().__init__(module.network, config, module.scales, module.teacher, module.mean_weights)
        self.network.requires_grad_(False)
        self.network.towers.requires_grad_(True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.config.network.event_dropout:
            batch = without_events(batch, self.config.network.event_dropout)
        with torch.no_grad():
            inputs = self.network.entered(batch)
            split = self.network.trunk.split(self.network.trunk.shared(inputs))
        outputs = self.network.of_tasks(split, inputs)
        losses = self.scaled_losses(outputs, batch)
        if not losses:
            return torch.stack([output.sum() for output in outputs.values()]).sum() * 0.0
        self.check_finite(losses)
        loss = self.balance.mean(losses)
        self._add("train_loss", loss.detach(), 1)
        return self.distillation_loss(loss, batch, outputs)

    def start(self, valid: Examples) -> None:
        """Note the losses of the towers before they are trained further, as epoch 0."""
        self.network.eval()
        with torch.inference_mode():
            for i, batch in enumerate(valid):
                self.validation_step(batch, i)
        self.network.train()
        self.note(0, float("nan"), self._take_means(None))


@dataclass(frozen=True)
class Refitted:
    """How a task's tower came about. Losses are validation losses over the constant's."""

    epoch: int
    """At which the task was best while the trunk was trained."""
    trunk_epoch: int
    before: float
    """With the tower that came with the trunk."""
    after: float
    """With the tower that is kept."""


def refitted(
    module: MultiTaskModule, towers: TowerModule, kept: TaskEarlyStopping, trunk_epoch: int
) -> dict[str, Refitted]:
    """Give every task its best tower on the frozen trunk."""
    for name, state in kept.towers.items():
        module.network.towers[name].load_state_dict(state)
    first, best_of = towers.history[0], best_epochs(towers.history, module.tasks)
    losses_at = {int(row["epoch"]): row for row in towers.history}
    best_with_trunk = best_epochs(module.history, module.tasks)
    refits = {}
    for task in module.tasks:
        key = f"valid_loss/{task.name}"
        if task.name in best_of and task.name in best_with_trunk and key in first:
            after = losses_at[best_of[task.name][0]][key]
            epoch, _ = best_with_trunk[task.name]
            refits[task.name] = Refitted(epoch, trunk_epoch, first[key], after)
    return refits
