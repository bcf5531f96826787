"""Parquet's values, whatever types they have, as the texts that a CSV would hold."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.mapping.columns import check_once
from jobs.mapping.raw_row import EXACT, UnreadableError

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
"""Types of what may be text, as writers before 2013 and some since do not say."""


def texts(values: pa.Array, path: str, instants: Set[str]) -> list[Any]:
    """Values as texts; bytes where a text is not UTF-8, which Parquet does not check.

    An instant ends in Z; a time without a zone has no offset. Both have microseconds at most.
    `path`: where they stand in the file; `instants`: where times do that do not say that they are.
    """
    values = _plain(values)
    type_ = values.type
    if pa.types.is_timestamp(type_):
        return list(_of_timestamps(values, path in instants).to_pylist())
    if pa.types.is_floating(type_):
        return list(_of_floats(values).to_pylist())
    if pa.types.is_nested(type_):
        every = _nested(values, path, instants)
        return [None if value is None else _json(value) for value in every]
    if pa.types.is_decimal(type_):
        return _of_decimals(values)
    if pa.types.is_duration(type_):
        return _of_durations(values)
    if pa.types.is_fixed_size_binary(type_):
        return [None if value is None else _of_binary(value) for value in values.to_pylist()]
    if any(is_bytes(type_) for is_bytes in _BYTES):
        return [_decoded(value) for value in values.to_pylist()]
    as_texts = values.cast(pa.string())
    try:
        return list(as_texts.to_pylist())
    except UnicodeDecodeError:
        return [_decoded(value) for value in as_texts.cast(pa.binary()).to_pylist()]


def _plain(values: pa.Array) -> pa.Array:
    """Without a type that is built on another one."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values


def _of_timestamps(values: pa.Array, is_instant: bool) -> pa.Array:
    unit, has_zone = values.type.unit, values.type.tz is not None
    ends = "Z" if has_zone or is_instant else ""
    values = values.cast(pa.timestamp(unit, "UTC"), safe=False)  # a zone may be one nobody knows
    numbers = values.cast(pa.int64())
    most = min(_MAX_SECONDS * _PER_SECOND[unit], 2**63 - 1)
    is_time = pc.and_(pc.greater_equal(numbers, -most), pc.less_equal(numbers, most))
    times = pc.if_else(is_time, values, pa.scalar(None, values.type))
    as_texts = pc.strftime(
        times.cast(pa.timestamp("us", "UTC"), safe=False), format=f"%Y-%m-%dT%H:%M:%S{ends}"
    )
    if pc.all(is_time).as_py() is False:
        as_texts = pc.if_else(is_time, as_texts, _out_of_range(numbers))
    return as_texts


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MAX_SECONDS = 30_000 * 365 * 86_400
"""From 1970: what is farther off is no time, and Arrow would tell another year."""


def _out_of_range(numbers: pa.Array) -> pa.Array:
    """As Arrow itself tells days and times that are none."""
    return pc.binary_join_element_wise("<value out of range: ", numbers.cast(pa.string()), ">", "")


def _of_decimals(values: pa.Array) -> list[str | None]:
    """A whole number as one, such as an id of Oracle's, whose numbers become `decimal(38, 10)`."""
    return [None if value is None else _of_decimal(value) for value in values.to_pylist()]


def _of_decimal(value: Decimal) -> str:
    text = format(value, "f")
    whole, _, fraction = text.partition(".")
    return text if fraction.strip("0") else whole


def _of_durations(values: pa.Array) -> list[str | None]:
    per_second = _PER_SECOND[values.type.unit]
    as_texts: list[str | None] = []
    for number in values.cast(pa.int64()).to_pylist():
        try:
            as_texts.append(
                None if number is None else str(timedelta(0, 0, number * 10**6 // per_second))
            )
        except OverflowError:
            as_texts.append(f"<value out of range: {number}>")
    return as_texts


def _of_floats(values: pa.Array) -> pa.Array:
    """A whole number as one, such as an id in a column that became a double; NaN is missing."""
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    is_whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), EXACT))
    whole = pc.if_else(is_whole, values, pa.scalar(0, values.type)).cast(pa.int64())
    as_texts = pc.if_else(is_whole, whole.cast(pa.string()), values.cast(pa.string()))
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.string()), as_texts)


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _of_binary(value: bytes) -> str:
    """A UUID where there are 16 bytes, which it takes; else the text, or its digits."""
    text = _decoded(value)
    if isinstance(text, str) and text.isprintable():
        return text
    return str(UUID(bytes=value)) if len(value) == 16 else value.hex()


