"""Texts as sequences of words, and each distinct word as the hashed parts that it is made of.

N texts, T tokens of all of them, V distinct words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.content.text.ngrams import (
    BATCH,
    character_hashes,
    code_points,
    counting,
    mixed,
    word_bounds,
    word_hashes,
)

MAX_WORDS = 128
"""What of a text is read as a sequence."""
SHORTEST, LONGEST = 3, 5
"""Characters of a part of a word."""


@dataclass(frozen=True)
class Tokens:
    """Texts as numbers of words, words as buckets of hashed parts: itself, and its characters."""

    begins: NDArray[np.int64]
    """Where each text begins among `words`, (N + 1,)."""
    words: NDArray[np.int64]
    """Number of each token's word, (T,)."""
    part_begins: NDArray[np.int64]
    """Where each word begins among `parts`, (V + 1,)."""
    parts: NDArray[np.int32]
    """Buckets, those of one word behind those of another."""

    def __len__(self) -> int:
        return len(self.begins) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Words of each text, (N,)."""
        return np.diff(self.begins)


def tokens(texts: Sequence[str], bits: int) -> Tokens:
    """Words of texts, `MAX_WORDS` of each at most, their parts in `2 ** bits` buckets."""
    pieces = [_Piece.of(texts[i : i + BATCH], bits) for i in range(0, max(len(texts), 1), BATCH)]
    hashes = np.concatenate([piece.distinct for piece in pieces])
    _, first, number = np.unique(hashes, return_index=True, return_inverse=True)
    sizes = np.concatenate([piece.sizes for piece in pieces])
    parts = np.concatenate([piece.parts for piece in pieces])
    first_begins = np.concatenate([[0], np.cumsum(sizes)])[first]
    chosen = np.repeat(first_begins, sizes[first]) + counting(sizes[first])
    shift = np.cumsum([0, *(len(piece.distinct) for piece in pieces)])
    words = [number[piece.words + shift[i]] for i, piece in enumerate(pieces)]
    lengths = np.concatenate([piece.lengths for piece in pieces])
    return Tokens(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(words).astype(np.int64),
        np.concatenate([[0], np.cumsum(sizes[first])]).astype(np.int64),
        parts[chosen],
    )


@dataclass(frozen=True)
class _Piece:
    """Some texts with distinct words of their own."""

    lengths: NDArray[np.int64]
    words: NDArray[np.int64]
    distinct: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    parts: NDArray[np.int32]

    @staticmethod
    def of(texts: Sequence[str], bits: int) -> _Piece:
        points, text_begins = code_points(texts)
        begin, end = word_bounds(points)
        row = np.searchsorted(text_begins, begin, side="right") - 1
        place = counting(np.bincount(row, minlength=len(texts)))
        kept = place < MAX_WORDS
        begin, end, row = begin[kept], end[kept], row[kept]
        hashes = word_hashes(points, begin, end)
        distinct, first, words = np.unique(hashes, return_index=True, return_inverse=True)
        of_word = [np.arange(len(distinct))]
        parts = [mixed(distinct)]
        for word, value in character_hashes(points, begin[first], end[first], SHORTEST, LONGEST):
            of_word.append(word)
            parts.append(value)
        owner = np.concatenate(of_word)
        buckets = (np.concatenate(parts) >> np.uint64(64 - bits)).astype(np.int32)
        order = np.argsort(owner, kind="stable")
        return _Piece(
            np.bincount(row, minlength=len(texts)),
            words,
            distinct,
            np.bincount(owner, minlength=len(distinct)),
            buckets[order],
        )
