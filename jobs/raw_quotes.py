"""Whether lines that two quotes make one record of are that, or rows with a stray quote in two.

`1,"TV 40,x` and, some lines on, `9,TV 50",x` are one record by the book (RFC 4180), as is a review
whose lines have as many commas as a row has. What tells them apart is whether the lines look like
rows: cells of the columns around the quoted one are known, for both readings agree on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Reading(Enum):
    RECORD = "one record"
    ROWS = "rows, with a stray quote in the first and in the last"
    UNCLEAR = "either"


def reading(record: Sequence[str], lines: Sequence[Sequence[str]]) -> Reading:
    """How to read lines that make one record, and of which each has as many cells as it.

    `lines`: each one's cells, as if quotes were characters like others.
    """
    spanning = [i for i, cell in enumerate(record) if "\n" in cell]
    likeness = [
        _likeness(record, cells, spanning, begins=n == 0, ends=n == len(lines) - 1)
        for n, cells in enumerate(lines)
    ]
    judged = [is_row for is_row in likeness if is_row is not _NOTHING]
    if sum(is_row is _NO_ROW for is_row in judged) * 2 > len(judged):
        return Reading.RECORD
    return Reading.ROWS if all(is_row is _A_ROW for is_row in judged) else Reading.UNCLEAR


_A_ROW, _NO_ROW, _MAYBE, _NOTHING = "a row", "no row", "maybe", "nothing to judge it by"


def _likeness(
    record: Sequence[str], cells: Sequence[str], spanning: Sequence[int], begins: bool, ends: bool
) -> str:
    """Whether a line looks like a row of the file.

    Prose has a blank behind its commas, where the cells of rows have none, and words where they
    have numbers. Of the first line the cells before the quote are the record's own, and of the last
    those behind it.
    """
    n_same = n_other = n_judged = 0
    begins_with_blank = False
    for i, (known, cell) in enumerate(zip(record, cells, strict=True)):
        if i in spanning:
            begins_with_blank |= not begins and _is_indented(cell)
        elif (begins and i < spanning[0]) or (ends and i > spanning[-1]):
            n_same += bool(known.strip())
        else:
            n_judged += 1
            begins_with_blank |= _is_indented(cell)
            if known.strip() and cell.strip():
                is_same = _signs(known) == _signs(cell)
                n_same += is_same
                n_other += not is_same
    are_indented = any(_is_indented(c) for i, c in enumerate(record) if i not in spanning)
    if not n_judged:
        return _NOTHING
    if (begins_with_blank and not are_indented) or (n_other > 1 and n_other * 2 > n_judged):
        return _NO_ROW
    return _A_ROW if n_same > max(n_other, 1) else _MAYBE


def _is_indented(cell: str) -> bool:
    return cell[:1] in (" ", "\t") and bool(cell.strip())


def _signs(cell: str) -> tuple[bool, bool]:
    """Whether it has letters, and digits."""
    return any(map(str.isalpha, cell)), any(map(str.isdigit, cell))
