"""Transformer encoders in an ONNX file, computed by ONNX Runtime in one thread.

A graph takes texts of one length, so that they are padded: to the next multiple of `STEP` tokens,
and as many of one length at a time as make up about `BATCH_TOKENS`. What a batch lacks is filled
with its last text, so that all batches of a length have one shape, and a text's numbers do not
depend on the texts beside it.

Letters: B texts of a batch, L tokens of each, d numbers of a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import onnxruntime

from contracts.errors import ContractError

BATCH_TOKENS = 512
STEP = 8
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


class OnnxNetwork:
    """Numbers of each token in its context, or of a text where the graph pools by itself."""

    def __init__(self, path: Path):
        """Open the graph of a file.

        Raises:
            ContractError: it is no graph of a text encoder.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 3  # errors alone
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own have no common class
            raise ContractError(f"{path} cannot be opened: {error}") from None
        self._inputs = {each.name for each in self._session.get_inputs()}
        if "input_ids" not in self._inputs or not self._inputs <= {*_INPUTS}:
            raise ContractError(
                f"{path}: expected inputs input_ids and any of {', '.join(_INPUTS[1:])}, found "
                f"{', '.join(sorted(self._inputs))}"
            )
        names = [each.name for each in self._session.get_outputs()]
        preferred = ("sentence_embedding", "last_hidden_state")
        self._output = next((name for name in preferred if name in names), names[0])
        states = self._run([[0, 0, 0]], STEP)
        if states.ndim not in (2, 3):
            raise ContractError(
                f"{path}: expected output {self._output} of 2 or 3 dimensions, found {states.ndim}"
            )
        self.pools = states.ndim == 2
        """Whether the output is already one vector of a text."""
        self.dimension: int = states.shape[-1]

    def hidden_states(
        self, texts: Sequence[Sequence[int]], max_length: int
    ) -> Iterator[np.ndarray]:
        """(L, d) float32 of each text: the numbers of each token in its context; (1, d) where the
        graph pools.

        Args:
            texts: the ids of each text's tokens, by ascending number of them.
            max_length: the most tokens of any text that this encoder is given.
        """
        for length, same in groupby(texts, lambda ids: padded_length(len(ids), max_length)):
            group = [*same]
            n = max(BATCH_TOKENS // length, 1)
            for start in range(0, len(group), n):
                batch = group[start : start + n]
                states = self._run(batch + batch[-1:] * (n - len(batch)), length)
                for ids, of_text in zip(batch, states, strict=False):
                    yield of_text[None] if self.pools else of_text[: len(ids)]

    def _run(self, texts: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """(B, L, d) or (B, d) float32."""
        ids = np.zeros((len(texts), length), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        values = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.broadcast_to(np.arange(length), ids.shape),
        }
        feed = {name: value for name, value in values.items() if name in self._inputs}
        (states,) = self._session.run([self._output], feed)
        return np.asarray(states, np.float32)


def padded_length(n_tokens: int, max_length: int) -> int:
    """The next multiple of `STEP`, or the most that there may be."""
    return min(-(-n_tokens // STEP) * STEP, max(max_length, n_tokens))
