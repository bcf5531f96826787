"""The convolutional network over sequences of words, with one linear head for each question.

B texts, L words of the longest with a margin, V distinct words of a batch, D numbers of a word,
F filters of a width, P pooled numbers of a text, K classes of all heads together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    bits: int = 17
    """2 ** bits buckets of words and parts of words have a vector."""
    dimension: int = 64
    """Numbers of a vector."""
    n_filters: int = 96
    """Filters of each width."""
    widths: tuple[int, ...] = (1, 2, 3, 4)
    """Words that a filter looks at together."""


@dataclass(frozen=True)
class TextBatch:
    """Texts that go through the network together."""

    parts: Tensor
    """Buckets of the parts of all distinct words, (parts,)."""
    part_begins: Tensor
    """Where each word begins among them, (V,)."""
    part_weights: Tensor
    """What each part counts, (parts,)."""
    grid: Tensor
    """Number of each text's words, from 1, (B, L); 0 around them, on each side as many as the
    widest filter sees."""
    targets: Tensor
    """The same of what the texts are about, (B, any)."""
    pairs: Tensor
    """Buckets of pairs of a word and what its text is about, (pairs,)."""
    pair_begins: Tensor
    """Where each text begins among them, (B,)."""


class Convolutions(nn.Module):
    """Kim (2014) over vectors of words, each the sum of its parts' (Bojanowski et al. 2017).

    What a text is about scales and shifts what is found in it (Perez et al. 2018).
    """

    def __init__(self, shape: Shape, n_classes: int) -> None:
        super().__init__()
        self.shape = shape
        d, f = shape.dimension, shape.n_filters
        self.n_pooled = f * len(shape.widths) + d
        self.table = nn.EmbeddingBag(1 << shape.bits, d, mode="sum", sparse=True)
        self.filters = nn.ModuleList(nn.Linear(d * width, f) for width in shape.widths)
        self.scale = nn.Linear(d, self.n_pooled, bias=False)
        self.shift = nn.Linear(d, self.n_pooled, bias=False)
        self.heads = nn.Linear(self.n_pooled, n_classes)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, batch: TextBatch, dropout: float = 0.0, word_dropout: float = 0.0) -> Tensor:
        """Logits (B, K).

        Args:
            dropout: share of what is found in a text that is hidden in training.
            word_dropout: share of words that are.
        """
        vectors = self.table(batch.parts, batch.part_begins, batch.part_weights)
        vectors = torch.cat([vectors.new_zeros(1, self.shape.dimension), vectors])
        words = F.embedding(batch.grid, vectors)
        if word_dropout > 0:
            words = words * (torch.rand(batch.grid.shape) >= word_dropout).unsqueeze(2)
        n_words = _count(batch.grid).sqrt()
        pairs = self.table(batch.pairs, batch.pair_begins, torch.ones(len(batch.pairs)))
        bag = (words.sum(1) + pairs) / n_words
        found = torch.cat([*(self._pooled(words, k) for k in range(len(self.filters))), bag], 1)
        target = F.embedding(batch.targets, vectors).sum(1) / _count(batch.targets)
        found = found * (1 + self.scale(target)) + self.shift(target)
        if dropout > 0:
            found = F.dropout(found, dropout)
        return torch.as_tensor(self.heads(found))

    def _pooled(self, words: Tensor, k: int) -> Tensor:
        """What the filters of a width find anywhere in each text, (B, F).

        Beside the words of a text there is always a place without any, where a filter finds 0: so
        a text's maximum is the same however many such places the longest of its batch makes.
        """
        width = self.shape.widths[k]
        n = words.shape[1] - width + 1
        windows = torch.cat([words[:, i : i + n] for i in range(width)], 2)
        found = F.linear(windows, self.get_parameter(f"filters.{k}.weight")).amax(1)
        return F.relu(found + self.get_parameter(f"filters.{k}.bias"))


def _count(grid: Tensor) -> Tensor:
    """Words of each text, at least 1, (B, 1)."""
    return (grid > 0).sum(1, keepdim=True).clamp(min=1).float()
