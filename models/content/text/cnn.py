"""The convolutional member: what it learns from, batch by batch, and what it makes of texts.

N texts, K classes of all heads together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.content.text.convolutions import Convolutions, Shape, TextBatch
from models.content.text.examples import MISSING, Examples, Head, Texts
from models.content.text.ngrams import counting, mixed, text_hash
from models.content.text.tokens import Tokens, tokens

SORTED_TOGETHER = 16
"""Batches whose texts are sorted by length, so that few places of a batch are empty."""
SCORED_TOGETHER = 256
"""Texts of a batch in scoring."""
FILLED_TO = 16
"""A batch is filled up to a multiple of this by its last text: matrix products add the rest of a
multiple in another order, and a text's logits would depend on those around it."""


@dataclass(frozen=True)
class CnnConfig:
    """How the convolutional member is fitted."""

    shape: Shape = field(default_factory=Shape)
    n_passes: int = 4
    """How often each labelled text is learnt from."""
    batch: int = 128
    """Texts of a step."""
    learning_rate: float = 2e-3
    """Of the network's weights at its peak; it rises over the first tenth and falls to 0."""
    vector_learning_rate: float = 8e-3
    """Of the vectors of words' parts."""
    weight_decay: float = 1e-2
    """Of the network's weights (Loshchilov and Hutter 2019)."""
    dropout: float = 0.5
    word_dropout: float = 0.1
    smoothing: float = 0.1
    """Share of a label that is given to all classes alike."""
    balance: float = 0.5
    """How much rare classes count: a class with share s counts `s ** -balance`."""
    small_heads: float = 0.7
    """How much heads with few labels count: a label of one with n counts `n ** -small_heads`."""
    seed: int = 0


@dataclass(frozen=True)
class CnnMember:
    """The network as arrays by name; of a text it gives logits of all heads at once."""

    shape: Shape
    heads: tuple[Head, ...]
    arrays: Mapping[str, NDArray[Any]]
    """The network's parameters; vectors of words' parts as float16."""

    def logits(self, texts: Texts) -> dict[str, NDArray[np.float32]]:
        """Logits of each head's classes, (N, classes)."""
        ends = np.cumsum([len(head.classes) for head in self.heads])
        found = np.zeros((len(texts), int(ends[-1])), np.float32)
        data = _Data.of(texts, self.shape)
        order = np.argsort(data.of_texts.lengths(), kind="stable")
        with torch.inference_mode():
            for begin in range(0, len(order), SCORED_TOGETHER):
                rows = order[begin : begin + SCORED_TOGETHER]
                filled = np.pad(rows, (0, -len(rows) % FILLED_TO), mode="edge")
                found[rows] = self.network(data.batch(filled)).numpy()[: len(rows)]
        return {
            head.name: found[:, end - len(head.classes) : end]
            for head, end in zip(self.heads, ends, strict=True)
        }

    @cached_property
    def network(self) -> Convolutions:
        """The network with its parameters as they are multiplied by."""
        network = Convolutions(self.shape, sum(len(head.classes) for head in self.heads))
        network.load_state_dict(
            {
                name: torch.from_numpy(array.astype(np.float32))
                for name, array in self.arrays.items()
            }
        )
        return network.eval()


