"""How the tasks' losses become one step: fixed weights, learned ones, or gradients that agree.

Letters: T tasks, P numbers of the shared representation of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from contracts.tasks import Task

Losses = Mapping[str, Tensor]
"""Mean loss of each task that has labels in a batch, over the loss of its constant."""


def _of_torchjd(name: str) -> Callable[[], Callable[[Tensor], Tensor]]:
    def make() -> Callable[[Tensor], Tensor]:
        import torchjd.aggregation as jd

        aggregator: Callable[[Tensor], Tensor] = getattr(jd, name)()
        return aggregator

    return make


AGGREGATORS = {
    "upgrad": _of_torchjd("UPGrad"),
    "pcgrad": _of_torchjd("PCGrad"),
    "mgda": _of_torchjd("MGDA"),
}
"""Of a Jacobian (T, P) a direction (P,) that no task, or few, would object to (torchjd)."""


class Balance(nn.Module):
    """Fixed weights: the mean of the tasks' losses, weighted as the contracts say."""

    cuts = False
    """Whether losses must be computed from a copy of the shared representation."""

    def __init__(self, tasks: Sequence[Task]):
        super().__init__()
        self.weights = {task.name: task.weight for task in tasks}

    def forward(self, losses: Losses, shared: Tensor, leaf: Tensor) -> Tensor:
        """One loss whose gradient is the step's.

        The losses were computed from `leaf`: `shared` itself, or a copy cut off from what made it.
        """
        return self.total(losses)

    def total(self, losses: Losses) -> Tensor:
        return self.mean(losses)

    def mean(self, losses: Losses) -> Tensor:
        """The weighted mean of the losses, whatever they are balanced by."""
        every = [self.weights[name] * loss for name, loss in losses.items()]
        return torch.stack(every).sum() / sum(self.weights.values())


class Uncertainty(Balance):
    """Weights that are learned as each task's noise (Kendall, Gal, Cipolla, 2018)."""

    def __init__(self, tasks: Sequence[Task]):
        super().__init__(tasks)
        self.log_noise = nn.ParameterDict(
            {task.name: nn.Parameter(torch.zeros(())) for task in tasks}
        )

    def total(self, losses: Losses) -> Tensor:
        every = [
            self.weights[name] * (loss * torch.exp(-self.log_noise[name]) + self.log_noise[name])
            for name, loss in losses.items()
        ]
        return torch.stack(every).sum() / sum(self.weights.values())


class JacobianDescent(Balance):
    """Towers learn from their own losses; what is shared, from a direction made of all gradients.

    Gradients are taken on the shared representation, so that they cost a pass through the towers
    each, and none through the trunk (Quinton and Rey, 2024).
    """

    cuts = True

    def __init__(self, tasks: Sequence[Task], name: str):
        super().__init__(tasks)
        self._aggregate = AGGREGATORS[name]()

    def forward(self, losses: Losses, shared: Tensor, leaf: Tensor) -> Tensor:
        rows = [
            torch.autograd.grad(self.weights[name] * loss, leaf, retain_graph=True)[0].flatten()
            for name, loss in losses.items()
        ]
        direction = self._aggregate(torch.stack(rows).float())
        return self.total(losses) + _carry(direction.view_as(leaf), shared)


def _carry(gradient: Tensor, shared: Tensor) -> Tensor:
    """A loss of 0 whose gradient at `shared` is the one given."""
    carried = (shared * gradient.detach()).sum()
    return carried - carried.detach()


def balance_of(name: str, tasks: Sequence[Task]) -> Balance:
    if name == "fixed":
        return Balance(tasks)
    return Uncertainty(tasks) if name == "uncertainty" else JacobianDescent(tasks, name)
