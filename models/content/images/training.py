"""Training of the image network from nothing but labelled pictures.

Deterministic: seeds, one thread, and no clock. Memory is the network and a batch: pixels come from
an array that may lie on disk.

Letters: N pictures, B of a batch, S side, K classes of a head.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from contracts.errors import ContractError, UsageError
from models.content.images.augmentation import augmented, mixup, one_cycle
from models.content.images.network import ImageNetwork, Shape, channels_last, folded, normalised

log = logging.getLogger(__name__)
NOT_LABELLED = -1


@dataclass(frozen=True)
class ImageTrainConfig:
    """What training may cost, and how it learns."""

    shape: Shape = Shape()  # noqa: RUF009  frozen
    pictures_seen: int = 400_000
    """Pictures that go through the network in all, whatever their number."""
    batch: int = 64
    learning_rate: float = 3e-3
    """Highest of the cycle, of AdamW."""
    weight_decay: float = 0.05
    dropout: float = 0.2
    label_smoothing: float = 0.1
    average: float = 0.995
    """Share of the averaged weights that a step keeps: the average is what is used."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise UsageError(f"batch: expected at least 2 pictures, found {self.batch}")
        if self.pictures_seen < self.batch:
            raise UsageError(
                f"pictures_seen: expected at least a batch ({self.batch}), "
                f"found {self.pictures_seen}"
            )

    @property
    def n_steps(self) -> int:
        return self.pictures_seen // self.batch


def fit(
    pixels: np.ndarray,
    labels: Mapping[str, np.ndarray],
    n_classes: Mapping[str, int],
    config: ImageTrainConfig,
) -> ImageNetwork:
    """A network for use, of pixels (N, S, S, 3), uint8, and labels (N,) per head, `NOT_LABELLED`
    where there is none.

    Raises:
        ContractError: there are fewer than two pictures.
    """
    n = len(pixels)
    if n < 2:
        raise ContractError(f"expected at least 2 pictures to learn from, found {n}")
    torch.set_num_threads(1)  # sums of several threads depend on how many there are
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _fit(pixels, {k: torch.from_numpy(v) for k, v in labels.items()}, n_classes, config)


def _fit(
    pixels: np.ndarray,
    labels: Mapping[str, Tensor],
    n_classes: Mapping[str, int],
    config: ImageTrainConfig,
) -> ImageNetwork:
    network = channels_last(ImageNetwork(config.shape, n_classes, dropout=config.dropout)).train()
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(
        _groups(network, config.weight_decay), lr=config.learning_rate, fused=True
    )
    random = torch.Generator().manual_seed(config.seed)
    order, total = _order(len(pixels), config.batch, random), 0.0
    for step in range(config.n_steps):
        if len(order) < config.batch:
            order = torch.cat([order, _order(len(pixels), config.batch, random)])
        rows, order = order[: config.batch], order[config.batch :]
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * one_cycle(step, config.n_steps)
        batch = normalised(torch.from_numpy(pixels[rows.numpy()]))
        loss = _loss(network, augmented(batch, random), labels, rows, random, config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        _follow(average, network, min(config.average, (1 + step) / (10 + step)))
        total += float(loss.detach())
        if (step + 1) % 500 == 0:
            log.info("step %d of %d: loss %.3f", step + 1, config.n_steps, total / 500)
            total = 0.0
    return folded(average.eval())


def _order(n: int, batch: int, random: torch.Generator) -> Tensor:
    """All rows in a new order; again and again where there are fewer than a batch."""
    return torch.cat([torch.randperm(n, generator=random) for _ in range(max(1, -(-batch // n)))])


def _groups(network: ImageNetwork, weight_decay: float) -> list[dict[str, object]]:
    """Biases and normalisations are not pulled towards 0."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _loss(
    network: ImageNetwork,
    pixels: Tensor,
    labels: Mapping[str, Tensor],
    rows: Tensor,
    random: torch.Generator,
    config: ImageTrainConfig,
) -> Tensor:
    """Mean over heads of the mean over their labels, of pictures mixed with others."""
    other, share = mixup(len(rows), random)
    wide = share.view(-1, 1, 1, 1)
    mixed = pixels * wide + pixels[other] * (1 - wide)
    logits = network(mixed.contiguous(memory_format=torch.channels_last))
    losses = []
    for name, given in labels.items():
        own, of_other = given[rows], given[rows[other]]
        weights = torch.cat(
            [share * (own != NOT_LABELLED), (1 - share) * (of_other != NOT_LABELLED)]
        )
        each = F.cross_entropy(
            torch.cat([logits[name], logits[name]]),
            torch.cat([own, of_other]).clamp_min(0),
            reduction="none",
            label_smoothing=config.label_smoothing,
        )
        losses.append((each * weights).sum() / weights.sum().clamp_min(1.0))
    return torch.stack(losses).mean()


@torch.no_grad()
def _follow(average: ImageNetwork, network: ImageNetwork, share: float) -> None:
    """Move averaged weights and statistics towards those of the step."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - share)
