"""AdamW (Loshchilov and Hutter, Decoupled weight decay regularization, 2019) by torch's function.

The first optimizer of torch's classes that is made imports torch's compiler, which takes longer
than the small networks of recommendations take to learn; the function that computes their steps
does not. The steps are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """Learns parameters from their gradients."""

    def __init__(self, parameters: Iterable[Tensor], decay: float):
        self._parameters, self._decay = list(parameters), decay
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._steps = [torch.tensor(0.0) for _ in self._parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move against the gradients, and forget them; what has none stays as it is."""
        moved = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        adamw(
            [self._parameters[i] for i in moved],
            [grad for i in moved if (grad := self._parameters[i].grad) is not None],
            [self._means[i] for i in moved],
            [self._squares[i] for i in moved],
            [],
            [self._steps[i] for i in moved],
            foreach=False,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=self._decay,
            eps=EPSILON,
            maximize=False,
        )
        for p in self._parameters:
            p.grad = None