def _json(value: Any) -> str | bytes:
    """As a text; as bytes where a text in it is not UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def _nested(values: pa.Array, path: str, instants: Set[str]) -> list[Any]:
    """Values in what JSON has; what it has not is text, exactly.

    Arrow would make Python's objects of them, which know neither the year 10,000 nor every zone.
    """
    values = _plain(values)
    type_ = values.type
    if pa.types.is_struct(type_):
        return _structs(values, path, instants)
    if pa.types.is_map(type_):
        keys, items = (
            _nested(part, path, instants)
            for part in _parts_within(values, values.keys, values.items)
        )
        names = [key if isinstance(key, str) else json.dumps(key) for key in keys]
        rows = _lists(values, list(zip(names, items, strict=True)))
        return [None if pairs is None else _object(pairs, path) for pairs in rows]
    if is_list_of_views(type_):
        return _views(values, _nested(values.flatten(), path, instants))
    if _is_list(type_):
        (only,) = _parts_within(values, values.values)
        return _lists(values, _nested(only, path, instants))
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_) or pa.types.is_null(type_):
        return list(values.to_pylist())
    if pa.types.is_floating(type_):
        return [_number(text) for text in _of_floats(values).to_pylist()]
    if pa.types.is_decimal(type_):
        return _of_decimals(values)
    if pa.types.is_temporal(type_):
        if pa.types.is_time32(type_):
            values = values.cast(pa.time64("us"), safe=False)
        is_instant = any(leaf == path or leaf.startswith(f"{path}.") for leaf in instants)
        as_texts = texts(values, path, {path} if is_instant else set())
        return [_without_zeros(text) for text in as_texts]
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        try:
            return list(values.to_pylist())
        except UnicodeDecodeError:
            every = values.cast(pa.large_binary()).to_pylist()
            return [value and value.decode("utf-8", "surrogateescape") for value in every]
    return [None if value is None else _of_binary(value) for value in values.to_pylist()]


def _object(pairs: list[tuple[str, Any]], path: str) -> dict[str, Any]:
    """A map, as everybody writes it in JSON."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise UnreadableError(f"a map in {path} has a key twice")
    return members


def _structs(values: pa.StructArray, path: str, instants: Set[str]) -> list[Any]:
    names = [field.name for field in values.type]
    check_once(names, names, f"a struct in {path}")
    fields = (
        _nested(field, f"{path}.{name}", instants)
        for name, field in zip(names, values.flatten(), strict=True)
    )
    rows = zip(*fields, strict=True) if names else iter([()] * len(values))
    return [
        dict(zip(names, row, strict=True)) if is_there else None
        for row, is_there in zip(rows, values.is_valid().to_pylist(), strict=True)
    ]


def _is_list(type_: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(type_) for is_kind in kinds)


def is_list_of_views(type_: pa.DataType) -> bool:
    """Whether lists say where each begins and how long it is, as writers of Arrow may have them."""
    return bool(pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_))


def view_ends(values: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where each list ends in `values.flatten()`."""
    sizes = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
    return np.cumsum(sizes, dtype=np.int64)


def _views(values: pa.Array, within: list[Any]) -> list[Any]:
    ends = view_ends(values).tolist()
    return [
        within[start:end] if is_there else None
        for start, end, is_there in zip(
            [0, *ends], ends, values.is_valid().to_pylist(), strict=False
        )
    ]


def _offsets(values: pa.Array) -> np.ndarray[Any, Any]:
    """Where among what the lists hold each of them begins, and where the last ends."""
    if pa.types.is_fixed_size_list(values.type):
        return (values.offset + np.arange(len(values) + 1)) * values.type.list_size
    return np.asarray(values.offsets)


def _parts_within(values: pa.Array, *every: pa.Array) -> list[pa.Array]:
    """Of what lists hold, which Arrow gives of all lists of a batch, that of these."""
    first, last = _offsets(values)[[0, -1]].tolist()
    return [part.slice(first, last - first) for part in every]


def _lists(values: pa.Array, within: list[Any]) -> list[Any]:
    offsets = _offsets(values)
    starts = (offsets - offsets[0]).tolist()
    return [
        within[start:end] if is_there else None
        for start, end, is_there in zip(
            starts[:-1], starts[1:], values.is_valid().to_pylist(), strict=True
        )
    ]


def _number(text: str | None) -> int | float | str | None:
    """JSON has no infinity."""
    if text is None or text.endswith("inf"):
        return text
    return float(text) if "." in text or "e" in text else int(text)


def _without_zeros(text: str | None) -> str | None:
    """A time without its decimals where they are all zero."""
    return None if text is None else re.sub(r"\.0+(?=Z?$)", "", text)
