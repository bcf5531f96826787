"""Read raw files strictly, line by line, in bounded memory: every line comes out once, numbered.

A line that cannot be decoded comes out with a problem instead of fields. A file that cannot be
read at all comes out as one row with line 0, so that the caller can name every such file at once.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.compose import composed
from jobs.sources import Source

WHOLE_FILE = 0
"""Line number of the one row that says why a file could not be read."""

MAX_RECORD_LINES = 1000
"""Lines that one quoted record may span; beyond it, its quote was never closed."""

CHUNK = 8192


class Row(NamedTuple):
    line: int
    row_hash: str
    fields: list[str | None] | None
    problem: str | None


def raw_rows(path: Path, source: Source) -> Iterator[Row]:
    """Every row of the file; fields in the order of `source.columns`."""
    try:
        if source.format == "parquet":
            yield from _parquet_rows(path, source)
            return
        with _open(path) as stream:
            lines = _lines(stream)
            yield from (_json_rows if source.format == "jsonl" else _csv_rows)(lines, source)
    except _UnreadableError as error:
        yield Row(WHOLE_FILE, "", None, str(error))
    except EOFError:
        yield Row(WHOLE_FILE, "", None, "the gzip stream is truncated")
    except (gzip.BadGzipFile, zlib.error) as error:
        yield Row(WHOLE_FILE, "", None, f"the gzip stream is corrupt: {error}")
    except pa.ArrowException as error:
        yield Row(WHOLE_FILE, "", None, f"not a Parquet file that can be read: {error}")
    except OSError as error:
        yield Row(WHOLE_FILE, "", None, f"cannot be read: {error.strerror or error}")


class _UnreadableError(Exception):
    """The file as a whole is not what the mapping says."""


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        magic = stream.read(2)
    if magic == b"\x1f\x8b":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix == ".gz":
        raise _UnreadableError(
            "is named .gz but is no gzip stream"
            if magic
            else "is empty, where even an empty gzip stream has 20 bytes"
        )
    return path.open("rb")


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their number from 1, without line ends and byte-order mark."""
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.rstrip(b"\r\n")
        if line and not line.isspace():
            yield number, line


def row_hash(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


# JSON lines


def _json_rows(lines: Iterable[tuple[int, bytes]], source: Source) -> Iterator[Row]:
    paths = [column.split(".") for column in source.columns]
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_no_constant
    )
    for number, raw in lines:
        fields, problem = None, None
        try:
            record = decoder.decode(raw.decode(source.encoding))
            if isinstance(record, dict):
                fields = [_text(_reach(record, path)) for path in paths]
                if b"\\ud" in raw.lower() and not _is_unicode(fields):
                    fields, problem = None, "half a pair of surrogates"
            else:
                problem = "not a JSON object"
        except UnicodeDecodeError:
            problem = f"not valid {source.encoding}"
        except _UndecodableError as error:
            problem = str(error)
        except RecursionError:
            problem = "JSON nested too deep"
        except ValueError:
            problem = "not valid JSON"
        yield Row(number, row_hash(raw), fields, problem)


def _is_unicode(fields: Sequence[str | None]) -> bool:
    """Whether the texts can be written at all: JSON may escape half a pair of surrogates."""
    try:
        for field in fields:
            (field or "").encode()
    except UnicodeEncodeError:
        return False
    return True


