"""Training with Lightning: masked losses, their balance, early stopping on the validation days."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy
from torch import Tensor, nn

from contracts.errors import ContractError
from contracts.train_config import TrainConfig
from models.data.batches import Batch, Examples
from models.data.label_layout import labelled, task_labels
from models.network.network import Network
from models.training.early_stopping import best_loss
from models.training.loss_balance import balance_of
from models.training.weight_average import RunningMean


class MultiTaskModule(pl.LightningModule):
    """One network, one loss: the mean over tasks of loss over the constant's loss.

    `scales` holds, per task, the loss of the constant that fits the training labels best; dividing
    by it makes tasks of different kinds comparable, and `Task.weight` then says what matters more.
    With a `teacher`, part of the loss is the distance from what that one predicts
    (Hinton, Vinyals, Dean, 2015; on logits as in Ba and Caruana, 2014).
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        scales: Mapping[str, float],
        teacher: nn.Module | None = None,
        mean_weights: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self.mean_weights = dict(mean_weights or {})
        """Of each task's training rows; 1 of a task that is not named."""
        self._hidden = (teacher.eval().requires_grad_(False),) if teacher is not None else ()
        self.network, self.tasks, self.config, self.scales = network, network.tasks, config, scales
        self.balance = balance_of(config.losses.balance, network.tasks)
        self.history: list[dict[str, float]] = []
        """Per epoch: training loss, validation loss, that of each task, and the mean over tasks of
        the best so far."""
        self.stopped: set[str] = set()
        """Tasks that have stopped early (`models/training/tower_refit.py`)."""
        self.rows_per_second = 0.0
        """How fast the trunk was trained; 0 before it was."""
        self._sums: dict[str, list[Tensor]] = {}
        self._resumed: dict[str, Any] | None = None
        self._mean: RunningMean | None = None

    @property
    def teacher(self) -> nn.Module | None:
        """No part of this module: neither trained nor kept."""
        return self._hidden[0] if self._hidden else None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.config.network.event_dropout:
            batch = without_events(batch, self.config.network.event_dropout)
        inputs = self.network.entered(batch)
        shared = self.network.trunk.shared(inputs)
        leaf = shared
        if self.balance.cuts:  # what lies before the cut gets the balanced direction alone
            leaf, inputs = shared.detach().requires_grad_(), inputs.detach()
        outputs = self.network.of_tasks(self.network.trunk.split(leaf), inputs)
        losses = self.scaled_losses(outputs, batch)
        if not losses:  # a batch, or a rank's part of it, may have none
            return shared.sum() * 0.0
        self.check_finite(losses)
        self._add("train_loss", self.balance.mean(losses).detach(), 1)
        return self.distillation_loss(self.balance(losses, shared, leaf), batch, outputs)

    def check_finite(self, losses: Mapping[str, Tensor | float]) -> None:
        """Stop a training that has diverged: nothing good comes of it any more.

        Raises:
            ContractError: a task's loss is not a finite number; the message says what to try.
        """
        values = {
            name: float(loss.detach()) if isinstance(loss, Tensor) else loss
            for name, loss in losses.items()
        }
        broken = [name for name, loss in values.items() if not math.isfinite(loss)]
        if broken:
            steps = self.config.optimiser
            clipped = "none" if steps.max_grad_norm is None else f"{steps.max_grad_norm:g}"
            raise ContractError(
                f"training has diverged: the loss of {', '.join(broken)} is not a finite number in "
                f"epoch {len(self.history) + 1}, step {self.trainer.global_step + 1}; try a lower "
                f"learning rate (train.optimiser.learning_rate is {steps.learning_rate:g}, "
                f"train.optimiser.id_learning_rate {steps.id_learning_rate:g}) or clip more "
                f"(train.optimiser.max_grad_norm is {clipped})"
            )

    def scaled_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Loss over the constant's of each task that has labels and has not stopped.

        The mean is over a task's own labelled rows, so that rare labels count as common ones do. Of
        a sample it is divided by the mean weight of all of them: by that of a batch's few rows, it
        would say of those that are kept whole that they are frequent.
        """
        return {
            name: loss / (self.scales[name] * self.mean_weights.get(name, 1.0))
            for name, (loss, _) in self.losses(outputs, batch).items()
            if name not in self.stopped
        }

    def distillation_loss(
        self, loss: Tensor, batch: Batch, outputs: Mapping[str, Tensor]
    ) -> Tensor:
        """The loss, of which a teacher's part is the distance from what it predicts."""
        if self.teacher is None:
            return loss
        soft = self.config.losses.student_soft
        return (1 - soft) * loss + soft * self._distance(self.teacher, batch, outputs)

    def stop_task(self, name: str, best: Mapping[str, Tensor] | None) -> None:
        """Restore a task's tower to its best, if it ever was validated, freeze it, and leave its
        loss out from here on."""
        tower = self.network.towers[name]
        if best is not None:
            tower.load_state_dict(best)
        tower.requires_grad_(False)
        if self._mean is not None:
            self._mean.reset(tower.parameters())
        self.stopped.add(name)

    def _distance(self, teacher: nn.Module, batch: Batch, outputs: Mapping[str, Tensor]) -> Tensor:
        """Mean square between both networks' outputs over rows, labelled or not, by their weights,
        and over tasks, ()."""
        with torch.no_grad():
            targets = teacher.to(self.device)(batch)
        gaps = [
            (outputs[task.name].float() - targets[task.name].float().unsqueeze(1))
            .square()
            .flatten(1)
            .mean(1)
            for task in self.tasks
        ]
        of_row = torch.stack(gaps).mean(0)
        return (of_row * batch.weights).mean() / batch.weights.mean()

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, tuple[Tensor, int]]:
        """Mean over labelled rows and members of loss times weight, and how many rows, for tasks
        that have any.

        Outputs are (B, M, K), or (B, K) of the ensemble as a whole.
        """
        losses = {}
        for task in self.tasks:
            known = task_labels(batch.labels, self.network.layout.slices[task.name])
            rows = labelled(known).nonzero()[:, 0]
            n = len(rows)
            if n:
                predicted, weights = outputs[task.name].float(), batch.weights
                if n < len(known):
                    predicted, known = predicted.index_select(0, rows), known.index_select(0, rows)
                    weights = weights.index_select(0, rows)
                if predicted.ndim == 3:
                    members = predicted.shape[1]
                    known = known.repeat_interleave(members, dim=0)
                    weights = weights.repeat_interleave(members, dim=0)
                    predicted = predicted.flatten(0, 1)
                each = self.network.heads[task.name].loss(predicted, known)
                losses[task.name] = ((each * weights).sum() / len(each), n)
        return losses

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, (loss, n) in self.losses(self.network(batch), batch).items():
            self._add(name, loss * n / self.scales[name], n)

    def on_validation_start(self) -> None:
        """What is validated, and kept by the callbacks, is the mean of the weights."""
        if self._mean is not None:
            self._mean.swap()

    def on_validation_end(self) -> None:
        if self._mean is not None:
            self._mean.swap()

    def on_validation_epoch_end(self) -> None:
        means = self._take_means(self.trainer.strategy if self.trainer.world_size > 1 else None)
        train_loss = means.pop("train_loss", float("nan"))
        if not self.trainer.sanity_checking:
            self.check_finite(means)
            epoch = int(self.history[-1]["epoch"]) + 1 if self.history else 1
            self.note(epoch, train_loss, means)
            self.log("best_loss", self.history[-1]["best_loss"])

    def _take_means(self, ranks: Strategy | None) -> dict[str, float]:
        """Mean of what was added under each name, over all ranks; what was added is forgotten."""
        names = ["train_loss", *(task.name for task in self.tasks)]
        sums = torch.zeros(len(names), 2, dtype=torch.float64)
        for k, name in enumerate(names):
            if name in self._sums:
                sums[k] = torch.stack(self._sums[name]).sum(0).cpu()
        self._sums = {}
        if ranks is not None:
            sums = ranks.reduce(sums.to(self.device, torch.float32), reduce_op="sum").cpu()
        return {
            name: float(total / n) for name, (total, n) in zip(names, sums, strict=True) if n > 0
        }

    def note(self, epoch: int, train_loss: float, valid: Mapping[str, float]) -> None:
        """Write an epoch into the history; `valid` has each task's loss over the constant's."""
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "valid_loss": sum(valid.values()) / max(len(valid), 1),
            **{f"valid_loss/{name}": value for name, value in valid.items()},
        }
        row["best_loss"] = best_loss([*self.history, row], self.tasks)
        self.history.append(row)

    def _add(self, name: str, value: Tensor, n: int) -> None:
        total = value.detach().double()
        self._sums.setdefault(name, []).append(torch.stack([total, torch.full_like(total, n)]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["nightjar"] = {
            "history": self.history,
            "sums": {name: torch.stack(parts).cpu() for name, parts in self._sums.items()},
            "steps": self._mean.steps if self._mean is not None else 0,
            "means": [mean.cpu() for mean in self._mean.means] if self._mean is not None else [],
            "rng_state": torch.get_rng_state(),
            "cuda_rng_states": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint["nightjar"]

    def on_fit_start(self) -> None:
        """Begin the mean of the weights; or resume as if nothing had happened."""
        if self.config.optimiser.average:
            self._mean = RunningMean(self.network, self.config.optimiser.average)
        if self._resumed is not None:
            if self._mean is not None:
                self._mean.resume(self._resumed["steps"], self._resumed["means"])
            self.history = self._resumed["history"]
            self._sums = {
                name: list(parts.to(self.device)) for name, parts in self._resumed["sums"].items()
            }

    def on_train_start(self) -> None:
        """Resume with the same random numbers still to be drawn."""
        if self._resumed is not None:
            torch.set_rng_state(self._resumed["rng_state"])
            if self._resumed["cuda_rng_states"]:
                torch.cuda.set_rng_state_all(self._resumed["cuda_rng_states"])
            self._resumed = None

    def optimizer_step(self, *positional: Any, **named: Any) -> None:
        """One step of the optimizer, and one of the tables that are updated by row."""
        super().optimizer_step(*positional, **named)
        steps = self.config.optimiser
        rate = self.trainer.optimizers[0].param_groups[0]["lr"] / steps.learning_rate
        for table in self.network.tables:
            table.step(steps.id_learning_rate * rate)
        if self._mean is not None:
            self._mean.update()

    def configure_gradient_clipping(self, optimizer: Any, *positional: Any, **named: Any) -> None:
        """By the norm of all that the optimizer moves."""
        if self.config.optimiser.max_grad_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.config.optimiser.max_grad_norm)

    def configure_optimizers(self) -> Any:
        steps = self.config.optimiser
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        # A bias has the base rate of its task in it, which decay would draw towards one half.
        biases = [p for name, p in trained if p.ndim == 1 or name.rpartition(".")[2] == "bias"]
        tables = [p for p in embeddings(self.network) if p.requires_grad]
        others = {id(p) for p in (*biases, *tables)}
        groups: list[dict[str, Any]] = [
            {"params": [p for _, p in trained if id(p) not in others]},
            {"params": biases, "weight_decay": 0.0},
            # A row of a table gets its gradient from the few rows of a batch that have its id.
            {"params": tables, "lr": steps.id_learning_rate},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=steps.learning_rate,
            weight_decay=steps.weight_decay,
            fused=True,
        )
        if steps.schedule == "constant":
            return optimizer
        # Per epoch, because the number of steps of a stream is known only at its end.
        cycle = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: one_cycle(epoch / steps.max_epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": cycle}


def embeddings(network: nn.Module) -> list[Tensor]:
    """Tables of ids, items, categories and words that the optimizer updates."""
    return [p.weight for p in network.modules() if isinstance(p, nn.Embedding | nn.EmbeddingBag)]


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
        categories=batch.categories * kept,
        times=batch.times * kept.unsqueeze(2),
    )


class ExampleData(pl.LightningDataModule):
    """Training and validation streams. Batches come ready made: there is nothing to load."""

    def __init__(self, train: Examples, valid: Examples):
        super().__init__()
        self.train, self.valid = train, valid

    def train_dataloader(self) -> Examples:
        return self.train

    def val_dataloader(self) -> Examples:
        return self.valid

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        return batch.to(device)

    def state_dict(self) -> dict[str, int]:
        """Where training is: behind so many batches of which epoch."""
        if self.trainer is None:
            raise RuntimeError("there is no training to tell the place of")
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return {"epoch": self.trainer.current_epoch, "batches": batches}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.train.start_at(state_dict["epoch"], state_dict["batches"])
