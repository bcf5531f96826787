"""The best tower of each task, where tasks peak at different epochs.

One trunk is kept, of the epoch with the smallest mean validation loss. A task whose own loss was
smallest at another epoch gets its tower of that epoch, if with the kept trunk it does better on the
validation days than the tower it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from models.data import Batch
from models.module import MultiTaskModule
from models.network import Network


class BestTowers(Callback):
    """Keeps the tower of each task from the epoch at which its validation loss was smallest."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.losses: dict[str, float] = {}
        self.towers: dict[str, dict[str, Tensor]] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(pl_module, MultiTaskModule):
            return
        last = pl_module.history[-1]
        for task in pl_module.tasks:
            loss = last.get(f"valid_loss/{task.name}")
            if loss is not None and loss < self.losses.get(task.name, float("inf")):
                self.losses[task.name], self.epochs[task.name] = loss, int(last["epoch"])
                tower = pl_module.network.towers[task.name].state_dict()
                self.towers[task.name] = {k: v.detach().cpu().clone() for k, v in tower.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "losses": self.losses, "towers": self.towers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs, self.losses = state_dict["epochs"], state_dict["losses"]
        self.towers = state_dict["towers"]


@dataclass(frozen=True)
class Merged:
    """What became of a task that peaked at another epoch than the trunk."""

    epoch: int
    trunk_epoch: int
    before: float
    """Validation loss over the constant's with the trunk's own tower, and with the other."""
    after: float
    kept: bool


def merge(
    module: MultiTaskModule, best: BestTowers, trunk_epoch: int, valid: Iterable[Batch]
) -> dict[str, Merged]:
    """Give tasks their better towers; each is judged beside the trunk's own towers of the others.

    A task that others lie within is judged by their loss as well.
    """
    network = module.network
    others = {name: e for name, e in best.epochs.items() if e != trunk_epoch}
    judged = {
        name: [t.name for t in network.tasks if name in (t.name, t.within)] for name in others
    }
    sums: dict[tuple[str, str, bool], list[float]] = {}
    with torch.inference_mode():
        for batch in valid:
            split = network.trunk.split(network.shared(batch))
            own = network.raw(split)
            told = module.losses(network.bound(own), batch.labels)
            for name in others:
                tried = module.losses(
                    network.bound({**own, name: _with(network, name, best, split)}), batch.labels
                )
                for task in judged[name]:
                    for is_tried, found in ((False, told), (True, tried)):
                        if task in found:
                            loss, n = found[task]
                            total = sums.setdefault((name, task, is_tried), [0.0, 0.0])
                            total[0] += float(loss) * n / module.scales[task]
                            total[1] += n
    made = {}
    for name, epoch in others.items():
        before, after = (
            sum(
                total / n for (of, _, tried), (total, n) in sums.items() if (of, tried) == (name, t)
            )
            for t in (False, True)
        )
        made[name] = Merged(epoch, trunk_epoch, before, after, after < before)
        if made[name].kept:
            network.towers[name].load_state_dict(best.towers[name])
    return made


def _with(network: Network, name: str, best: BestTowers, split: Tensor) -> Tensor:
    """The task's outputs with its kept tower."""
    tower = network.towers[name]
    place = [t.name for t in network.tasks].index(name)
    own = {k: v.clone() for k, v in tower.state_dict().items()}
    tower.load_state_dict(best.towers[name])
    made: Tensor = tower(split[:, place])
    tower.load_state_dict(own)
    return made


def told(merged: Mapping[str, Merged]) -> dict[str, dict[str, Any]]:
    return {name: asdict(found) for name, found in merged.items()}
