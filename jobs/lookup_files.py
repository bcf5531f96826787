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
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa

from contracts.lookups import MAX_LOOKUP_BYTES, MAX_LOOKUP_ROWS
from contracts.table import ContractError
from jobs.lookups import Lookup
from jobs.raw_folder import files_before
from jobs.raw_row import WHOLE_FILE, Row
from jobs.rawfiles import raw_rows
from jobs.sources import Source, SourceMapping, read_mapping
from jobs.user_key import canonical_id

MAX_TOLD = 5
"""Problems of a file that a message names."""

Key = tuple[str, ...]
Kept = tuple[Key, date | None, list[str | None]]
"""Key, the day from which on it holds, and cells."""


def read_whole(path: Path, raw: Path, as_of: date) -> SourceMapping:
    """A mapping and its lookups. Where these cannot be read, missing raw files are told as well.

    Raises:
        CallError: the mapping is not valid.
        ContractError: a lookup cannot be read.
    """
    mapping = read_mapping(path)
    try:
        return read_lookups(mapping, raw, path.absolute().parent)
    except ContractError as error:
        try:
            files_before(mapping, raw, as_of)
        except ContractError as missing:
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
        except ContractError as error:
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
    there = [path for path in (raw / lookup.file, beside / lookup.file) if path.exists()]
    if not there:
        raise ContractError(
            f"no file {lookup.file} under {raw}, the raw folder, or {beside}, the mapping's"
        )
    if len(there) == 2 and not there[0].samefile(there[1]):
        raise ContractError(f"{there[0]} and {there[1]} both could be meant: take one away")
    if not there[0].is_file():
        raise ContractError(f"{there[0]} is no file")
    return there[0]


def _read(lookup: Lookup, path: Path) -> Lookup:
    source = Source(f"lookups.{lookup.name}", lookup.file, tables=(), **dict(lookup.reading))
    rows = [_kept(lookup, row) for row in _good_rows(lookup, raw_rows(path, source))]
    if not rows:
        raise ContractError(f"{lookup.file}: it has no rows")
    lines: dict[tuple[Key, date | None], int] = {}
    problems = []
    for line, (key, day, _) in rows:
        first = lines.setdefault((key, day), line)
        if first != line:
            problems.append(
                f"lines {first} and {line} have the same {' and '.join(lookup.key)}"
                + (f", and the same day in {lookup.since}" if lookup.since is not None else "")
            )
    _check(lookup, problems)
    ordered = sorted((row for _, row in rows), key=lambda row: (row[0], row[1] or date.min))
    return replace(lookup, rows=_table(lookup, ordered), content=_hash(lookup, ordered))


def _good_rows(lookup: Lookup, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of the file.

    Raises:
        ContractError: some are none, lack their key or day, or there are too many.
    """
    problems, n_bytes = [], 0
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
        told = row.problem or _lacks(lookup, row.fields or [])
        if told is not None:
            problems.append(f"line {row.line}: {told}")
        else:
            yield row
    _check(lookup, problems)


def _check(lookup: Lookup, problems: Sequence[str]) -> None:
    if problems:
        more = f"; and {len(problems) - MAX_TOLD} more" if len(problems) > MAX_TOLD else ""
        raise ContractError(f"{lookup.file}: {'; '.join(problems[:MAX_TOLD])}{more}")


def _lacks(lookup: Lookup, fields: Sequence[str | None]) -> str | None:
    cells = dict(zip(lookup.columns, fields, strict=True))
    for column in lookup.key:
        if not canonical_id(cells[column] or ""):
            return f"{column}: missing"
    if lookup.since is not None and _day(cells[lookup.since]) is None:
        return f"{lookup.since}: not a day such as 2025-01-31"
    return None


def _day(text: str | None) -> date | None:
    """Of a time, its date as written."""
    try:
        return datetime.fromisoformat((text or "").strip()).date()
    except ValueError:
        return None


def _kept(lookup: Lookup, row: Row) -> tuple[int, Kept]:
    cells = [
        None if cell is None else unicodedata.normalize("NFC", cell) for cell in row.fields or ()
    ]
    named = dict(zip(lookup.columns, cells, strict=True))
    key = tuple(canonical_id(named[column] or "") for column in lookup.key)
    return row.line, (key, None if lookup.since is None else _day(named[lookup.since]), cells)


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


def _hash(lookup: Lookup, rows: Sequence[Kept]) -> str:
    """Of what they say, not of their order."""
    running = hashlib.sha256(json.dumps(lookup.columns).encode())
    for key, day, cells in rows:
        running.update(json.dumps([key, str(day), cells]).encode())
    return running.hexdigest()[:16]
