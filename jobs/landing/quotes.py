"""Whether lines that two quotes make one record of are that, or rows with a stray quote in two.

`1,"TV 40,x` and, some lines on, `9,TV 50",x` are one record by the book (RFC 4180), as is a review
whose lines have as many commas as a row has. What tells them apart is whether the lines look like
rows: cells of the columns around the quoted one are known, for both readings agree on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum


class Reading(Enum):
    RECORD = "one record"
    ROWS = "rows, with a stray quote in the first and in the last"
    UNCLEAR = "either"


def are_indented(lines: Iterable[Sequence[str]], quote: str) -> bool | None:
    """Whether cells have a blank before them in a file that begins with these lines; None if some
    have and some have not.

    `lines`: each one's cells, as if quotes were characters like others. Beside quotes they may be
    pieces of cells: there the blank before a quote counts alone.
    """
    n_with = n_without = 0
    for cells in lines:
        has_quotes = any(quote in cell for cell in cells)
        for cell in cells[1:]:
            if not cell.strip() or (has_quotes and not cell.lstrip(" \t").startswith(quote)):
                continue
            n_with += _is_indented(cell)
            n_without += not _is_indented(cell)
    if n_with > n_without:
        return True
    return False if n_with * MOST_WITHOUT < n_without else None


def reading(
    record: Sequence[str], lines: Sequence[Sequence[str]], indented: bool | None
) -> Reading:
    """How to read lines that make one record.

    `lines`: each one's cells, as if quotes were characters like others.
    `indented`: whether cells of the file have a blank before them; None if that is not known.
    """
    spanning = [i for i, cell in enumerate(record) if "\n" in cell]
    around = [cell for i, cell in enumerate(record) if i and i not in spanning]
    opening = lines[0][spanning[0] : spanning[0] + 1] if spanning[0] else []
    if any(map(_is_indented, [*around, *opening])):
        indented = True
    likeness = [
        _likeness(
            record, cells, spanning, begins=n == 0, ends=n == len(lines) - 1, indented=indented
        )
        for n, cells in enumerate(lines)
    ]
    judged = [is_row for is_row in likeness if is_row is not _NOTHING]
    if sum(is_row is _NO_ROW for is_row in judged) * 2 > len(judged):
        return Reading.RECORD
    return (
        Reading.ROWS if judged and all(is_row is _A_ROW for is_row in judged) else Reading.UNCLEAR
    )


MOST_WITHOUT = 10
"""So many cells without a blank before them to one that has it say that cells have none."""

_A_ROW, _NO_ROW, _MAYBE, _NOTHING = "a row", "no row", "maybe", "nothing to judge it by"


def _likeness(
    record: Sequence[str],
    cells: Sequence[str],
    spanning: Sequence[int],
    *,
    begins: bool,
    ends: bool,
    indented: bool | None,
) -> str:
    """Whether a line looks like a row of the file.

    Prose has a blank behind its commas, where the cells of rows have none, and words where they
    have numbers. Of the first line the cells before the quote are the record's own, and of the last
    those behind it.
    """
    if len(cells) != len(record):
        return _NOTHING if begins else _NO_ROW
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
    if not n_judged:
        return _NOTHING
    if (begins_with_blank and indented is False) or (n_other > 1 and n_other * 2 > n_judged):
        return _NO_ROW
    return _A_ROW if n_same > max(n_other, 1) else _MAYBE


def _is_indented(cell: str) -> bool:
    return cell[:1] in (" ", "\t") and bool(cell.strip())


def _signs(cell: str) -> tuple[bool, bool]:
    """Whether it has letters, and digits."""
    return any(map(str.isalpha, cell)), any(map(str.isdigit, cell))
