"""Parquet: rows of the columns that a mapping names, in batches that stay small."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from os import SEEK_END
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.counts import n_of
from jobs.landing.compression import packing_of
from jobs.landing.file_kind import resemblance
from jobs.landing.parquet_values import is_list_of_views, texts, view_ends
from jobs.mapping.columns import MAX_NAMES, absent_columns, check_once, listed
from jobs.mapping.element_keys import KeyPath, SeenKeys, absent_message
from jobs.mapping.raw_row import LONG_CELL, MAX_CELL, Row, UnreadableError, row_hash, without_nulls
from jobs.mapping.sources import Source

MAX_BATCH_ROWS = 8192
BATCH_BYTES = 32 << 20
MAX_DELTA_ROWS = 64
"""Rows of a batch where the file writes texts as what differs from the text before: how long they
are is known only once they are read."""


def parquet_rows(path: Path, source: Source) -> Iterator[Row]:
    """Every row of a Parquet file, in the order of `source.columns`."""
    _check_magic(path)
    file = pq.ParquetFile(path, coerce_int96_timestamp_unit="us")
    tops = [_top(file.schema_arrow, column) for column in source.columns]
    absent = _absent_columns(file.schema_arrow, source, tops)
    _check_elements(file.schema_arrow, source)
    instants = _int96(file)
    nulls = frozenset(source.null_values)
    number = 0
    present = [
        top for top, column in zip(tops, source.columns, strict=True) if column not in absent
    ]
    for batch in _batches(path, file, present):
        columns = [
            [None] * batch.num_rows
            if column in absent
            else texts(_column(batch, top, column), column, instants)
            for top, column in zip(tops, source.columns, strict=True)
        ]
        for cells in zip(*columns, strict=True):
            number += 1
            raw = b"\x1f".join(
                b"\x00" if c is None else c if isinstance(c, bytes) else c.encode() for c in cells
            )
            hashed = row_hash(raw)
            if any(isinstance(cell, bytes) for cell in cells):
                yield Row(number, hashed, None, "not valid utf-8", len(raw))
            elif len(raw) > MAX_CELL and max(len(cell or "") for cell in cells) > MAX_CELL:
                yield Row(number, hashed, None, LONG_CELL, len(raw))
            else:
                yield Row(number, hashed, without_nulls(cells, nulls), None, len(raw))
    if number != file.metadata.num_rows:
        raise UnreadableError(
            f"has {n_of(file.metadata.num_rows, 'row')}, of which {number:,} were read"
        )


_MAGIC, _MAGIC_ENCRYPTED = b"PAR1", b"PARE"
"""With which of them a file begins and ends."""


def _check_magic(path: Path) -> None:
    """Refuse what is no Parquet file, and say what it looks like.

    Raises:
        UnreadableError: it is something else, or a part of one.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
        stream.seek(max(0, stream.seek(0, SEEK_END) - len(_MAGIC)))
        end = stream.read()
    if not head:
        raise UnreadableError("is empty, where even a Parquet file without rows has some bytes")
    if head.startswith(_MAGIC_ENCRYPTED):
        raise UnreadableError("is an encrypted Parquet file, which is not read; decrypt it")
    if not head.startswith(_MAGIC):
        packed = packing_of(head)
        if packed is not None:
            raise UnreadableError(f"is packed with {packed}; unpack it, as Parquet packs by itself")
        raise UnreadableError(f"is no Parquet file{resemblance(head)}")
    if end != _MAGIC or len(head) < 3 * len(_MAGIC):
        raise UnreadableError("begins as a Parquet file and does not end as one: was it cut off?")


def _batches(path: Path, file: pq.ParquetFile, tops: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns `tops` of the file, in batches that stay small, however long their rows are."""
    read = pq.ParquetFile(
        path,
        metadata=file.metadata,
        read_dictionary=_dictionaries(file, tops),
        coerce_int96_timestamp_unit="us",  # nanoseconds end in 2262
    )
    n_rows, columns = _batch_rows(file, tops), sorted(set(tops))
    # one group at a time: Arrow cannot join the dictionaries of two within lists and structs
    for group in range(file.num_row_groups):
        for batch in read.iter_batches(n_rows, row_groups=[group], columns=columns):
            yield from _parts(batch)


def _is_of(path: str, tops: Collection[str]) -> bool:
    """Whether a leaf of the file belongs to one of its columns."""
    return any(path == top or path.startswith(f"{top}.") for top in tops)


def _leaves(file: pq.ParquetFile, tops: Collection[str]) -> list[tuple[int, Any]]:
    """Place and description of what the columns consist of."""
    every = ((i, file.schema.column(i)) for i in range(len(file.schema)))
    return [(i, leaf) for i, leaf in every if _is_of(leaf.path, tops)]


def _dictionaries(file: pq.ParquetFile, tops: Collection[str]) -> list[str]:
    """Texts to be read as a dictionary and places in it, as the file may have them: one of a
    megabyte in every row takes a few bytes there."""
    return [
        leaf.path
        for _, leaf in _leaves(file, tops)
        if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type in _TEXTS
    ]


_TEXTS = ("NONE", "STRING", "ENUM", "JSON", "BSON")
"""What bytes may stand for, other than numbers."""


def _batch_rows(file: pq.ParquetFile, tops: Collection[str]) -> int:
    """So many rows that a batch stays small, but for texts that are in it more than once."""
    leaves, widest, most = _leaves(file, tops), 1.0, MAX_BATCH_ROWS
    for i in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(i)
        size = 0
        for place, leaf in leaves:
            chunk = group.column(place)
            width = max(leaf.length, 8) if leaf.physical_type != "BYTE_ARRAY" else 4
            size += max(chunk.total_uncompressed_size, chunk.num_values * width)
            if "DELTA_BYTE_ARRAY" in chunk.encodings:
                most = MAX_DELTA_ROWS
        widest = max(widest, size / max(group.num_rows, 1))
    return int(min(most, max(1, BATCH_BYTES // widest)))


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts whose texts, each written out, stay small."""
    ends = np.cumsum(sum(_text_bytes(column) for column in batch.columns))
    start = 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + BATCH_BYTES, "right")))
        yield batch.slice(start, end - start)
        start = end


