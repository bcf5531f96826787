"""The files of lookups: found, read whole and strictly, and made ready to be joined.

They are small, so all of a file is held in memory; what is too large for that is refused. Messages
name lines and columns, no values: a lookup may hold personal data.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from contracts.errors import ContractError, NightjarError
from contracts.lookups import MAX_LOOKUP_BYTES, MAX_LOOKUP_ROWS
from jobs.landing.raw_folder import files_before
from jobs.landing.read import raw_rows
from jobs.mapping.lookups import Lookup
from jobs.mapping.raw_row import WHOLE_FILE, Row
from jobs.mapping.sources import Source, SourceMapping, read_mapping
from jobs.values.times import day_written_in
from jobs.values.user_key import canonical_id

MAX_LINES = 5
"""Lines of a file that a message names of each problem."""

Key = tuple[str, ...]
Kept = tuple[Key, date | None, list[str | None]]
"""Key, the day from which on it holds, and cells."""


def read_whole(path: Path, raw: Path, as_of: date) -> SourceMapping:
    """A mapping and its lookups. Where these cannot be read, missing raw files are told as well.

    Raises:
        UsageError: the mapping is not valid.
        ContractError: a lookup cannot be read.
    """
    mapping = read_mapping(path)
    try:
        return read_lookups(mapping, raw, path.absolute().parent)
    except NightjarError as error:
        try:
            files_before(mapping, raw, as_of)
        except NightjarError as missing:
            raise ContractError(f"{error}\n{missing}") from None
        raise


def read_lookups(mapping: SourceMapping, raw: Path, beside: Path) -> SourceMapping:
    """The mapping with the rows of its lookups, which lie in one of two folders.

    Raises:
        ContractError: some cannot be read; all are named.
    """
    read: dict[str, Lookup] = {}
    problems = []
    for lookup in mapping.lookups:
        try:
            read[lookup.name] = _read(lookup, _path(lookup, raw, beside))
        except NightjarError as error:
            problems.append(f"  lookups.{lookup.name}: {error}")
    if problems:
        raise ContractError("\n".join(["lookups cannot be read:", *problems]))
    return replace(
        mapping,
        lookups=tuple(read.values()),
        sources=tuple(
            replace(
                source,
                lookups=tuple(replace(u, lookup=read[u.lookup.name]) for u in source.lookups),
            )
            for source in mapping.sources
        ),
    )


def _path(lookup: Lookup, raw: Path, beside: Path) -> Path:
    """Where its file is.

    Raises:
        ContractError: nowhere, in both folders, or it is no file.
    """
    paths = [path for path in (raw / lookup.file, beside / lookup.file) if path.exists()]
    if not paths:
        raise ContractError(
            f"no file {lookup.file} under {raw}, the raw folder, or {beside}, the mapping's: put "
            "it into one of them"
        )
    if len(paths) == 2 and not paths[0].samefile(paths[1]):
        raise ContractError(f"{paths[0]} and {paths[1]} both could be meant: take one away")
    if not paths[0].is_file():
        raise ContractError(f"{paths[0]} is no file; say in file which one is meant")
    return paths[0]


def _read(lookup: Lookup, path: Path) -> Lookup:
    source = Source(f"lookups.{lookup.name}", lookup.file, tables=(), **dict(lookup.reading))
    rows = [_kept(lookup, row) for row in _good_rows(lookup, raw_rows(path, source))]
    if not rows:
        raise ContractError(
            f"{lookup.file}: it has no rows, so that no key would find any: give it some, or take "
            f"[lookups.{lookup.name}] out of the mapping"
        )
    _check_keys(lookup, rows)
    ordered = sorted((row for _, row in rows), key=lambda row: (row[0], row[1] or date.min))
    return replace(lookup, rows=_table(lookup, ordered), hashes=_hashes(lookup, ordered))


def _good_rows(lookup: Lookup, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of the file.

    Raises:
        ContractError: some are none, lack their key or day, or there are too many.
    """
    problems: dict[str, list[int]] = {}
    n_bytes = 0
    for n, row in enumerate(rows, 1):
        n_bytes += row.n_bytes
        if n > MAX_LOOKUP_ROWS or n_bytes > MAX_LOOKUP_BYTES:
            raise ContractError(
                f"{lookup.file}: more than {MAX_LOOKUP_ROWS:,} rows or {MAX_LOOKUP_BYTES:,} bytes, "
                "which is too large for a lookup: leave out rows that no key finds, or join it to "
                "the raw files before they land"
            )
        if row.line == WHOLE_FILE:
            raise ContractError(f"{lookup.file}: {row.problem}")
        problem = row.problem or _lacks(lookup, row.fields or [])
        if problem is None:
            yield row
        else:
            problems.setdefault(problem, []).append(row.line)
    if problems:
        listed = (f"{_lines(lines)}: {problem}" for problem, lines in problems.items())
        raise ContractError(f"{lookup.file}: {'; '.join(listed)}")


