"""Fitted transforms of features into tensors. Fitted on training days only.

Letters: B rows, F numeric features, I id features, L events of a sequence, K words.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.features import NUMERIC, features_with
from contracts.measures import EVENT_VERBS, SEQUENCE_LENGTH, TEXT_TOKENS
from contracts.table import ContractError

IDS = features_with("id")
FLAT = ("user_key", "as_of", *(f.name for f in (*NUMERIC, *IDS)))
"""Columns of `user_features` without the sequences."""
MIN_COUNT = 5
"""Rows of the training days in which an id must stand to get an embedding of its own."""
CLIP = 6.0
"""Standard deviations beyond which a numeric feature is cut off."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """Rows as arrays."""

    numeric: Floats
    """(B, 2F): standardised values, then 1 where the value is missing."""
    ids: Ints
    """(B, I): rows of the one embedding table; each feature's bucket 0 is unseen or missing."""
    verbs: Ints
    """(B, L): 0 where there is no event, oldest first, aligned to the end."""
    items: Ints
    """(B, L): hash buckets from 1; 0 without an item."""
    times: Floats
    """(B, L, 2): log hours to as_of, log amount."""
    tokens: Ints
    """(B, K): hashed words from 1, oldest first, aligned to the end; 0 is none."""


@dataclass(frozen=True)
class Encoder:
    """What was learnt of the features: means, spreads, vocabularies."""

    means: tuple[float, ...]
    spreads: tuple[float, ...]
    vocabularies: tuple[tuple[str, ...], ...]
    id_buckets: int

    @property
    def id_sizes(self) -> tuple[int, ...]:
        return tuple(len(words) + 1 for words in self.vocabularies)

    @property
    def n_numeric(self) -> int:
        return 2 * len(NUMERIC)

    def encode(self, rows: pa.RecordBatch | pa.Table) -> Encoded:
        """Rows of `user_features` as arrays.

        Raises:
            ContractError: `rows` lacks a feature the encoder was fitted on.
        """
        absent = [f.name for f in (*NUMERIC, *IDS) if f.name not in rows.schema.names]
        if absent:
            raise ContractError(
                f"the rows lack features that the model was fitted on: {', '.join(absent)}"
            )
        values = numeric_values(rows)
        missing = np.isnan(values)
        scaled = (values - np.asarray(self.means)) / np.asarray(self.spreads)
        scaled = np.clip(np.where(missing, 0.0, scaled), -CLIP, CLIP)
        verbs, items, times = sequences(rows, self.id_buckets)
        return Encoded(
            np.concatenate([scaled, missing], axis=1).astype(np.float32),
            id_codes(rows, self.vocabularies),
            verbs,
            items,
            times,
            words(rows),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "features": [f.name for f in NUMERIC],
            "ids": [f.name for f in IDS],
            "means": self.means,
            "spreads": self.spreads,
            "vocabularies": self.vocabularies,
            "id_buckets": self.id_buckets,
        }

    @staticmethod
    def from_json(saved: dict[str, Any]) -> Encoder:
        """An encoder as it was saved.

        Raises:
            ContractError: it was fitted on other features than there are now.
        """
        now = {"features": [f.name for f in NUMERIC], "ids": [f.name for f in IDS]}
        for what, names in now.items():
            if saved[what] != names:
                gone = sorted(set(saved[what]) - set(names))
                new = sorted(set(names) - set(saved[what]))
                raise ContractError(
                    f"the model was fitted on other {what}: without "
                    f"{', '.join(new) or 'none'}, with {', '.join(gone) or 'none'} "
                    "(in another order if both are none); train it anew"
                )
        return Encoder(
            tuple(saved["means"]),
            tuple(saved["spreads"]),
            tuple(tuple(words) for words in saved["vocabularies"]),
            saved["id_buckets"],
        )


