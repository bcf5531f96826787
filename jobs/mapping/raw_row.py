"""A raw row, and what all formats agree on: its limits, its hash, and which texts mean nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from jobs.values.user_key import INVISIBLE

WHOLE_FILE = 0
"""Line number of the one row that says why a file could not be read."""

MAX_CELL = 1 << 20
"""Characters of a cell; a row with a longer one is quarantined as too long."""

MAX_LINE = 16 << 20
"""Bytes of a line or record; of a longer one only the hash is kept."""

TOO_LONG = "too long: "
LONG_CELL = f"{TOO_LONG}a cell of more than {MAX_CELL:,} characters"
LONG_LINE = f"{TOO_LONG}a line of more than {MAX_LINE:,} bytes"

CUT_OFF = "the file ends in the middle of this line: was it cut off?"
"""Problem of a last line that has no end and cannot be decoded as far as it goes."""

HEADER_AGAIN = "a header where a row should be"
"""Problem of a line that was decoded, but is no row. It says nothing against its file."""

BLANKS = " \t"
_INVISIBLE = frozenset(INVISIBLE)


EXACT = float(1 << 63)
"""Below it a double without a fraction is told as a whole number, such as an id."""


class Row(NamedTuple):
    """A row of a raw file."""

    line: int
    """Unique in its file. Where a line holds several JSON objects, each counts as a line."""
    row_hash: str
    fields: list[str | None] | None
    """Texts in the order of the source's columns; None where `problem` says what is wrong."""
    problem: str | None
    n_bytes: int = 0
    """Bytes of the file that the row stands for, line ends included; of Parquet and Excel, of its
    cells."""


class UnreadableError(Exception):
    """The file as a whole is not what the mapping says."""


def row_hash(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


class RunningHash:
    """`row_hash` of a row that is too long to be held, piece by piece."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.n_bytes = 0

    def add(self, raw: bytes) -> None:
        self._hash.update(raw)
        self.n_bytes += len(raw)

    def __str__(self) -> str:
        return self._hash.hexdigest()


def hash_of_pieces(pieces: Iterable[bytes]) -> str:
    """`row_hash` of a row that is too long to be held."""
    running = RunningHash()
    for piece in pieces:
        running.add(piece)
    return str(running)


def without_nulls(cells: Sequence[str | None], nulls: Collection[str]) -> list[str | None]:
    """The cells, those that mean nothing as None; blanks around a text do not count."""
    return [
        None
        if cell is None
        or cell.strip(BLANKS) in nulls
        or (not cell.isascii() and is_null_in_disguise(cell, nulls))
        else cell
        for cell in cells
    ]


def is_null_in_disguise(text: str, nulls: Collection[str]) -> bool:
    """Whether a text means nothing but for what cannot be seen at its ends, such as a no-break
    space."""
    if text[0] not in _INVISIBLE and text[-1] not in _INVISIBLE:
        return False
    return text.strip(INVISIBLE) in nulls
