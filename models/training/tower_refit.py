"""Each task learns for as long as it gets better, and ends with the tower that was best.

Tasks peak at different epochs: rare labels are memorised while frequent ones still teach. So
a task whose validation loss has not fallen for `patience` epochs rests: its tower is put back to
its best epoch, and it no longer pulls at the trunk. When all rest, the trunk is that of the last
epoch at which some task was better than ever. That trunk is then fixed, and every tower goes on
learning on it until its own best epoch, which costs no task anything.

Tasks of which one lies within another have one pace, for they share their loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from models.data.batches import Batch, Examples
from models.training.early_stopping import bests, resting
from models.training.lightning_module import MultiTaskModule, without_events

State = dict[str, Tensor]


class OwnPace(Callback):
    """Keeps the tower of each task's best epoch, lets tasks rest, and ends when all do."""

    def __init__(self, patience: int):
        self.patience = patience
        self.towers: dict[str, State] = {}

    def keep(self, module: MultiTaskModule) -> None:
        """Keep the towers that are better than ever."""
        now = int(module.history[-1]["epoch"])
        for name, (epoch, _) in bests(module.history, module.tasks).items():
            if epoch == now:
                tower = module.network.towers[name].state_dict()
                self.towers[name] = {k: v.detach().cpu().clone() for k, v in tower.items()}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and isinstance(pl_module, MultiTaskModule):
            self.keep(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.let_rest(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.let_rest(pl_module)
        if isinstance(pl_module, MultiTaskModule) and len(pl_module.rests) == len(pl_module.tasks):
            trainer.should_stop = True

    def let_rest(self, module: pl.LightningModule) -> None:
        if isinstance(module, MultiTaskModule):
            for name in resting(module.history, module.tasks, self.patience):
                if name not in module.rests:
                    module.let_rest(name, self.towers.get(name))

    def state_dict(self) -> dict[str, Any]:
        return {"towers": self.towers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.towers = state_dict["towers"]


class TowerModule(MultiTaskModule):
    """Towers alone learn; what lies before them is fixed, though its dropout stays."""

    def __init__(self, module: MultiTaskModule):
        config = module.config.changed(balance="fixed", schedule="constant")
        super().__init__(module.network, config, module.scales, module.teacher)
        self.network.requires_grad_(False)
        self.network.towers.requires_grad_(True)

    def on_train_epoch_start(self) -> None:
        for part in self.network.modules():
            if isinstance(part, _BatchNorm):
                part.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.config.network.event_dropout:
            batch = without_events(batch, self.config.network.event_dropout)
        with torch.no_grad():
            inputs = self.network.entered(batch)
            split = self.network.trunk.split(self.network.trunk.shared(inputs))
        outputs = self.network.of_tasks(split, inputs)
        losses = self.scaled_losses(outputs, batch.labels)
        if not losses:
            return torch.stack([made.sum() for made in outputs.values()]).sum() * 0.0
        self.check_finite(losses)
        loss = self.balance.mean(losses)
        self._add("train_loss", loss.detach(), 1)
        return self.taught(loss, batch, outputs)

    def start(self, valid: Examples) -> None:
        """Note what the towers are worth before they go on, as epoch 0."""
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
    """At which the task was best while the trunk learnt."""
    trunk_epoch: int
    before: float
    """With the tower that came with the trunk."""
    after: float
    """With the tower that is kept."""


def refitted(
    module: MultiTaskModule, towers: TowerModule, kept: OwnPace, trunk_epoch: int
) -> dict[str, Refitted]:
    """Give every task its best tower on the fixed trunk."""
    for name, state in kept.towers.items():
        module.network.towers[name].load_state_dict(state)
    first, found = towers.history[0], bests(towers.history, module.tasks)
    told_at = {int(row["epoch"]): row for row in towers.history}
    own = bests(module.history, module.tasks)
    made = {}
    for task in module.tasks:
        key = f"valid_loss/{task.name}"
        if task.name in found and task.name in own and key in first:
            after = told_at[found[task.name][0]][key]
            made[task.name] = Refitted(own[task.name][0], trunk_epoch, first[key], after)
    return made


def told(of: Mapping[str, Refitted]) -> dict[str, dict[str, Any]]:
    return {name: asdict(found) for name, found in of.items()}