def fit(batches: Iterable[pa.RecordBatch], id_buckets: int) -> Encoder:
    """Learn means, spreads and vocabularies in one pass over training rows."""
    n = np.zeros(len(NUMERIC))
    total, square = np.zeros(len(NUMERIC)), np.zeros(len(NUMERIC))
    counters: list[Counter[str]] = [Counter() for _ in IDS]
    for batch in batches:
        values = numeric_values(batch)
        n += (~np.isnan(values)).sum(0)
        total += np.nansum(values, axis=0)
        square += np.nansum(values**2, axis=0)
        for counter, feature in zip(counters, IDS, strict=True):
            for entry in pc.value_counts(batch.column(feature.name).drop_null()).to_pylist():
                counter[entry["values"]] += entry["counts"]
    if not n.any():
        raise ContractError("there are no training rows to fit encoders on")
    mean = total / np.maximum(n, 1)
    spread = np.sqrt(np.maximum(square / np.maximum(n, 1) - mean**2, 0.0))
    words = tuple(
        tuple(sorted(word for word, count in counter.items() if count >= MIN_COUNT))
        for counter in counters
    )
    return Encoder(
        tuple(mean.tolist()),
        tuple(np.where(spread > 1e-6, spread, 1.0).tolist()),
        words,
        id_buckets,
    )


def numeric_values(rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.float64]:
    """(B, F): each numeric feature on the scale of its encoding, NaN where it is null."""
    columns = []
    for feature in NUMERIC:
        column = rows.column(feature.name).cast(pa.float64())
        values = (
            column.to_numpy(zero_copy_only=False)
            if isinstance(column, pa.Array)
            else (column.to_numpy())
        )
        if feature.encoding in ("count", "money", "days"):
            values = np.sign(values) * np.log1p(np.abs(values))
        columns.append(values)
    return np.stack(columns, axis=1) if columns else np.zeros((rows.num_rows, 0))


def id_codes(rows: pa.RecordBatch | pa.Table, vocabularies: Sequence[Sequence[str]]) -> Ints:
    """(B, I): each id's place in the one table of all vocabularies."""
    codes, offset = [], 0
    for feature, words in zip(IDS, vocabularies, strict=True):
        found = pc.index_in(rows.column(feature.name), value_set=pa.array(words, pa.string()))
        place = pc.fill_null(pc.add(found, 1), 0)
        codes.append(
            np.asarray(
                place.to_numpy(zero_copy_only=False)
                if isinstance(place, pa.Array)
                else place.to_numpy(),
                dtype=np.int64,
            )
            + offset
        )
        offset += len(words) + 1
    return np.stack(codes, axis=1)


def sequences(rows: pa.RecordBatch | pa.Table, buckets: int) -> tuple[Ints, Ints, Floats]:
    """Verbs (B, L), hashed items (B, L), log hours and log amounts (B, L, 2)."""
    verbs, where = _flat(rows, "seq_verb", SEQUENCE_LENGTH)
    items, _ = _flat(rows, "seq_item", SEQUENCE_LENGTH)
    hours, _ = _flat(rows, "seq_hours", SEQUENCE_LENGTH)
    amounts, _ = _flat(rows, "seq_amount_minor", SEQUENCE_LENGTH)
    shape = (rows.num_rows, SEQUENCE_LENGTH)
    verb_codes = pc.fill_null(pc.add(pc.index_in(verbs, value_set=pa.array(EVENT_VERBS)), 1), 0)
    dictionary = items.dictionary_encode()
    hashed = np.array(
        [
            0 if word == "" else 1 + zlib.crc32(word.encode()) % buckets
            for word in dictionary.dictionary.to_pylist()
        ],
        dtype=np.int64,
    )
    times = np.zeros((*shape, 2), np.float32)
    padded_verbs, padded_items = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    padded_verbs[where] = verb_codes.to_numpy(zero_copy_only=False)
    if len(hashed):
        padded_items[where] = hashed[dictionary.indices.to_numpy(zero_copy_only=False)]
    times[(*where, 0)] = np.log1p(np.maximum(hours.to_numpy(zero_copy_only=False), 0)) / 5
    times[(*where, 1)] = np.log1p(amounts.to_numpy(zero_copy_only=False)) / 10
    return padded_verbs, padded_items, times


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
