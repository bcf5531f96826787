"""Mixtures of what the network and a task's trees say of a row, on the task's link.

Letters: B rows, K outputs of a head, J raw scores of trees.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from contracts.kinds import Kind
from models.network.heads import Head
from models.trees.links import link_of

Weights = Sequence[float]
"""The network's share of each parameter of a link, 0 to 1; the rest is the trees'."""


def n_weights(kind: Kind, head: Head) -> int:
    """How many weights the mixture of a kind has."""
    return 1 + max(link_of(kind, head).parameters)


def mixed(
    kind: Kind,
    head: Head,
    weights: Weights,
    outputs: Tensor | None,
    raw: Tensor | None,
    spread: float,
) -> Tensor:
    """The head's outputs (B, K) of the mixture of the network's own, (B, K), and raw scores (B, J).

    Whoever has no weight at all may be None, and the other's come back as they are.
    """
    if raw is None:
        if outputs is None:
            raise TypeError("expected outputs of the network, raw scores of trees, or both")
        return outputs
    link = link_of(kind, head)
    trees = link.of_trees(raw.float(), spread)
    if outputs is None:
        return link.outputs(trees)
    network = link.of_outputs(outputs)
    share = network.new_tensor([weights[k] for k in link.parameters])
    return link.outputs(torch.lerp(trees, network, share))


def needs_network(weights: Weights) -> bool:
    return any(weight > 0 for weight in weights)


def needs_trees(weights: Weights) -> bool:
    return any(weight < 1 for weight in weights)
