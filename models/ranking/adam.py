"""Steps of AdamW (Loshchilov and Hutter, Decoupled weight decay regularization, 2019).

torch has it too, but the first of its optimizers that is made imports torch's compiler, which takes
longer than the small networks here take to learn.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """Learns parameters from their gradients."""

    def __init__(self, parameters: Iterable[Tensor], rate: float, decay: float):
        self.rate = rate
        self._decay, self._n_steps = decay, 0
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]

    @torch.no_grad()
    def step(self, max_norm: float | None = None) -> None:
        """Move against the gradients, and forget them.

        Args:
            max_norm: length to which all gradients together are shortened; None: they are not.
        """
        self._n_steps += 1
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if max_norm is not None:
            length = torch.stack([gradient.norm() for gradient in gradients]).norm()
            shorter = (max_norm / (length + 1e-6)).clamp(max=1)
            for gradient in gradients:
                gradient.mul_(shorter)
        first, second = (1 - beta**self._n_steps for beta in BETAS)
        for p, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            if p.grad is None:
                continue
            p.mul_(1 - self.rate * self._decay)
            mean.lerp_(p.grad, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(p.grad, p.grad, value=1 - BETAS[1])
            p.addcdiv_(mean, (square.sqrt() / second**0.5).add_(EPSILON), value=-self.rate / first)
            p.grad = None
