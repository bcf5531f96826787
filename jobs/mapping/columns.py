"""A mapping's columns found among the names that a file has, and what a message says of these.

A file without the header that its mapping expects has people in its first line, and an object may
be keyed by them: messages go to the terminal, to Prefect and into alerts. So a name is told as it
is only where it is known to be one; of what may be data its shape is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from contracts.values import masked
from jobs.mapping.raw_row import UnreadableError
from jobs.values.user_key import canonical_id

MAX_NAMES = 100
"""Names of a file that a message lists."""
MAX_SHAPES = 20
"""Cells of a line that may be no header, whose shapes a message lists."""
MAX_MESSAGE = 2000

MIN_NAME = 3
"""Letters that one of a header's names must have, if rows shall be known as the header again: `a`
and `b` may be people."""

_LIKENESS = 0.7
"""Of two names, from 0 to 1: so much that one may be the other, misspelt."""

_NAME = re.compile(r"(?!.*\d{5})[^\W\d][\w .:/()-]{0,39}")
"""Letters, digits and a few signs; no mail, no number, and no text that has an id in it."""


def header_places(columns: Sequence[str], names: Sequence[str], seems: str = "") -> list[int]:
    """At which place of a header each column is. `seems` says what else the file may be.

    Raises:
        UnreadableError: some are nowhere, or twice.
    """
    names = [canonical_id(name) for name in names]
    wanted = [canonical_id(column) for column in columns]
    absent = [column for column, name in zip(columns, wanted, strict=True) if name not in names]
    if absent:
        raise UnreadableError(absent_columns(absent, _header(columns, names)) + seems)
    check_once(wanted, names, "its header")
    return [names.index(name) for name in wanted]


class Header:
    """The names of a file's columns, known again where they stand among its rows, as they do in a
    file that was joined of several."""

    def __init__(self, columns: Sequence[str], names: Sequence[str], places: Sequence[int]):
        """`places`: at which place of `names` each of the source's `columns` is."""
        stripped = [canonical_id(name) for name in names]
        if len(columns) > 1:
            self._names, self._places = [canonical_id(name) for name in columns], list(places)
        else:  # one cell of many may well be somebody of that name
            self._names, self._places = stripped, list(range(len(stripped)))
        is_known = len(self._names) > 1 and max(map(len, self._names)) >= MIN_NAME
        every = {*names, *stripped} if is_known else set()
        self.at = places[0]
        self.cells = frozenset(every | {_MARK + name for name in every})
        """What may stand there in such a line."""

    def is_again(self, cells: Sequence[str], line: int) -> bool:
        """Whether a row that has one of `cells` at `at` is the header.

        Raises:
            UnreadableError: it is one with the columns in another order: rows would be misread.
        """
        names = [canonical_id(cell) for cell in cells]
        if [names[at] for at in self._places] == self._names:
            return True
        if set(self._names) <= set(names):
            raise UnreadableError(
                f"line {line} is a header with the columns in another order, by which the rows "
                "behind it would be misread; split the file there, or say header = true if it is "
                "the first line"
            )
        return False


_MARK = "\ufeff"
"""With which a file begins that was saved with a byte-order mark."""


def absent_columns(absent: Sequence[str], has: str) -> str:
    """The message that some columns are not in the file; `has` says what is."""
    return f"no column {', '.join(absent)}; {has}"[:MAX_MESSAGE]


def check_once(columns: Iterable[str], names: Sequence[str], where: str) -> None:
    """Refuse a column of which there are two.

    Raises:
        UnreadableError: names all such.
    """
    twice = sorted({column for column in columns if names.count(column) > 1})
    if twice:
        raise UnreadableError(f"{where} names {', '.join(twice)} twice")


def listed(names: Iterable[str]) -> str:
    """Names of columns or keys; of those that look like data, the shape."""
    return ", ".join(name if _NAME.fullmatch(name) else masked(name) for name in names)


def is_among(columns: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the columns is among the names, if perhaps in other letters."""
    folded = {canonical_id(name).casefold() for name in names}
    return any(canonical_id(column).casefold() in folded for column in columns)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Which of the names a misspelt one may be; None if none is like it."""
    folded = {other.casefold(): other for other in names}
    matches = get_close_matches(name.casefold(), folded, 1, _LIKENESS)
    return folded[matches[0]] if matches else None


def _header(columns: Sequence[str], names: Sequence[str]) -> str:
    """What the first line has: names, where it is a header for sure, as most columns are in it."""
    filled = [name for name in names if name]
    known = [name for name in filled if is_among([name], columns)]
    other = [name for name in filled if name not in known]
    is_header = len(set(map(str.casefold, known))) * 2 > len(columns)
    if known and (is_header or not other):
        return f"its header has {listed(filled[:MAX_NAMES])}"
    cells = f"{len(other)} cells, such as" if len(other) > MAX_SHAPES else "cells such as"
    shapes = ", ".join(map(masked, other[:MAX_SHAPES]))
    few = f"{listed(known[:MAX_NAMES])}, and besides" if known else "none of them, but"
    return (
        f"its first line has {few} {cells} {shapes}; if that is no header, say "
        "header = false and name all columns in order"
    )
