"""EfficientNet-Lite0, for weights that somebody has: pixels in, one vector a picture out.

Tan and Le, EfficientNet (arXiv 1905.11946), in the variant for small machines, Lite: without
squeeze-and-excitation, with ReLU6, and a first and a last convolution that are not scaled.
Normalisations are folded into convolutions when weights are read; nothing is trained here.

The names of tensors are those under which PyTorch ports publish the weights: `_conv_stem`,
`_blocks.7._depthwise_conv`, `_bn1` and so on.

Letters: B pictures, S side.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from contracts.errors import ContractError

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, channels (table 1 of the paper)."""
STEM, DIMENSION = 32, 1280
_EPSILON = 1e-3
"""Of the normalisations, as in the paper's own code."""


class _Convolution(nn.Module):
    """A convolution padded as TensorFlow's SAME does, for which the weights were trained: what is
    one too many stands right and below."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, groups=groups)
        if stride == 1:
            self.conv.padding = (kernel // 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            height, width = (self._missing(n) for n in x.shape[2:])
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return self.conv(x)

    def _missing(self, n: int) -> int:
        return max(0, (-(-n // self.stride) - 1) * self.stride + self.kernel - n)


class _Block(nn.Module):
    """Channels are multiplied, each convolved alone, and brought together again."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = n_in * expansion
        self.expand = _Convolution(n_in, wide, 1) if expansion > 1 else None
        self.depthwise = _Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = _Convolution(wide, n_out, 1)
        self.has_shortcut = n_in == n_out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return out + x if self.has_shortcut else out


class EfficientNetLite0(nn.Module):
    """Everything before the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, STEM, 3, 2)
        blocks, n_in = [], STEM
        for n_blocks, kernel, stride, expansion, width in STAGES:
            for number in range(n_blocks):
                first = stride if number == 0 else 1
                blocks.append(_Block(n_in, width, kernel, first, expansion))
                n_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = _Convolution(n_in, DIMENSION, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """The means (B, 1280) over all places, of normalised pixels (B, 3, S, S)."""
        x = self.blocks(F.relu6(self.stem(pixels), inplace=True))
        return F.relu6(self.head(x), inplace=True).mean((2, 3))


def published_names(network: EfficientNetLite0) -> list[tuple[_Convolution, str, str]]:
    """Each convolution, with the published names of its weight and of its normalisation."""
    names = [(network.stem, "_conv_stem", "_bn0")]
    for number, block in enumerate(network.blocks):
        at = f"_blocks.{number}."
        if not isinstance(block, _Block):
            continue
        if block.expand is not None:
            names.append((block.expand, f"{at}_expand_conv", f"{at}_bn0"))
        names.append((block.depthwise, f"{at}_depthwise_conv", f"{at}_bn1"))
        names.append((block.project, f"{at}_project_conv", f"{at}_bn2"))
    return [*names, (network.head, "_conv_head", "_bn1")]


def lite0_of(tensors: Mapping[str, Tensor]) -> EfficientNetLite0:
    """The network with published weights, ready to use.

    Raises:
        ContractError: a tensor is missing, or of another shape.
    """
    network, wrong = EfficientNetLite0(), []
    with torch.no_grad():
        for convolution, name, norm in published_names(network):
            conv = convolution.conv
            try:
                mean = tensors[f"{norm}.running_mean"]
                weight, bias = fuse_conv_bn_weights(
                    tensors[f"{name}.weight"], None, mean, tensors[f"{norm}.running_var"],
                    _EPSILON, tensors[f"{norm}.weight"], tensors[f"{norm}.bias"],
                )  # fmt: skip
                if weight.shape != conv.weight.shape:
                    found = tuple(weight.shape)
                    wrong.append(f"  {name}: expected {tuple(conv.weight.shape)}, found {found}")
                    continue
                conv.weight.copy_(weight)
                if conv.bias is not None:
                    conv.bias.copy_(bias)
            except KeyError as error:
                wrong.append(f"  {error.args[0]}: expected a tensor, found none")
            except RuntimeError:
                wrong.append(f"  {norm}: expected {conv.out_channels} channels, found others")
    if wrong:
        raise ContractError("\n".join(["these are no weights of EfficientNet-Lite0:", *wrong[:5]]))
    return network.eval().requires_grad_(False)
