"""The running mean of the weights during training, which is steadier than the last of them
(Polyak and Juditsky, 1992; with exponential decay as in Tarvainen and Valpola, 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

WARM_UP = 10
"""After n steps the mean reaches back over about a tenth of them, until `decay` limits it."""


class RunningMean:
    """The mean of a network's weights over its last steps, 1 / (1 - decay) of them or so.

    Tables that are updated by row are left out: a step would have to touch all of their rows.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self._weights = [p for p in network.parameters() if p.requires_grad]
        self.means = [p.detach().clone() for p in self._weights]

    def update(self) -> None:
        """Take in the weights as they are after a step."""
        self.steps += 1
        kept = min(self.decay, self.steps / (self.steps + WARM_UP))
        torch._foreach_lerp_(self.means, [p.detach() for p in self._weights], 1 - kept)

    def swap(self) -> None:
        """Let the network have the means, and keep its weights in their place; or the reverse."""
        with torch.no_grad():
            for weight, mean in zip(self._weights, self.means, strict=True):
                own = weight.detach().clone()
                weight.copy_(mean)
                mean.copy_(own)

    def reset(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let the mean of these be what they are now."""
        places = {id(p): k for k, p in enumerate(self._weights)}
        for parameter in parameters:
            if id(parameter) in places:
                self.means[places[id(parameter)]].copy_(parameter.detach())

    def resume(self, steps: int, means: Sequence[Tensor]) -> None:
        """As it was when a training was stopped."""
        self.steps = steps
        for mean, kept in zip(self.means, means, strict=True):
            mean.copy_(kept)