def fit_cnn(heads: tuple[Head, ...], train: Examples, config: CnnConfig) -> CnnMember:
    """One network for all heads; each learns from its own labels.

    Texts that no head has a label of teach nothing.
    """
    labels = np.stack([train.of(head) for head in heads], 1)
    rows = np.flatnonzero((labels != MISSING).any(1))
    data = _Data.of(train.texts, config.shape)
    losses = [_HeadLoss.of(labels[:, h], len(head.classes), config) for h, head in enumerate(heads)]
    ends = np.cumsum([len(head.classes) for head in heads])
    random = np.random.default_rng(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Convolutions(config.shape, int(ends[-1]))
        steps = _Steps(network, config, config.n_passes * -(-len(rows) // config.batch))
        for _ in range(config.n_passes):
            for chosen in _batches(rows, data.of_texts.lengths(), config.batch, random):
                logits = network(data.batch(chosen), config.dropout, config.word_dropout)
                parts = torch.tensor_split(logits, torch.from_numpy(ends[:-1]), dim=1)
                of_heads = [
                    loss(part, labels[chosen, h])
                    for h, (loss, part) in enumerate(zip(losses, parts, strict=True))
                ]
                steps.learn(torch.stack(of_heads).sum() / len(chosen))
    return CnnMember(config.shape, heads, _arrays(network, data.buckets()))


def _arrays(network: Convolutions, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The network's parameters; of its vectors those in `rows`, and 0 where nothing was learnt."""
    arrays = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    table = np.zeros_like(arrays["table.weight"], np.float16)
    table[rows] = arrays["table.weight"][rows]
    return {**arrays, "table.weight": table}


def _batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], size: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """All rows once, in random batches of texts of like length."""
    mixed = random.permutation(rows)
    batches = []
    for begin in range(0, len(mixed), size * SORTED_TOGETHER):
        some = mixed[begin : begin + size * SORTED_TOGETHER]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[i : i + size] for i in range(0, len(some), size)]
    return [batches[i] for i in random.permutation(len(batches))]


@dataclass(frozen=True)
class _Data:
    """Texts and what they are about, as tokens."""

    of_texts: Tokens
    target_of: NDArray[np.int64]
    """Number of each text's target, (N,)."""
    of_targets: Tokens
    hash_of_targets: NDArray[np.uint64]
    """Of each target, 0 of none."""
    shape: Shape

    @staticmethod
    def of(texts: Texts, shape: Shape) -> _Data:
        targets, of = np.unique(texts.targets or [""] * len(texts), return_inverse=True)
        return _Data(
            tokens(texts.texts, shape.bits),
            of.astype(np.int64),
            tokens(targets.tolist(), shape.bits),
            np.array([text_hash(target) if target else 0 for target in targets], np.uint64),
            shape,
        )

    def batch(self, rows: NDArray[np.int64]) -> TextBatch:
        """Some texts, with the distinct words of theirs."""
        grid = _grid(self.of_texts, rows, max(self.shape.widths))
        targets = _grid(self.of_targets, self.target_of[rows], 0)
        words, places = np.unique(grid, return_inverse=True)
        target_words, target_places = np.unique(targets, return_inverse=True)
        words, target_words = words[words > 0] - 1, target_words[target_words > 0] - 1
        has_gap, target_gap = (grid == 0).any(), (targets == 0).any()
        target_places = target_places.reshape(targets.shape) + (0 if target_gap else 1)
        target_places[target_places > 0] += len(words)
        parts, sizes = _parts(self.of_texts, words)
        of_targets, target_sizes = _parts(self.of_targets, target_words)
        sizes = np.concatenate([sizes, target_sizes])
        weights = np.repeat(1 / np.sqrt(sizes), sizes).astype(np.float32)
        begins = np.cumsum(sizes) - sizes
        pairs, pair_sizes = self._pairs(rows)
        return TextBatch(
            torch.from_numpy(np.concatenate([parts, of_targets]).astype(np.int64)),
            torch.from_numpy(begins.astype(np.int64)),
            torch.from_numpy(weights),
            torch.from_numpy(places.reshape(grid.shape) + (0 if has_gap else 1)),
            torch.from_numpy(target_places),
            torch.from_numpy(pairs),
            torch.from_numpy(np.cumsum(pair_sizes) - pair_sizes),
        )

    def buckets(self) -> NDArray[np.int64]:
        """All that have a vector which these texts are made of, ascending."""
        pairs, _ = self._pairs(np.arange(len(self.of_texts)))
        return np.unique(np.concatenate([self.of_texts.parts, self.of_targets.parts, pairs]))

    def _pairs(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Buckets of a text's words each with its target, and how many a text has."""
        of = self.of_texts
        target = self.hash_of_targets[self.target_of[rows]]
        sizes = np.where(target == 0, 0, of.lengths()[rows])
        words = of.words[np.repeat(of.begins[rows], sizes) + counting(sizes)]
        # The first part of a word is the word itself.
        own = of.parts[of.part_begins[words]].astype(np.uint64)
        hashes = mixed(mixed(own) ^ np.repeat(target, sizes))
        return (hashes >> np.uint64(64 - self.shape.bits)).astype(np.int64), sizes


def _grid(of: Tokens, rows: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """Numbers of words from 1, and 0 around them, (rows, longest + 2 * margin)."""
    lengths = of.lengths()[rows]
    grid = np.zeros((len(rows), max(int(lengths.max(initial=0)), 1) + 2 * margin), np.int64)
    place = counting(lengths)
    row = np.repeat(np.arange(len(rows)), lengths)
    grid[row, place + margin] = of.words[np.repeat(of.begins[rows], lengths) + place] + 1
    return grid


def _parts(of: Tokens, words: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Buckets of words, and how many each has."""
    begins, sizes = of.part_begins[words], np.diff(of.part_begins)[words]
    return of.parts[np.repeat(begins, sizes) + counting(sizes)], sizes


@dataclass(frozen=True)
class _HeadLoss:
    """What a head's errors count, by class."""

    weights: Tensor
    """Of each class, (classes,)."""
    smoothing: float

    @staticmethod
    def of(labels: NDArray[np.int64], n_classes: int, config: CnnConfig) -> _HeadLoss:
        n = np.bincount(labels[labels != MISSING], minlength=n_classes)
        share = np.maximum(n, 1) / n.sum()
        weights = share**-config.balance
        weights *= n.sum() / (weights * n).sum()
        # A head with 10,000 labels counts each of them once.
        weights *= (n.sum() / 10_000) ** -config.small_heads
        return _HeadLoss(torch.from_numpy(weights.astype(np.float32)), config.smoothing)

    def __call__(self, logits: Tensor, labels: NDArray[np.int64]) -> Tensor:
        """Sum over the labelled texts of a batch, of logits (B, classes)."""
        known = np.flatnonzero(labels != MISSING)
        classes = torch.from_numpy(labels[known])
        errors = F.cross_entropy(
            logits[known], classes, reduction="none", label_smoothing=self.smoothing
        )
        return (errors * self.weights[classes]).sum()


class _Steps:
    """Steps of learning, of vectors by those alone that a batch has."""

    def __init__(self, network: Convolutions, config: CnnConfig, n_steps: int) -> None:
        dense = [p for name, p in network.named_parameters() if not name.startswith("table.")]
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.AdamW(dense, config.learning_rate, weight_decay=config.weight_decay),
            torch.optim.SparseAdam([network.table.weight], config.vector_learning_rate),
        )
        rising = max(n_steps // 10, 1)
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda i: min((i + 1) / rising, (n_steps - i) / max(n_steps - rising, 1))
            )
            for optimizer in self.optimizers
        ]

    def learn(self, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
