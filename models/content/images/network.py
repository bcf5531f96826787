"""A small residual network: pixels in, logits of each head out.

He et al., Deep Residual Learning for Image Recognition (arXiv 1512.03385), with its
convolutions at low resolutions, where a processor is busiest with multiplications: the first one
goes to a quarter at once, without pooling. Its size is what 1,500 pictures a second of one core
leave beside their decoding.

Letters: B pictures, S side, K classes of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contracts.errors import UsageError


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    size: int = 64
    """Side of the pictures that it sees, in pixels."""
    stem: int = 32
    """Channels of the first convolution."""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of each stage; each but the first halves the resolution."""
    blocks: tuple[int, ...] = (1, 1, 2, 1)
    """Residual blocks of each stage."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks):
            raise UsageError(
                f"blocks: expected one number per stage ({len(self.widths)}), "
                f"found {len(self.blocks)}"
            )
        if self.size < 2 ** (len(self.widths) + 1):
            raise UsageError(
                f"size: expected at least {2 ** (len(self.widths) + 1)} pixels for "
                f"{len(self.widths)} stages, found {self.size}"
            )

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Shape:
        given = {**plain, "widths": tuple(plain["widths"]), "blocks": tuple(plain["blocks"])}
        return cls(**given)


class Convolution(nn.Module):
    """A convolution and what follows it: normalisation while it is trained, a bias afterwards."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int = 1, *, is_folded: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=is_folded)
        self.norm = nn.Identity() if is_folded else nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int, *, is_folded: bool) -> None:
        super().__init__()
        self.first = Convolution(n_in, n_out, 3, stride, is_folded=is_folded)
        self.second = Convolution(n_out, n_out, 3, is_folded=is_folded)
        is_same = n_in == n_out and stride == 1
        self.shortcut = (
            nn.Identity() if is_same else Convolution(n_in, n_out, 1, stride, is_folded=is_folded)
        )
        if not is_folded and isinstance(self.second.norm, nn.BatchNorm2d):
            nn.init.zeros_(self.second.norm.weight)  # a block begins as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x), inplace=True)) + self.shortcut(x))


class ImageNetwork(nn.Module):
    """One trunk and a linear head for each name."""

    def __init__(
        self,
        shape: Shape,
        heads: Mapping[str, int],
        *,
        dropout: float = 0.0,
        is_folded: bool = False,
    ) -> None:
        """`heads` are names and numbers of classes."""
        super().__init__()
        self.shape, self.n_classes = shape, dict(heads)
        self.stem = Convolution(3, shape.stem, 7, 4, is_folded=is_folded)
        blocks, n_in = [], shape.stem
        for stage, (width, n_blocks) in enumerate(zip(shape.widths, shape.blocks, strict=True)):
            for number in range(n_blocks):
                stride = 2 if number == 0 and stage > 0 else 1
                blocks.append(Residual(n_in, width, stride, is_folded=is_folded))
                n_in = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(n_in, k) for name, k in heads.items()})

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Logits (B, K) per head, of pixels (B, 3, S, S) as `normalised` gives them."""
        vectors = self.dropout(self.vectors(pixels))
        return {name: head(vectors) for name, head in self.heads.items()}

    def vectors(self, pixels: Tensor) -> Tensor:
        """What the heads see, (B, last width)."""
        return self.blocks(F.relu(self.stem(pixels), inplace=True)).mean((2, 3))


def normalised(pixels: Tensor) -> Tensor:
    """Pixels (B, S, S, 3), uint8, as floats about 0 (B, 3, S, S), channels last in memory."""
    return (pixels.permute(0, 3, 1, 2).float() - 127.5) / 64.0


def folded(network: ImageNetwork) -> ImageNetwork:
    """The same function for use, its normalisations within its convolutions, channels last."""
    plain = ImageNetwork(network.shape, network.n_classes, is_folded=True)
    with torch.no_grad():
        for one, other in zip(_convolutions(network), _convolutions(plain), strict=True):
            norm, bias = one.norm, other.conv.bias
            if not isinstance(norm, nn.BatchNorm2d) or bias is None:
                raise TypeError("expected a network with normalisations")
            scale = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
            other.conv.weight.copy_(one.conv.weight * scale.view(-1, 1, 1, 1))
            bias.copy_(norm.bias - norm.get_buffer("running_mean") * scale)
        plain.heads.load_state_dict(network.heads.state_dict())
    return channels_last(plain.eval().requires_grad_(False))


def channels_last(network: ImageNetwork) -> ImageNetwork:
    """The network with its weights laid out as convolutions are quickest."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _convolutions(network: ImageNetwork) -> list[Convolution]:
    return [module for module in network.modules() if isinstance(module, Convolution)]