def _text_bytes(values: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many bytes the texts in each value have."""
    type_ = values.type
    if pa.types.is_dictionary(type_):
        sizes = pa.array(_text_bytes(values.dictionary)).take(values.indices)
        return np.asarray(pc.fill_null(sizes, 0))
    if pa.types.is_struct(type_):
        return sum(
            (_text_bytes(values.field(i)) for i in range(type_.num_fields)), _zeros(len(values))
        )
    if is_list_of_views(type_):
        until = np.concatenate([[0], np.cumsum(_text_bytes(values.flatten()))])
        ends = view_ends(values)
        return until[ends] - until[np.concatenate([[0], ends[:-1]])]
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_map(type_):
        until = np.concatenate([[0], np.cumsum(_text_bytes(values.values))])
        offsets = np.asarray(values.offsets)
        return until[offsets[1:]] - until[offsets[:-1]]
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        return _text_bytes(values.cast(pa.large_binary()))
    if _is_text(type_):
        return np.asarray(pc.fill_null(pc.binary_length(values), 0)).astype(np.int64)
    return _zeros(len(values))


def _is_text(type_: pa.DataType) -> bool:
    kinds = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary
    )  # fmt: skip
    return any(is_kind(type_) for is_kind in kinds)


def _zeros(n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.zeros(n, np.int64)


def _top(schema: pa.Schema, column: str) -> str:
    """The file's column that holds a mapped one: of its name, or of the first step of its path."""
    return column if column in schema.names else column.split(".")[0]


def _absent_columns(schema: pa.Schema, source: Source, tops: list[str]) -> list[str]:
    """Columns that the file does not have, and may lack.

    Raises:
        UnreadableError: it may not, has none of them, or names one twice.
    """
    absent, known = [], list(schema.names)
    for column, top in zip(source.columns, tops, strict=True):
        if top not in schema.names:
            absent.append(column)
            continue
        field = schema.field(schema.get_all_field_indices(top)[0])
        for step in [] if column == top else column.split(".")[1:]:
            inner = [field.type.field(i) for i in range(_n_inner(field.type))]
            check_once([step], [f.name for f in inner], f"a struct in {top}")
            matching = [f for f in inner if f.name == step]
            if not matching:
                absent.append(column)
                known += [f"{field.name}.{f.name}" for f in inner]
                break
            field = matching[0]
    if absent and (source.missing_key == "stop" or len(absent) == len(source.columns)):
        raise UnreadableError(absent_columns(absent, f"its schema has {listed(known[:MAX_NAMES])}"))
    check_once([top for top in tops if top in schema.names], schema.names, "its schema")
    return absent


def _check_elements(schema: pa.Schema, source: Source) -> None:
    """Refuse a file whose lists hold structs without a key that the mapping names."""
    elements = {}
    for column, paths in source.element_paths.items() if source.missing_key == "stop" else ():
        type_ = _type_at(schema, column)
        if type_ is not None and _is_list(type_):
            elements[column] = SeenKeys(p for p in paths if _lacks(type_.value_type, p))
            # as if there were two: a key of one alone may be somebody's name
            elements[column].note([_outline(type_.value_type)] * 2)
    absent = absent_message(elements)
    if absent is not None:
        raise UnreadableError(absent)


def _is_list(type_: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(type_) for is_kind in kinds) or is_list_of_views(type_)


def _type_at(schema: pa.Schema, column: str) -> pa.DataType | None:
    """The type of a mapped column; None if the file does not have it."""
    top = _top(schema, column)
    steps = [top] if column == top else column.split(".")
    type_ = pa.struct(list(schema))
    for step in steps:
        at = type_.get_all_field_indices(step) if pa.types.is_struct(type_) else []
        if not at:
            return None
        type_ = type_.field(at[0]).type
    return type_


def _lacks(type_: pa.DataType, path: KeyPath) -> bool:
    """Whether a struct for sure has no such key: what is no struct may have any."""
    for step in path:
        if not pa.types.is_struct(type_):
            return False
        at = type_.get_all_field_indices(step)
        if not at:
            return True
        type_ = type_.field(at[0]).type
    return False


def _outline(type_: pa.DataType) -> object:
    """An object with the keys that a struct has, as deep as they go."""
    if not pa.types.is_struct(type_):
        return None
    return {type_.field(i).name: _outline(type_.field(i).type) for i in range(type_.num_fields)}


def _n_inner(type_: pa.DataType) -> int:
    return type_.num_fields if pa.types.is_struct(type_) else 0


def _int96(file: pq.ParquetFile) -> set[str]:
    """Columns of Spark's old timestamps, which are instants and do not say so."""
    columns = (file.schema.column(i) for i in range(len(file.schema)))
    return {column.path for column in columns if column.physical_type == "INT96"}


def _column(batch: pa.RecordBatch, top: str, column: str) -> pa.Array:
    values = batch.column(batch.schema.get_field_index(top))
    return values if column == top else pc.struct_field(values, column.split(".")[1:])
