"""Vectors of texts by an encoder in a folder: none of its code is run, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer

from contracts.errors import ContractError
from models.content.encoders.bert import BertNetwork
from models.content.encoders.encoder_id import encoder_id
from models.content.encoders.families import Architecture
from models.content.encoders.folder import EncoderFolder
from models.content.encoders.onnx_network import OnnxNetwork
from models.content.encoders.precision import PRECISIONS, precision_of

REVISION = 1
"""Of the code that computes vectors from a folder: raised when it comes to other vectors."""
LONGEST = 512
"""Tokens of a text where neither the folder nor the network has a limit."""
_SMALLEST = np.float32(1e-12)
"""Length by which a vector is divided at least."""


class TextEncoder(Protocol):
    """Whatever makes vectors of texts."""

    @property
    def encoder_id(self) -> str:
        """The hash of all that decides the vectors: `models.content.encoders.encoder_id`."""

    @property
    def dimension(self) -> int:
        """d."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, d) float32, in the order of the texts."""


def load_text_encoder(folder: str | Path, *, precision: str | None = None) -> TextEncoder:
    """The encoder of a folder; docs/content-encoders.md says which files it holds.

    Its id covers the bytes of the weights (and of the files beside model.onnx that hold tensors)
    and of tokenizer.json, the architecture, the pooling, the normalisation, the length, what is
    done to a text before it is cut into tokens, and the precision in which this process computes:
    vectors of 16 bits are not those of 32. Where processors of several kinds share the work, the
    precision is therefore set, not left to each of them.

    Args:
        folder: where its files lie.
        precision: "fp32", "bf16", or "auto" and None: bf16 where the processor multiplies it. An
            ONNX file computes in what it was written for.

    Raises:
        ContractError: a file is missing, or what it says is not supported.
    """
    return FolderTextEncoder(EncoderFolder.read(Path(folder)), precision)


class FolderTextEncoder:
    """A tokenizer, a network and a pooling."""

    def __init__(self, folder: EncoderFolder, precision: str | None):
        self._folder = folder
        self._network: BertNetwork | OnnxNetwork
        settings: dict[str, Any]
        if folder.weights.suffix == ".onnx":
            if precision == "bf16":
                raise ContractError(
                    f"{folder.weights} computes in what it was written for: leave precision out, "
                    "or give the folder model.safetensors"
                )
            self._network = OnnxNetwork(folder.weights)
            longest, settings = LONGEST, {"format": "onnx"}
        else:
            architecture = Architecture.of(folder.config)
            precision = precision_of(precision)
            self._network = BertNetwork(folder.weights, architecture, PRECISIONS[precision])
            longest = self._network.n_positions
            settings = {"format": "safetensors", "precision": precision, **asdict(architecture)}
        self._max_length = min(folder.max_length or longest, longest)
        self._tokenizer = Tokenizer.from_file(str(folder.files["tokenizer"]))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._max_length)
        self._n_special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        settings |= {
            "revision": REVISION,
            "pooling": folder.pooling,
            "normalize": folder.normalize,
            "max_length": self._max_length,
            "lower_case": folder.lower_case,
            "prompt": folder.prompt,
        }
        self.encoder_id: str = encoder_id(folder.files, settings)
        self.dimension: int = self._network.dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, d) float32 in the order of the texts; zeros for a text without tokens.

        Texts go through the network by ascending length, in batches of fixed shapes: to the bit, a
        text's vector is the same whatever is encoded with it. White space at a text's ends is left
        out. All tokens are in memory at once, so that millions of texts are handed in by batches.
        """
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        ids = [self._ids(text) for text in texts]
        order = sorted(
            (i for i, tokens in enumerate(ids) if len(tokens) > self._n_special),
            key=lambda i: len(ids[i]),
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums of several threads depend on how many there are
        try:
            states = self._network.hidden_states([ids[i] for i in order], self._max_length)
            for i, of_text in zip(order, states, strict=True):
                vectors[i] = pooled(of_text, self._folder.pooling)
        finally:
            torch.set_num_threads(threads)
        if self._folder.normalize:
            lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
            vectors /= np.maximum(lengths, _SMALLEST)
        return vectors

    def _ids(self, text: str) -> list[int]:
        text = self._folder.prompt + text.strip() if text.strip() else ""
        if self._folder.lower_case:
            text = text.lower()
        # One by one: the tokenizer's own batches start threads, which cannot be forked.
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids


def pooled(states: np.ndarray, pooling: str) -> np.ndarray:
    """(d,) of a text from (L, d) of its tokens."""
    if pooling == "cls":
        first: np.ndarray = states[0]
        return first
    reduced: np.ndarray = states.max(axis=0) if pooling == "max" else states.mean(axis=0)
    return reduced
