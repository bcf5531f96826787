"""Columns of rows as arrays: ids as codes, attributes, vectors, sequences of events, words.

Letters: B rows, L events of a sequence, K words.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ContractError
from contracts.measures import EVENT_VERBS, SEQUENCE_LENGTH, TEXT_TOKENS
from models.data.numeric_transforms import Floats, Ints

CATEGORY_BUCKETS = 1024
"""Hash buckets of the categories in the sequence of events."""


def attribute_columns(
    rows: pa.RecordBatch | pa.Table, columns: Sequence[str]
) -> dict[str, pa.Array]:
    """Texts `name=value` as an id per row and name, (B,) each, called `column: name`."""
    columns_of = {}
    for column in columns:
        lists = rows.column(column)
        lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        lengths = _numbers(pc.fill_null(pc.list_value_length(lists), 0))
        row = np.repeat(np.arange(len(lengths)), lengths)
        pairs = pc.split_pattern(lists.flatten(), "=", max_splits=1)
        names = pc.list_element(pairs, 0).dictionary_encode()
        values, name = pc.list_element(pairs, 1), _numbers(names.indices)
        for k, text in enumerate(names.dictionary.to_pylist()):
            entries = np.flatnonzero(name == k)
            place = np.full(rows.num_rows, -1, np.int64)
            place[row[entries]] = entries
            columns_of[f"{column}: {text}"] = values.take(pa.array(place, mask=place < 0))
    return columns_of


def word_codes(column: pa.Array | pa.ChunkedArray, words: Sequence[str]) -> Ints:
    """(B,): the place of each id in a vocabulary, from 1; 0 is unseen or missing."""
    places = pc.index_in(column, value_set=pa.array(words, pa.string()))
    return _numbers(pc.fill_null(pc.add(places, 1), 0))


def hash_codes(column: pa.Array | pa.ChunkedArray, buckets: int) -> Ints:
    """(B,): a bucket of each id from 1, the same on every machine; 0 is missing."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    distinct = whole.dictionary_encode()
    hashes = pd.util.hash_array(distinct.dictionary.to_pandas().to_numpy(object), categorize=False)
    places = np.append(1 + (hashes % np.uint64(buckets)).astype(np.int64), 0)
    return places[_numbers(pc.fill_null(distinct.indices, len(places) - 1))]


def _numbers(column: pa.Array | pa.ChunkedArray) -> Ints:
    values = (
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    )
    return np.asarray(values, dtype=np.int64)


def vectors(
    rows: pa.RecordBatch | pa.Table, names: Sequence[tuple[str, int]], scales: Sequence[float]
) -> Floats:
    """(B, numbers): vectors on a common scale, zeros where there is none, and 1 for each that is
    missing.

    Raises:
        ContractError: a vector has another number of numbers than it is said to have.
    """
    parts, missing = [], []
    for (name, width), scale in zip(names, scales, strict=True):
        column = rows.column(name)
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        known = column.is_valid().to_numpy(zero_copy_only=False)
        lengths = pc.list_value_length(column.drop_null()).unique().to_pylist()
        if lengths not in ([], [width]):
            raise ContractError(f"{name}: expected vectors of {width}, found {lengths}")
        values = np.zeros((len(column), width), np.float32)
        numbers = column.drop_null().flatten().to_numpy(zero_copy_only=False)
        values[known] = numbers.reshape(-1, width) / scale
        parts.append(values)
        missing.append(~known)
    if not parts:
        return np.zeros((rows.num_rows, 0), np.float32)
    return np.concatenate([*parts, np.stack(missing, axis=1)], axis=1).astype(np.float32)


def sequences(rows: pa.RecordBatch | pa.Table, buckets: int) -> tuple[Ints, Ints, Ints, Floats]:
    """Verbs (B, L), hashed items and categories (B, L), log hours and log amounts (B, L, 2)."""
    verbs, where = _flat(rows, "seq_verb", SEQUENCE_LENGTH)
    hours, _ = _flat(rows, "seq_hours", SEQUENCE_LENGTH)
    amounts, _ = _flat(rows, "seq_amount_minor", SEQUENCE_LENGTH)
    shape = (rows.num_rows, SEQUENCE_LENGTH)
    verb_codes = pc.fill_null(pc.add(pc.index_in(verbs, value_set=pa.array(EVENT_VERBS)), 1), 0)
    times = np.zeros((*shape, 2), np.float32)
    padded_verbs, items, categories = (np.zeros(shape, np.int64) for _ in range(3))
    padded_verbs[where] = verb_codes.to_numpy(zero_copy_only=False)
    items[where] = _hashed(_flat(rows, "seq_item", SEQUENCE_LENGTH)[0], buckets)
    categories[where] = _hashed(_flat(rows, "seq_category", SEQUENCE_LENGTH)[0], CATEGORY_BUCKETS)
    times[(*where, 0)] = np.log1p(np.maximum(hours.to_numpy(zero_copy_only=False), 0)) / 5
    times[(*where, 1)] = np.log1p(amounts.to_numpy(zero_copy_only=False)) / 10
    return padded_verbs, items, categories, times


def _hashed(named: pa.Array, buckets: int) -> Ints:
    """(n,): a bucket of each name from 1, the same on every machine; 0 is no name."""
    dictionary = named.dictionary_encode()
    words = dictionary.dictionary.to_pylist()
    places = [0 if word == "" else 1 + zlib.crc32(word.encode()) % buckets for word in words]
    codes: Ints = np.array([*places, 0], np.int64)[dictionary.indices.to_numpy()]
    return codes


def words(rows: pa.RecordBatch | pa.Table) -> Ints:
    """(B, K): the hashed words of each user."""
    tokens, where = _flat(rows, "text_tokens", TEXT_TOKENS)
    padded = np.zeros((rows.num_rows, TEXT_TOKENS), np.int64)
    padded[where] = tokens.to_numpy(zero_copy_only=False)
    return padded


def _flat(
    rows: pa.RecordBatch | pa.Table, name: str, width: int
) -> tuple[pa.Array, tuple[Ints, Ints]]:
    """A list column's values, and the (row, place) of each, the last value in the last place."""
    column = rows.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.arange(len(row)) - starts + width - np.repeat(lengths, lengths)
    return column.flatten(), (row.astype(np.int64), place.astype(np.int64))
