"""Pictures as they could have been taken: what a network is shown while it learns.

Letters: B pictures, S side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIXED = 0.2
"""Parameter of the Beta distribution from which the share of the other picture comes: mixup, Zhang
et al. (arXiv 1710.09412)."""


def augmented(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Pixels (B, 3, S, S), floats about 0: cut out of their frame, mirrored, tilted, in other light
    and colours, and with a square missing (cutout, arXiv 1708.04552)."""
    return _cut_out(_other_light(_moved(pixels, random), random), random)


def mixup(n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each of a batch, another one (B,) and how much of itself is kept (B,), at least half."""
    share = _beta(n, MIXED, random)
    return torch.randperm(n, generator=random), torch.maximum(share, 1 - share)


def _beta(n: int, alpha: float, random: torch.Generator) -> Tensor:
    """Of Beta(alpha, alpha), by Jöhnk's method with a bound on tries: torch's own has no generator.

    Two powers of uniform numbers, each pair kept if their sum is at most 1.
    """
    powers = torch.rand(64, n, 2, generator=random).pow(1 / alpha)
    sums = powers.sum(2)
    first = (sums <= 1).float().argmax(0)
    x, total = powers[first, torch.arange(n), 0], sums[first, torch.arange(n)]
    return (x / total.clamp_min(1e-30)).clamp(0, 1)


def _uniform(n: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=random)


def _moved(pixels: Tensor, random: torch.Generator) -> Tensor:
    n = len(pixels)
    scale = _uniform(n, 0.7, 1.05, random)
    narrow = _uniform(n, -0.12, 0.12, random).exp()
    tilt = _uniform(n, -0.17, 0.17, random)
    mirror = torch.randint(0, 2, (n,), generator=random) * 2.0 - 1.0
    room = (1 - scale).clamp_min(0.06)
    x, y = (_uniform(n, -1, 1, random) * room for _ in range(2))
    cos, sin = torch.cos(tilt) * scale, torch.sin(tilt) * scale
    rows = (
        torch.stack([cos * narrow * mirror, -sin, x], 1),
        torch.stack([sin * mirror, cos / narrow, y], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def _other_light(pixels: Tensor, random: torch.Generator) -> Tensor:
    n = len(pixels)
    brightness = _uniform(n, -0.5, 0.5, random).view(n, 1, 1, 1)
    contrast = _uniform(n, 0.7, 1.3, random).view(n, 1, 1, 1)
    colour = _uniform(n, 0.4, 1.5, random).view(n, 1, 1, 1)
    tint = _uniform(3 * n, -0.15, 0.15, random).view(n, 3, 1, 1)
    grey = pixels.mean(1, keepdim=True)
    return (grey + (pixels - grey) * colour) * contrast + brightness + tint


def _cut_out(pixels: Tensor, random: torch.Generator) -> Tensor:
    n, _, side, _ = pixels.shape
    half = _uniform(n, 0, 0.22 * side, random).view(n, 1)
    at = torch.arange(side).view(1, side)
    x, y = (_uniform(n, 0, side, random).view(n, 1) for _ in range(2))
    inside = ((at - y).abs() < half).view(n, 1, side, 1) & ((at - x).abs() < half).view(
        n, 1, 1, side
    )
    return pixels.masked_fill(inside, 0.0)


def one_cycle(step: int, n_steps: int, warm_share: float = 0.1) -> float:
    """Share of the highest learning rate: up in a line, down as a cosine."""
    warm = max(1, int(n_steps * warm_share))
    if step < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, n_steps - warm))
