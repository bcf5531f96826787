"""Raw files written and read in a test."""

from __future__ import annotations

from pathlib import Path

from jobs.landing.read import raw_rows
from jobs.mapping.raw_row import WHOLE_FILE
from jobs.mapping.sources import Source

COLUMNS = ("id", "text")


def source(format_: str, columns: tuple[str, ...] = COLUMNS, **given: object) -> Source:
    files = str(given.pop("files", "x"))
    return Source("s", files, format_, columns, (), **given)  # type: ignore[arg-type]


def read(path: Path, of: Source) -> list[tuple[int, list[str | None] | None, str | None]]:
    """Line, fields and problem of each row."""
    return [(row.line, row.fields, row.problem) for row in raw_rows(path, of)]


def refusal(path: Path, of: Source) -> str | None:
    """Why the file as a whole is refused; it is the last thing that is said of it."""
    rows = list(raw_rows(path, of))
    assert all(row.line != WHOLE_FILE for row in rows[:-1])
    return rows[-1].problem if rows and rows[-1].line == WHOLE_FILE else None
