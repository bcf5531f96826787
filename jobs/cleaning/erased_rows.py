"""What is left of a raw row about a person who was erased, as the landed row's `problem` says it.

`erased: orders 3, users`: nothing is left, of three rows that were meant for `orders` and one that
was meant for `users`.

`erased elements: orders 2 3, posts 2 (3)`: all but two elements of an array are, both of which were
meant for `orders`, and the second for `posts`.

So cleaning counts as erased what it counted before as something else, row for row.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from pyspark.sql import Column
from pyspark.sql import functions as F

ROW = "erased: "
ELEMENTS = "erased elements: "

_SIGN = re.compile(r""""(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[][{},]""", re.DOTALL)
"""Of JSON, as Spark reads it: a text, or what elements stand between."""


def is_row(problem: Column) -> Column:
    """Whether nothing is left of the row."""
    return F.coalesce(problem.startswith(ROW), F.lit(False))


def is_elements(problem: Column) -> Column:
    """Whether all but some elements are left."""
    return F.coalesce(problem.startswith(ELEMENTS), F.lit(False))


def said_of(problem: Column, table: str) -> Column:
    """What it says of a table, word by word; null if nothing."""
    entries = F.split(F.regexp_replace(problem, f"^({ROW}|{ELEMENTS})", ""), ", ")
    words = F.transform(entries, lambda entry: F.split(entry, " "))
    place = F.get(F.filter(words, lambda word: F.get(word, F.lit(0)) == table), F.lit(0))
    return F.slice(place, 2, F.greatest(F.size(place) - 1, F.lit(0)))


def n_rows(problem: Column, table: str) -> Column:
    """Of how many rows of a table nothing is left; null if of none."""
    words = said_of(problem, table)
    n = F.coalesce(F.get(words, F.lit(0)).try_cast("int"), F.lit(1))
    return F.when(words.isNotNull(), n)


def without_elements(cell: str | None, places: Collection[int] | None) -> str | None:
    """The text of an array in JSON with null for the elements at `places`, from 1, and every other
    as it stands there; None if it has no such elements."""
    spans = _spans(cell) if cell is not None and places else None
    if not spans or cell is None or places is None or max(places) > len(spans):
        return None
    pieces, at = [], 0
    for place in sorted(set(places)):
        start, end = spans[place - 1]
        pieces += [cell[at:start], "null"]
        at = end
    return "".join([*pieces, cell[at:]])


def element_of(cell: str | None, place: int) -> str | None:
    """The element at a place, from 1, of an array in JSON, as it stands there; None if the text is
    no array, or one of fewer elements."""
    spans = _spans(cell) if cell is not None and place > 0 else None
    if not spans or cell is None or place > len(spans):
        return None
    start, end = spans[place - 1]
    return cell[start:end]


def _spans(cell: str) -> list[tuple[int, int]] | None:
    """From where to where each element of an array stands, blanks around it left out; None if the
    text is no array."""
    if not cell.lstrip().startswith("["):
        return None
    spans: list[tuple[int, int]] = []
    depth, start = 0, 0
    for match in _SIGN.finditer(cell):
        sign = match.group()
        if len(sign) > 1:  # a text
            continue
        if sign in "[{":
            depth += 1
            start = match.end() if depth == 1 else start
        elif sign in "]}":
            depth -= 1
        if depth == (1 if sign == "," else 0):
            element = cell[start : match.start()].strip()
            start = cell.index(element, start)
            spans.append((start, start + len(element)))
            start = match.end()
        if depth == 0:
            is_whole = not cell[match.end() :].strip() and all(low < high for low, high in spans)
            return spans if is_whole else None
    return None