class _UndecodableError(ValueError):
    """The line is well formed but ambiguous."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _UndecodableError("a JSON key is there twice")
    return made


def _no_constant(name: str) -> None:
    raise _UndecodableError(f"{name} is no JSON value")


def _reach(record: Any, path: list[str]) -> Any:
    for step in path:
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


# CSV


def _csv_rows(lines: Iterator[tuple[int, bytes]], source: Source) -> Iterator[Row]:
    width = len(source.columns)
    picks: list[int] | None = None
    if source.header:
        width, picks = _header(lines, source)
    records = _records(lines, source) if source.multiline else ((n, raw) for n, raw in lines)
    separator, quote = source.separator, source.quote
    for number, raw in records:
        fields: list[str | None] | None = None
        problem = None
        try:
            text = raw.decode(source.encoding)
            cells = _split(text, source) if quote in text or "\n" in text else text.split(separator)
            if len(cells) == width:
                chosen = cells if picks is None else [cells[i] for i in picks]
                fields = [cell if cell else None for cell in chosen]
            else:
                problem = f"expected {width} fields, found {len(cells)}"
        except UnicodeDecodeError:
            problem = f"not valid {source.encoding}"
        except csv.Error:
            problem = "a quote is not closed or not escaped"
        yield Row(number, row_hash(raw), fields, problem)


def _split(text: str, source: Source) -> list[str]:
    reader = csv.reader(
        text.splitlines(keepends=True),
        delimiter=source.separator,
        quotechar=source.quote,
        doublequote=True,
        strict=True,
    )
    cells = next(reader)
    if next(reader, None) is not None:
        raise csv.Error
    return cells


def _header(lines: Iterator[tuple[int, bytes]], source: Source) -> tuple[int, list[int]]:
    _, raw = next(lines, (0, b""))
    try:
        found = (
            [name.strip() for name in _split(raw.decode(source.encoding), source)] if raw else []
        )
    except (UnicodeDecodeError, csv.Error):
        raise _UnreadableError("its header cannot be decoded") from None
    absent = [name for name in source.columns if name not in found]
    if absent:
        raise _UnreadableError(
            f"no column {', '.join(absent)}; its header has " + (", ".join(found) or "nothing")
        )
    twice = sorted({name for name in source.columns if found.count(name) > 1})
    if twice:
        raise _UnreadableError(f"its header names {', '.join(twice)} twice")
    return len(found), [found.index(name) for name in source.columns]


def _records(lines: Iterator[tuple[int, bytes]], source: Source) -> Iterator[tuple[int, bytes]]:
    """Physical lines joined while a quote is open.

    A quote that is never closed costs its own line only: the lines after it are read again.
    """
    quote = source.quote.encode(source.encoding)
    again: deque[tuple[int, bytes]] = deque()

    def next_line() -> tuple[int, bytes] | None:
        return again.popleft() if again else next(lines, None)

    while (first := next_line()) is not None:
        taken = [first]
        n_open = first[1].count(quote)
        while n_open % 2 and len(taken) < MAX_RECORD_LINES:
            more = next_line()
            if more is None:
                break
            taken.append(more)
            n_open += more[1].count(quote)
        if n_open % 2:
            again.extendleft(reversed(taken[1:]))
            taken = taken[:1]
        yield first[0], b"\n".join(raw for _, raw in taken)


# Parquet


def _parquet_rows(path: Path, source: Source) -> Iterator[Row]:
    file = pq.ParquetFile(path)
    tops = [column.split(".")[0] for column in source.columns]
    absent = [top for top in tops if top not in file.schema_arrow.names]
    if absent:
        raise _UnreadableError(
            f"no column {', '.join(absent)}; it has " + ", ".join(file.schema_arrow.names)
        )
    number = 0
    for batch in file.iter_batches(batch_size=CHUNK, columns=sorted(set(tops))):
        columns = [_as_texts(_column(batch, name)) for name in source.columns]
        for fields in zip(*columns, strict=True):
            number += 1
            bad = any(isinstance(field, bytes) for field in fields)
            raw = b"\x1f".join(
                b"\x00" if f is None else f if isinstance(f, bytes) else f.encode() for f in fields
            )
            problem = "not valid utf-8" if bad else None
            yield Row(number, row_hash(raw), None if bad else list(fields), problem)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    top, *path = name.split(".")
    column = batch.column(batch.schema.get_field_index(top))
    return pc.struct_field(column, path) if path else column


def _as_texts(column: pa.Array) -> list[Any]:
    """Values as texts; bytes where a string is not UTF-8, which Parquet does not check."""
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = pc.strftime(column.cast(pa.timestamp("us", tz="UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_nested(column.type):
        return [_text(value) for value in column.to_pylist()]
    texts = column.cast(pa.string())
    try:
        return texts.to_pylist()
    except UnicodeDecodeError:
        return [_decoded(value) for value in texts.cast(pa.binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


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

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for entry in batch.to_pylist():
                chunk: list[Row] = []
                for row in islice(raw_rows(Path(entry["path"]), source), max_rows):
                    chunk.append(row)
                    if len(chunk) == CHUNK:
                        yield _batch(entry, chunk)
                        chunk = []
                if chunk:
                    yield _batch(entry, chunk)

    return read


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