def _lines(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"line {lines[0]}"
    first = ", ".join(map(str, lines[:MAX_LINES]))
    return f"lines {first}" + (f" and {len(lines) - MAX_LINES} more" * (len(lines) > MAX_LINES))


def _check_keys(lookup: Lookup, rows: Sequence[tuple[int, Kept]]) -> None:
    """Refuse two rows of a key, or of a key and day: a raw row must find one at most.

    Raises:
        ContractError: naming their lines.
    """
    lines: dict[tuple[Key, date | None], int] = {}
    pairs = [
        f"{first} and {line}"
        for line, (key, day, _) in rows
        if (first := lines.setdefault((key, day), line)) != line
    ]
    if not pairs:
        return
    more = f"; and {len(pairs) - MAX_LINES} more" if len(pairs) > MAX_LINES else ""
    same = f"lines {'; '.join(pairs[:MAX_LINES])}{more} have the same {' and '.join(lookup.key)}"
    if lookup.since is not None:
        raise ContractError(
            f"{lookup.file}: {same}, and the same day in {lookup.since}: keep one of them"
        )
    raise ContractError(
        f"{lookup.file}: {same}: keep one of them, or, if each holds from another day on, say with "
        "from which column has that day"
    )


def _lacks(lookup: Lookup, fields: Sequence[str | None]) -> str | None:
    cells = dict(zip(lookup.columns, fields, strict=True))
    for column in lookup.key:
        if not canonical_id(cells[column] or ""):
            return f"{column}: missing, but it is the key: fill it in, or take the row out"
    if lookup.since is not None and day_written_in(cells[lookup.since] or "") is None:
        return f"{lookup.since}: not a day such as 2025-01-31"
    return None


def _kept(lookup: Lookup, row: Row) -> tuple[int, Kept]:
    cells = [
        None if cell is None else unicodedata.normalize("NFC", cell) for cell in row.fields or ()
    ]
    named = dict(zip(lookup.columns, cells, strict=True))
    key = tuple(canonical_id(named[column] or "") for column in lookup.key)
    day = None if lookup.since is None else day_written_in(named[lookup.since] or "")
    return row.line, (key, day, cells)


def _table(lookup: Lookup, rows: Sequence[Kept]) -> pa.Table:
    """A row per key and span of days: `_is_0`, `_is_1`, …, `_from` and `_until` (half-open, null
    where open), and the cells in a struct named for the lookup."""
    untils: list[date | None] = [
        later[1] if later is not None and later[0] == row[0] else None
        for row, later in zip(rows, [*rows[1:], None], strict=True)
    ]
    columns = {
        f"_is_{i}": pa.array([key[i] for key, _, _ in rows], pa.string())
        for i in range(len(lookup.key))
    }
    columns["_from"] = pa.array([day for _, day, _ in rows], pa.date32())
    columns["_until"] = pa.array(untils, pa.date32())
    columns[lookup.name] = pa.StructArray.from_arrays(
        [pa.array([row[2][i] for row in rows], pa.string()) for i in range(len(lookup.columns))],
        names=list(lookup.columns),
    )
    return pa.table(columns)


def _hashes(lookup: Lookup, rows: Sequence[Kept]) -> tuple[tuple[date, str], ...]:
    """`Lookup.hashes`: of what the rows say, not of their order."""
    running = hashlib.sha256(json.dumps(lookup.columns).encode())
    hashes = []
    by_day = sorted(rows, key=lambda row: (row[1] or date.min, row[0]))
    for day, of_day in groupby(by_day, lambda row: row[1] or date.min):
        for key, since, cells in of_day:
            running.update(json.dumps([key, str(since), cells]).encode())
        hashes.append((day, running.hexdigest()[:16]))
    return tuple(hashes)
