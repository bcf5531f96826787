"""Read raw files strictly, row by row, in bounded memory: every row comes out once, numbered.

A row that cannot be decoded comes out with a problem instead of fields. A file that cannot be read
at all, or whose bytes do not add up, comes out as one more row with line 0, so that the caller can
name every such file at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts.counts import n_of
from contracts.foreign import library_message
from jobs.landing.advice import encoding_advice
from jobs.landing.compression import Decompressed
from jobs.landing.csv_rows import csv_rows
from jobs.landing.excel_rows import excel_rows
from jobs.landing.json_rows import NOT_JSON_TO_THE_END, Picked, json_line_rows, json_rows
from jobs.landing.lines import RawBytes
from jobs.landing.parquet_rows import parquet_rows
from jobs.mapping.raw_row import CUT_OFF, HEADER_AGAIN, TOO_LONG, WHOLE_FILE, Row, UnreadableError
from jobs.mapping.sources import Source
from jobs.values.unicode_composition import composed

CHUNK_ROWS, CHUNK_BYTES = 8192, 32 << 20
"""What a batch of rows holds at most."""

MIN_UNDECODABLE = 10
"""So many undecodable rows in a file never stop a run, whatever their share."""

MIN_UNDECODABLE_BYTES = 1 << 16
"""Nor do rows of so many bytes, however few they are, unless one is all the rest of its file."""

_OF_JSON = {"jsonl": json_line_rows, "json": json_rows}
_OF_BYTES = {"csv": csv_rows, **_OF_JSON}
_OF_FILES = {"parquet": parquet_rows, "xlsx": excel_rows}


def raw_rows(path: Path, source: Source) -> Iterator[Row]:
    """Every row of the file; fields in the order of `source.columns`."""
    try:
        if source.format in _OF_FILES:
            yield from _checked(_OF_FILES[source.format](path, source), source, None)
            return
        with closing(Decompressed(path)) as file:
            data = RawBytes(file, source.encoding)
            yield from _checked(_OF_BYTES[source.format](data, source), source, data)
    except UnreadableError as error:
        yield Row(WHOLE_FILE, "", None, str(error))
    except MemoryError:
        yield Row(WHOLE_FILE, "", None, "cannot be read: it takes more memory than there is")
    except pa.ArrowException as error:
        yield Row(
            WHOLE_FILE,
            "",
            None,
            f"not a Parquet file that can be read: {library_message(error)}",
        )
    except OSError as error:
        yield Row(WHOLE_FILE, "", None, f"cannot be read: {library_message(error)}")


def _checked(rows: Iterator[Row], source: Source, data: RawBytes | None) -> Iterator[Row]:
    """The rows, unless the file as a whole is not what the source says.

    What was read is counted where it is read, and what rows stand for is added up here: a reader
    that loses a line, or tells it twice, is found out whatever the file holds.

    Raises:
        UnreadableError: bytes are in no row, no row is good, or too much of the file is not.
    """
    counts = _Counts()
    for row in rows:
        counts.add(row, source)
        yield row
    if data is not None and counts.claimed + data.n_skipped != data.n_read:
        raise UnreadableError(
            f"has {data.n_read:,} bytes, of which {counts.claimed:,} are in rows and "
            f"{data.n_skipped:,} in none: its reader has a fault, please report it"
        )
    if counts.first is not None:
        _check_counts(counts, counts.first, source, data)


@dataclass
class _Counts:
    """Rows and bytes of a file, and how many of them cannot be decoded."""

    n_rows: int = 0
    n_bad: int = 0
    claimed: int = 0
    """Bytes that rows stand for."""
    bad_bytes: int = 0
    long_bytes: int = 0
    """Bytes of rows that are too long, which are none of `bad_bytes`."""
    rest_bytes: int = 0
    """Bytes of a last row that may be all the rest of the file."""
    first: Row | None = None
    """The first row that cannot be decoded."""

    def add(self, row: Row, source: Source) -> None:
        self.claimed += row.n_bytes
        if row.problem == HEADER_AGAIN:
            return
        self.n_rows += 1
        if row.problem is None:
            return
        self.n_bad += 1
        self.first = self.first or row
        if row.problem.startswith(TOO_LONG):
            self.long_bytes += row.n_bytes
        else:
            self.bad_bytes += row.n_bytes
        if source.format == "json" and row.problem in (NOT_JSON_TO_THE_END, CUT_OFF):
            self.rest_bytes = row.n_bytes


def _check_counts(counts: _Counts, first: Row, source: Source, data: RawBytes | None) -> None:
    """Refuse a file of which no row is good, or too much is not; `first` is the first that is not.

    Raises:
        UnreadableError: how much cannot be decoded, what the file looks like, and the first row.
    """
    n_rows, n_bad = counts.n_rows, counts.n_bad
    example = f"the first is line {first.line}: {first.problem}"
    example += encoding_advice(first.problem or "", source)
    kind = data.unlike(source.format) if data is not None else None
    guess = data.seems if data is not None else None
    seems = f"it looks like {kind}; " if kind else f"it {guess}; " if guess else ""
    if n_bad == n_rows:
        raise UnreadableError(
            f"its only row cannot be decoded; {seems}{example}"
            if n_rows == 1
            else f"none of its {n_rows} rows can be decoded; {seems}{example}"
        )
    if kind is not None and n_bad * 2 >= n_rows:
        raise UnreadableError(f"{n_bad} of {n_rows} rows cannot be decoded; {seems}{example}")
    is_much = counts.bad_bytes > MIN_UNDECODABLE_BYTES
    lost_bytes = counts.bad_bytes if is_much else counts.rest_bytes
    if not lost_bytes:
        return
    # a line may be all the rest of the file, and is as many rows as good ones have its length
    n_good = n_rows - n_bad
    n_lost = lost_bytes / (max(counts.claimed - counts.bad_bytes - counts.long_bytes, 1) / n_good)
    if n_lost > MIN_UNDECODABLE and n_lost > source.max_undecodable_share * (n_lost + n_good):
        raise UnreadableError(
            f"{lost_bytes:,} of {counts.claimed:,} bytes cannot be decoded, as much as "
            f"{n_lost:,.0f} rows, more than max_undecodable_share = "
            f"{source.max_undecodable_share:g} allows; {example}"
        )


def absent_from_first(path: Path, source: Source, max_rows: int) -> str | None:
    """Which keys of the mapping none of a JSON file's first rows has; None if none is absent. What
    is wrong with all of the file is told where all of it is read."""
    if source.format not in _OF_JSON:
        return None
    try:
        with closing(Decompressed(path)) as file:
            data = RawBytes(file, source.encoding)
            picked = Picked(source, data)
            for _ in islice(_OF_JSON[source.format](data, source, picked), max_rows):
                if not picked.unseen:
                    return None
    except (UnreadableError, MemoryError, OSError):
        return None
    return picked.absent_columns(f"none of the first {n_of(max_rows, 'row')}")


# Arrow batches, for Spark's workers

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("landed_on", pa.date32()),
        ("line", pa.int64()),
        ("row_hash", pa.string()),
        ("fields", pa.list_(pa.string())),
        ("problem", pa.string()),
    ]
)


def reader(
    source: Source, max_rows: int | None = None
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """A function for `mapInArrow`: batches of (path, file, landed_on) in, batches of rows out.

    With `max_rows` it reads no further in each file.
    """

    # lookups stay where they were read: landing needs none
    source = replace(source, lookups=())

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for entry in batch.to_pylist():
                chunk: list[Row] = []
                size = 0
                for row in islice(_with_faults(raw_rows(Path(entry["path"]), source)), max_rows):
                    chunk.append(row)
                    size += row.n_bytes
                    if len(chunk) == CHUNK_ROWS or size > CHUNK_BYTES:
                        yield _batch(entry, chunk)
                        chunk, size = [], 0
                if chunk:
                    yield _batch(entry, chunk)

    return read


def _with_faults(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows; where a reader stops at an unexpected error, that as the last of its file."""
    try:
        yield from rows
    except Exception as error:
        here = Path(__file__).parent
        frames = [(Path(f.filename), f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        file, line = [(file, line) for file, line in frames if file.parent == here][-1]
        place = f"{here.name}/{file.name}:{line}"
        problem = f"its reader has a fault, please report it: {type(error).__name__} in {place}"
        yield Row(WHOLE_FILE, "", None, problem)


def _batch(entry: dict[str, Any], rows: list[Row]) -> pa.RecordBatch:
    n = len(rows)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([entry["file"]] * n, pa.string()),
            pa.array([entry["landed_on"]] * n, pa.date32()),
            pa.array([row.line for row in rows], pa.int64()),
            pa.array([row.row_hash for row in rows], pa.string()),
            composed(pa.array([row.fields for row in rows], pa.list_(pa.string()))),
            pa.array([row.problem for row in rows], pa.string()),
        ],
        schema=SCHEMA,
    )
