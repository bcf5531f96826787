"""Transformer encoders of BERT's family, computed from the tensors of a safetensors file.

Dropout is for training and left out. Texts are packed: all products with weights are of the same
number of tokens, T, whatever the texts of a batch, and attention is computed for each text among
its own tokens. Nothing is computed for padding, and a text's numbers do not depend on the texts
beside it.

Letters: T tokens of a batch, L tokens of a text, n texts of one length, d numbers of a token,
h heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from contracts.errors import ContractError
from models.content.encoders.families import ACTIVATIONS, FAMILIES, Architecture

BATCH_TOKENS = 512
"""T, unless a text may have more: for one thread more are no faster, and a single text costs as
much as a whole batch."""
_HEADS = ("pooler.", "cls.", "lm_head.", "classifier.", "vocab_", "pre_classifier.", "qa_outputs.")
"""Beginnings of tensors that are not the encoder's, but of a task that it was trained for."""


@dataclass(frozen=True)
class _Layer:
    """Weights and biases of a layer; queries, keys and values are one product."""

    qkv: tuple[Tensor, Tensor]
    attention_output: tuple[Tensor, Tensor]
    attention_norm: tuple[Tensor, Tensor]
    inner: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]
    output_norm: tuple[Tensor, Tensor]


class BertNetwork:
    """Numbers of each token in its context."""

    def __init__(self, path: Path, architecture: Architecture, dtype: torch.dtype):
        """Read the tensors of a file.

        Args:
            path: model.safetensors.
            architecture: what its config.json says.
            dtype: of the weights and of products with them; sums within these, attention and the
                normalisation of layers are in 32 bits.

        Raises:
            ContractError: the file lacks some, or has others than the architecture knows.
        """
        self._architecture, self._dtype = architecture, dtype
        self._family = FAMILIES[architecture.model_type]
        self._tensors = _read(path, architecture.model_type)
        try:
            self._words = self._take("embeddings.word_embeddings.weight")
            self._places = self._take("embeddings.position_embeddings.weight")
            if self._family.token_types:
                types = self._take("embeddings.token_type_embeddings.weight")
                self._places = self._places + types[0]  # a single text is of the first type
            self._norm = self._pair("embeddings.LayerNorm")
            self._layers = [self._layer(i) for i in range(architecture.n_layers)]
            self._bias = (
                self._take("encoder.relative_attention_bias.weight")
                if self._family.relative_positions
                else None
            )
        except KeyError as name:
            raise ContractError(f"model.safetensors: expected tensor {name}, found none") from None
        if self._tensors:
            raise ContractError(
                f"model.safetensors: tensor {min(self._tensors)!r} has no place in model_type "
                f"{architecture.model_type!r}; export the model to model.onnx"
            )

    @property
    def dimension(self) -> int:
        """d."""
        return self._words.shape[1]

    @property
    def n_positions(self) -> int:
        """The most tokens of a text."""
        return self._places.shape[0] - self._architecture.first_position

    def hidden_states(
        self, texts: Sequence[Sequence[int]], max_length: int
    ) -> Iterator[np.ndarray]:
        """(L, d) float32 of each text: the numbers of each token in its context.

        Args:
            texts: the ids of each text's tokens, by ascending number of them.
            max_length: the most tokens of any text that this encoder is given.
        """
        n_tokens = max(BATCH_TOKENS, max_length)
        for batch in packed(texts, n_tokens):
            states = self._batch(batch, n_tokens)
            ends = np.cumsum([len(ids) for ids in batch])
            yield from np.split(states, ends)[:-1]  # what follows the last is no text

    @torch.inference_mode()
    def _batch(self, texts: Sequence[Sequence[int]], n_tokens: int) -> np.ndarray:
        """(T, d) float32 of all tokens, one text after the other."""
        lengths = [len(ids) for ids in texts]
        n_filled = sum(lengths)
        # What fills the batch is the first token, at the first position, again and again: no text
        # attends to it.
        ids, positions = torch.zeros(2, n_tokens, dtype=torch.long)
        ids[:n_filled] = torch.tensor([i for text in texts for i in text])
        positions[:n_filled] = torch.cat([torch.arange(length) for length in lengths])
        x = self._words[ids] + self._places[positions.add(self._architecture.first_position)]
        x = self._normalized(x, self._norm)
        runs = [(length, len([*same])) for length, same in groupby(lengths)]
        for layer in self._layers:
            x = self._through(layer, x, runs)
        return x.float().numpy()

    def _through(self, layer: _Layer, x: Tensor, runs: Sequence[tuple[int, int]]) -> Tensor:
        """(T, d) after one layer.

        Args:
            runs: how long texts are and how many of that length follow each other.
        """
        qkv = functional.linear(x, *layer.qkv).float()
        context = torch.zeros_like(x)
        start = 0
        for length, n in runs:
            end = start + length * n
            context[start:end] = self._attention(qkv[start:end], length, n)
            start = end
        attention = functional.linear(context, *layer.attention_output)
        x = self._normalized(attention + x, layer.attention_norm)
        activation = ACTIVATIONS[self._architecture.activation]
        inner = activation(functional.linear(x, *layer.inner))
        return self._normalized(functional.linear(inner, *layer.outer) + x, layer.output_norm)

    def _attention(self, qkv: Tensor, length: int, n: int) -> Tensor:
        """(n * L, d): values of each text's tokens, as its own tokens attend to them, in 32 bits:
        for texts of some dozen tokens that is faster than in 16, and nearer."""
        n_heads = self._architecture.n_heads
        query, key, value = qkv.view(n, length, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
        bias = None
        if self._bias is not None:
            buckets = relative_buckets(length, len(self._bias))
            bias = self._bias[buckets].permute(2, 0, 1)[None].float()
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return context.transpose(1, 2).reshape(n * length, -1)

    def _normalized(self, x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
        eps = self._architecture.layer_norm_eps
        return functional.layer_norm(x, x.shape[-1:], *weights, eps=eps)

    def _take(self, name: str) -> Tensor:
        return self._tensors.pop(name).to(self._dtype).contiguous()

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self._take(f"{name}.weight"), self._take(f"{name}.bias")

    def _layer(self, number: int) -> _Layer:
        family = self._family
        start = family.layer.format(number)
        pairs = [self._pair(start + name) for name in (family.query, family.key, family.value)]
        return _Layer(
            qkv=(torch.cat([w for w, _ in pairs]), torch.cat([b for _, b in pairs])),
            attention_output=self._pair(start + family.attention_output),
            attention_norm=self._pair(start + family.attention_norm),
            inner=self._pair(start + family.inner),
            outer=self._pair(start + family.outer),
            output_norm=self._pair(start + family.output_norm),
        )


def packed(texts: Sequence[Sequence[int]], n_tokens: int) -> Iterator[Sequence[Sequence[int]]]:
    """Texts in their order, as many at a time as have at most `n_tokens` tokens together."""
    start = total = 0
    for i, ids in enumerate(texts):
        if total + len(ids) > n_tokens:
            yield texts[start:i]
            start, total = i, 0
        total += len(ids)
    if start < len(texts):
        yield texts[start:]


def relative_buckets(length: int, n_buckets: int, max_distance: int = 128) -> Tensor:
    """(L, L): the bucket of each key's position as seen from a query's (Raffel et al. 2020).

    Half of the buckets are for what stands before: single positions first, then spans that grow
    with the logarithm of the distance.
    """
    positions = torch.arange(length)
    distance = positions[None, :] - positions[:, None]
    half, exact = n_buckets // 2, n_buckets // 4
    far = distance.abs().clamp(min=1).double() / exact
    span = far.log() / math.log(max_distance / exact) * (half - exact)
    grown = (exact + span.long()).clamp(max=half - 1)
    return torch.where(distance.abs() < exact, distance.abs(), grown) + half * (distance > 0)


def _read(path: Path, model_type: str) -> dict[str, Tensor]:
    """The encoder's tensors by name, without the prefix that models with a head have."""
    prefix = f"{'roberta' if model_type == 'xlm-roberta' else model_type}."
    with safe_open(path, framework="pt") as file:
        names = {name: name.removeprefix(prefix) for name in file.keys()}  # noqa: SIM118
        return {
            short: file.get_tensor(name)
            for name, short in names.items()
            if not short.startswith(_HEADS) and not short.endswith("position_ids")
        }
