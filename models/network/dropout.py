"""Dropout with one random byte an activation, eight of them a draw."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 256
"""A byte decides on each activation, so a share is one of so many parts of 1."""


class Dropout(nn.Module):
    """Drops a share of activations while training (Srivastava et al., 2014), to the nearest 1/256
    that is neither none nor all.

    On a processor torch draws a number per activation, which takes longer than the matrix product
    they enter; here one draw of 64 bits is for eight of them. On GPUs it is torch's own.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share
        self._dropped = min(max(round(share * LEVELS), 1), LEVELS - 1) if share else 0

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape to the same; those that are kept make up for the others."""
        if not self.training or not self._dropped:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.share)
        n = x.numel()
        drawn = torch.empty((n + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = drawn.view(torch.uint8)[:n].view(x.shape) >= self._dropped
        return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - self._dropped))

    def extra_repr(self) -> str:
        return f"{self._dropped / LEVELS:.3f}"
