"""Content hashes that do not depend on the order of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F

Hashes = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0xD1B54A32D192ED03)


def content_hash(columns: Sequence[str]) -> Column:
    """64 bits of a row's content. Spark's hash skips nulls, so where they are is hashed too."""
    return F.xxhash64(*columns, F.array(*(F.col(name).isNull() for name in columns)))


def row_hashes(rows: pa.RecordBatch) -> Hashes:
    """64 bits of each row's content, names of columns included, types not.

    Every value is mixed with a seed of its column, and the columns are added up. What a file is
    made of decides (Spark, NumPy, dictionaries or not) nothing: only its values do.
    """
    total = np.zeros(rows.num_rows, np.uint64)
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        seed = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), np.uint64)[0]
        total += _mixed(_hashes(column) ^ seed)
    return _mixed(total)


def _mixed(bits: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit depends on every bit."""
    x = bits + _GOLDEN
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _hashes(values: pa.Array) -> Hashes:
    """A hash per value, the same for equal values of one type; nulls have one of their own."""
    if pa.types.is_dictionary(values.type):
        codes = values.indices.fill_null(0).to_numpy(zero_copy_only=False)
        of_dictionary = _hashes(values.dictionary)
        hashes = of_dictionary[codes] if len(of_dictionary) else np.zeros(len(values), np.uint64)
    elif pa.types.is_list(values.type):
        lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        items = _hashes(values.flatten())
        hashes = _summed(_mixed(items + _places(lengths)), lengths)
    elif pa.types.is_string(values.type):
        hashes = _texts(values)
    else:
        hashes = _bits(values)
    if values.null_count:
        hashes = np.where(values.is_null().to_numpy(zero_copy_only=False), _NULL, hashes)
    return hashes


def _bits(values: pa.Array) -> Hashes:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    elif pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    if values.null_count:
        values = pc.fill_null(values, 0)
    plain = values.to_numpy(zero_copy_only=False)
    if plain.dtype.kind == "f":
        return plain.astype(np.float64).view(np.uint64)
    return plain.astype(np.int64).view(np.uint64)


def _texts(values: pa.Array) -> Hashes:
    """Multilinear hashing (Lemire and Kaser 2014) of the bytes, with a multiplier per place."""
    if len(values) == 0:
        return np.zeros(0, np.uint64)
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    start, stop = int(ends[0]), int(ends[-1])
    whole = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    lengths = np.diff(ends)
    return _summed((whole[start:stop].astype(np.uint64) + np.uint64(1)) * _places(lengths), lengths)


def _places(lengths: npt.NDArray[np.integer]) -> Hashes:
    """A random odd number per place, counted from the start of each run."""
    if not len(lengths):
        return np.zeros(0, np.uint64)
    table = _mixed(np.arange(int(lengths.max()), dtype=np.uint64)) | np.uint64(1)
    starts = np.cumsum(lengths) - lengths
    return table[np.arange(int(lengths.sum())) - np.repeat(starts, lengths)]


def _summed(values: Hashes, lengths: npt.NDArray[np.integer]) -> Hashes:
    """The sum of each run modulo 2**64, mixed with its length."""
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    ends = np.cumsum(lengths)
    sums = running[ends] - running[ends - lengths]
    return _mixed(sums ^ (lengths.astype(np.uint64) * _GOLDEN))
