"""Word and character n-grams of texts, hashed, as sparse rows.

N texts; W = 2 ** bits buckets of each kind. Everything is computed over whole batches of code
points: a Python loop over the n-grams of a text would cost more than all models together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.content.text.normalise import normalised

BATCH = 2048
"""Texts that are hashed together."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_BLANK = 32


@dataclass(frozen=True)
class NGrams:
    """Which n-grams of a text are features, and in how many buckets they are hashed."""

    max_words: int = 2
    """Longest sequence of words."""
    min_characters: int = 2
    max_characters: int = 5
    """Shortest and longest sequence of characters; none crosses the bounds of a token."""
    word_bits: int = 18
    character_bits: int = 18

    @property
    def width(self) -> int:
        """Buckets of words, then those of characters."""
        return self.n_words + (1 << self.character_bits)

    @property
    def n_words(self) -> int:
        return 1 << self.word_bits


def counts(texts: Sequence[str], targets: Sequence[str] | None, n: NGrams) -> sp.csr_matrix:
    """How often each n-gram stands in each text, (N, width), float32.

    A text with a target has every n-gram twice, once alone and once as one of that target, so that
    a linear model has weights for all targets and for each.
    """
    parts = [
        _counts(texts[i : i + BATCH], targets and targets[i : i + BATCH], n)
        for i in range(0, len(texts), BATCH)
    ]
    return sp.vstack(parts, format="csr") if parts else sp.csr_matrix((0, n.width), dtype="f4")


def _counts(texts: Sequence[str], targets: Sequence[str] | None, n: NGrams) -> sp.csr_matrix:
    points, begins = code_points(texts)
    row_of = np.repeat(np.arange(len(texts), dtype=np.int32), np.diff(begins))
    rows, hashes, is_word = [], [], []
    for found, value in _words(points, row_of, n):
        rows.append(found)
        hashes.append(value)
        is_word.append(True)
    for found, value in _characters(points, row_of, n):
        rows.append(found)
        hashes.append(value)
        is_word.append(False)
    if targets is not None and any(targets):
        names = np.array([text_hash(target) if target else 0 for target in targets], np.uint64)
        for k in range(len(rows)):
            of_row = names[rows[k]]
            has = of_row != 0
            rows.append(rows[k][has])
            hashes.append(mixed(hashes[k][has] ^ of_row[has]))
            is_word.append(is_word[k])
    columns = [
        (h >> np.uint64(64 - n.word_bits)).astype(np.int32)
        if word
        else (h >> np.uint64(64 - n.character_bits)).astype(np.int32) + n.n_words
        for h, word in zip(hashes, is_word, strict=True)
    ]
    row, column = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(row), np.float32)
    return sp.csr_matrix((ones, (row, column)), shape=(len(texts), n.width))


def code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Code points of all normalised texts, a blank before and behind each, and where each begins,
    (N + 1,)."""
    padded = [f" {normalised(text)} " for text in texts]
    begins = np.concatenate([[0], np.cumsum([len(text) for text in padded], dtype=np.int64)])
    raw = "".join(padded).encode("utf-32-le", "replace")
    return np.frombuffer(raw, np.uint32).astype(np.uint64), begins


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes whose high bits depend on every bit of `values`."""
    values = (values ^ (values >> np.uint64(30))) * _MIX
    return (values ^ (values >> np.uint64(27))) * _FACTOR


def word_bounds(points: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each token begins, and the blank behind it."""
    blank = np.flatnonzero(points == _BLANK)
    has_word = np.diff(blank) > 1
    return blank[:-1][has_word] + 1, blank[1:][has_word]


def word_hashes(
    points: NDArray[np.uint64], begin: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """A hash of each token, (tokens,): all of its code points, whatever stands around it."""
    hashes = np.zeros(len(begin), np.uint64)
    length = end - begin
    alive = np.arange(len(begin))
    for i in range(int(length.max()) if len(length) else 0):
        alive = alive[length[alive] > i]
        hashes[alive] = (hashes[alive] + points[begin[alive] + i]) * _FACTOR
    return mixed(hashes)


def _words(
    points: NDArray[np.uint64], row_of: NDArray[np.int32], n: NGrams
) -> list[tuple[NDArray[np.int32], NDArray[np.uint64]]]:
    begin, end = word_bounds(points)
    words, rows = word_hashes(points, begin, end), row_of[begin]
    found, chain = [(rows, words)], words
    for k in range(1, n.max_words):
        chain = mixed(chain[:-1] * _FACTOR + words[k:])
        same = rows[k:] == rows[:-k]
        found.append((rows[k:][same], chain[same]))
    return found


def _characters(
    points: NDArray[np.uint64], row_of: NDArray[np.int32], n: NGrams
) -> list[tuple[NDArray[np.int32], NDArray[np.uint64]]]:
    begin, end = word_bounds(points)
    rows = row_of[begin]
    shortest, longest = n.min_characters, n.max_characters
    return [
        (rows[word], hashes)
        for word, hashes in character_hashes(points, begin, end, shortest, longest)
    ]


def character_hashes(
    points: NDArray[np.uint64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    shortest: int,
    longest: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
    """Of each length of n-grams, 2 at least: which token each stands in, and its hash.

    The blanks before and behind a token are characters of it.
    """
    length = end - begin
    # An n-gram may begin at the blank before a token and at each of its characters; `room` is how
    # many characters there are up to the blank behind it.
    word = np.repeat(np.arange(len(begin)), length + 1)
    start = (begin - 1)[word] + counting(length + 1)
    room = end[word] - start + 1
    hashes = points[start]
    for k in range(2, longest + 1):
        enough = room >= k
        word, start, room, hashes = word[enough], start[enough], room[enough], hashes[enough]
        hashes = hashes * _FACTOR + points[start + k - 1]
        if k >= shortest:
            yield word, mixed(hashes ^ np.uint64(k))


def counting(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … of each length, one behind the other."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def text_hash(text: str) -> int:
    """A hash of a whole text that is never 0."""
    points, begins = code_points([text])
    zero, end = np.array([0]), begins[-1:]
    return int(word_hashes(points, zero, end)[0]) or 1
