"""What a check sees in raw files: whether they are cut off, which keys elements have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import duckdb

from contracts.counts import n_of
from contracts.tables import LANDED
from flows.analysts import select_from
from flows.check_night import files_of
from flows.counts import cut_off_line
from jobs import rawfiles
from jobs.element_keys import SeenKeys
from jobs.raw_row import CUT_OFF
from jobs.run import Result
from jobs.sources import RawFile, SourceMapping

FIRST_ROWS = 1000
"""Rows of a source whose elements are looked at."""


def files_cut_off(landings: Sequence[Result]) -> tuple[str, ...]:
    """Files that were read to their end, which is in the middle of a line."""
    rows = select_from(LANDED, [path for landing in landings for path in files_of(landing, LANDED)])
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT DISTINCT source, file FROM ({rows}) WHERE problem = '{CUT_OFF}' ORDER BY ALL"
        ).fetchall()
    return tuple(cut_off_line(source, file) for source, file in found)


MAX_FILES = 3
"""Files of a source that are named."""


def absent_from_first(
    mapping: SourceMapping, files: Mapping[str, Sequence[RawFile]], max_rows: int
) -> tuple[str, ...]:
    """Files of which none of the first rows has a key of the mapping: a night stops at one of which
    no row has."""
    told = []
    for source in mapping.sources:
        found = [
            (file, rawfiles.absent_from_first(file.path, source, max_rows))
            for file in files[source.name]
        ]
        of_source = [f"{source.name}: {file.name}: {what}" for file, what in found if what]
        n_more = len(of_source) - MAX_FILES
        more = f"; and {n_of(n_more, 'more file')}" if n_more > 0 else ""
        told += of_source[: MAX_FILES - 1]
        told += [last + more for last in of_source[MAX_FILES - 1 : MAX_FILES]]
    return tuple(told)


def absent_keys(mapping: SourceMapping, landings: Mapping[str, Result]) -> tuple[str, ...]:
    """Keys that the mapping names in the elements of arrays, and none of the first rows has."""
    told = []
    for source in mapping.sources:
        for column, paths in source.element_paths.items():
            seen = SeenKeys(paths)
            for cell in _cells(landings[source.name], source.columns.index(column)):
                seen.look(_parsed(cell))
            if seen.are_absent:
                told.append(f"{source.name}: {seen.told(column)}")
    return tuple(told)


def _cells(landing: Result, at: int) -> list[str]:
    """What stands in a column of the first rows."""
    rows = select_from(LANDED, files_of(landing, LANDED))
    cell = f"fields[{at + 1}]"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT {cell} FROM ({rows}) WHERE {cell} IS NOT NULL "
            f"ORDER BY file, line LIMIT {FIRST_ROWS}"
        ).fetchall()
    return [text for (text,) in found]


def _parsed(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None
