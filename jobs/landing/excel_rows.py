"""A sheet of an Excel workbook, row by row."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from contracts.counts import n_of
from jobs.landing.compression import check_whole
from jobs.landing.file_kind import resemblance
from jobs.mapping.columns import Header, header_places, listed
from jobs.mapping.raw_row import (
    EXACT,
    HEADER_AGAIN,
    LONG_CELL,
    MAX_CELL,
    Row,
    UnreadableError,
    row_hash,
    without_nulls,
)
from jobs.mapping.sources import Source

MAX_UNPACKED = 1 << 30
"""Bytes that a workbook may have when it is unpacked: its texts are held in memory."""


def excel_rows(path: Path, source: Source) -> Iterator[Row]:
    """Every row of the sheet that is not empty, in the order of `source.columns`."""
    import openpyxl  # only here: each of Spark's workers would take 0.3 s for it, whatever it reads

    _check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations, which nothing here needs
        try:
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        except Exception as error:  # whatever a damaged part makes the parser raise
            raise UnreadableError(
                f"is no Excel workbook that can be read: {type(error).__name__}"
            ) from None
    try:
        yield from _rows(_sheet(book, source.sheet), source)
    finally:
        book.close()


_OTHER_ARCHIVES = {
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
    "content.xml": "an OpenDocument file, such as .ods",
}
"""A part by which an archive is known as no `.xlsx`."""


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            check_whole(path, archive)
            size = sum(info.file_size for info in archive.infolist())
            names = archive.namelist()
    except zipfile.BadZipFile:
        with path.open("rb") as stream:
            head = stream.read(4096)
        raise UnreadableError(
            f"is no Excel workbook (.xlsx){resemblance(head)}"
            if head
            else "is empty, where even a workbook without rows has some bytes"
        ) from None
    for part, kind in _OTHER_ARCHIVES.items():
        if part in names:
            raise UnreadableError(f"is {kind}; save it as .xlsx")
    if size > MAX_UNPACKED:
        raise UnreadableError(
            f"has {size:,} bytes when unpacked, more than {MAX_UNPACKED:,}: save it as CSV"
        )


def _sheet(book: Any, name: str | None) -> Any:
    names = [sheet.title for sheet in book.worksheets]
    if name is None and len(names) == 1:
        return book.worksheets[0]
    if name not in names:
        asked = (
            "it has several sheets, and the mapping names none"
            if name is None
            else f"no sheet {name}"
        )
        raise UnreadableError(f'{asked}; its sheets are {listed(names)}; say sheet = "…"')
    return book.worksheets[names.index(name)]


def _rows(sheet: Any, source: Source) -> Iterator[Row]:
    sheet.reset_dimensions()  # what the file says of its size need not be so
    nulls = frozenset(source.null_values)
    places: list[int] | None = None if source.header else list(range(len(source.columns)))
    width = len(source.columns)
    header = Header(source.columns, source.columns, range(width))
    every = enumerate(_or_unreadable(sheet.iter_rows(values_only=True)), start=1)
    for number, values in every:
        cells = [_text(value) for value in values]
        if not any(cells):
            continue
        if places is None:
            names = [cell or "" for cell in cells]
            places, width = header_places(source.columns, names), _width(cells)
            header = Header(source.columns, names, places)
            continue
        n = _width(cells)
        is_wider = n > width
        chosen = cells if is_wider else [cells[at] if at < len(cells) else None for at in places]
        raw = b"\x1f".join(b"\x00" if c is None else c.encode("utf-8", "replace") for c in chosen)
        if is_wider:
            problem = f"expected {n_of(width, 'field')}, found {n}"
            yield Row(number, row_hash(raw), None, problem, len(raw))
        elif _is_again(header, cells, width, number):
            yield Row(number, row_hash(raw), None, HEADER_AGAIN, len(raw))
        elif len(raw) > MAX_CELL and max(len(cell or "") for cell in chosen) > MAX_CELL:
            yield Row(number, row_hash(raw), None, LONG_CELL, len(raw))
        else:
            yield Row(number, row_hash(raw), without_nulls(chosen, nulls), None, len(raw))


def _is_again(header: Header, cells: Sequence[str | None], width: int, line: int) -> bool:
    filled = [cell or "" for cell in cells] + [""] * (width - len(cells))
    return filled[header.at] in header.cells and header.is_again(filled, line)


def _width(cells: Sequence[str | None]) -> int:
    """Cells up to the last that is filled: a sheet may be wider than its rows."""
    n = len(cells)
    while n and not (cells[n - 1] or "").strip():
        n -= 1
    return n


def _or_unreadable(rows: Iterator[Any]) -> Iterator[Any]:
    """The rows; what a damaged sheet makes the parser raise is a sentence."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                row = next(rows, None)
            except Exception as error:
                raise UnreadableError(f"its sheet cannot be read: {type(error).__name__}") from None
        if row is None:
            return
        yield row


_ERRORS = (
    "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA", "#SPILL!",
    "#CALC!", "#FIELD!", "#BLOCKED!", "#CONNECT!", "#BUSY!", "#UNKNOWN!",
)  # fmt: skip
"""What a cell shows whose formula has no value."""


def _text(value: Any) -> str | None:
    """A cell as a CSV would hold it: whole numbers whole, dates and times as ISO texts, errors of
    formulas as nothing."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str() if value in _ERRORS:
            return None
        case float() if value.is_integer() and abs(value) < EXACT:
            return str(int(value))
        case datetime() | date() | time():
            return value.isoformat()
    return str(value)
