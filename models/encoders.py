"""Fitted transforms of features into tensors. Fitted on training days only.

Letters: B rows, F numeric features, I id features, V numeric features whose values have
embeddings, L events of a sequence, K words.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from contracts.measures import EVENT_VERBS, SEQUENCE_LENGTH, TEXT_TOKENS
from contracts.table import ContractError
from models.inputs import USER_INPUTS, Inputs
from models.numbers import (
    CLIP,
    MIN_COUNT,
    Doubles,
    Floats,
    Ints,
    frequent_values,
    numeric_values,
    quantiles,
    value_codes,
)

CATEGORY_BUCKETS = 1024
"""Hash buckets of the categories in the sequence of events."""
MAX_WORDS = 200_000
"""Distinct ids beyond which a feature has no vocabulary: its ids are hashed."""
SAMPLE_ROWS = 50_000
"""Rows that quantiles are taken from, chosen by a hash of user and day."""


@dataclass(frozen=True)
class Encoded:
    """Rows as arrays."""

    numeric: Floats
    """(B, 3F): standardised values, then 1 where the value is missing, then 1 where it is 0."""
    ids: Ints
    """(B, I + V): rows of the one embedding table, of ids and of numbers that have embeddings; each
    feature's bucket 0 is unseen or missing."""
    verbs: Ints
    """(B, L): 0 where there is no event, oldest first, aligned to the end."""
    items: Ints
    """(B, L): hash buckets from 1; 0 without an item."""
    categories: Ints
    """(B, L): hash buckets of the items' categories from 1; 0 without one."""
    times: Floats
    """(B, L, 2): log hours to as_of, log amount."""
    tokens: Ints
    """(B, K): hashed words from 1, oldest first, aligned to the end; 0 is none."""
    vectors: Floats
    """(B, numbers): precomputed vectors beside one another, and for each 1 where it is missing."""


@dataclass(frozen=True)
class Part:
    """A feature's part of the one embedding table: an id's, an attribute's, or that of a number's
    values."""

    feature: str
    words: tuple[Any, ...]
    """What has a row of its own, in order; before them lies the row of all else."""
    buckets: int = 0
    """Rows of hashed ids instead of words."""

    @property
    def size(self) -> int:
        return 1 + (self.buckets or len(self.words))


@dataclass(frozen=True)
class Encoder:
    """What was learnt of the features: means, spreads, quantiles, vocabularies."""

    inputs: Inputs
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    edges: tuple[tuple[float, ...], ...]
    """Per numeric feature, quantiles of its standardised values in order: 2 to N + 2 of them, none
    of a feature that is constant."""
    vocabularies: tuple[tuple[str, ...], ...]
    id_buckets: int
    hashed: tuple[int, ...] = ()
    """Per id feature, the buckets its ids are hashed into; 0 where it has a vocabulary."""
    vector_scales: tuple[float, ...] = ()
    """Per vector, the root mean square of its numbers."""
    values: tuple[tuple[float, ...], ...] = ()
    """Per numeric feature, the numbers that have an embedding of their own, as float32 on the scale
    of its encoding; none if no feature's have."""
    attributes: tuple[Part, ...] = ()
    """Attributes that training has seen often enough, by column and name: `column: name`."""

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The one embedding table: ids, attributes, then numbers."""
        ids = map(Part, self.inputs.ids, self.vocabularies, self.hashed)
        valued = zip(self.inputs.numeric, self.values, strict=False)
        numbers = (Part(name, known) for (name, _), known in valued if known)
        return (*ids, *self.attributes, *numbers)

    @property
    def n_ids(self) -> int:
        """Parts of the embedding table that are not of numbers: I."""
        return len(self.inputs.ids) + len(self.attributes)

    def codes(self, rows: pa.RecordBatch | pa.Table, values: Doubles | None = None) -> Ints:
        """(B, I): each id's row in the one embedding table; with numeric `values`, (B, F), (B, I +
        V): those of numbers as well."""
        columns = {name: rows.column(name) for name in self.inputs.ids}
        if self.attributes:
            columns |= attribute_columns(rows, self.inputs.attributes)
        nothing = pa.nulls(rows.num_rows, pa.string())
        made = [
            hash_codes(columns.get(part.feature, nothing), part.buckets)
            if part.buckets
            else word_codes(columns.get(part.feature, nothing), part.words)
            for part in self.parts[: self.n_ids]
        ]
        if values is not None:
            valued = zip(values.T, self.values, strict=False)
            made += [value_codes(column, known) for column, known in valued if known]
        starts = np.cumsum([0, *(part.size for part in self.parts)])[: len(made)]
        return np.stack(made, axis=1) + starts if made else np.zeros((rows.num_rows, 0), np.int64)

    def encode(self, rows: pa.RecordBatch | pa.Table) -> Encoded:
        """Rows of `user_features` as arrays.

        Raises:
            ContractError: `rows` lacks a feature the encoder was fitted on.
        """
        there = set(rows.schema.names)
        absent = [name for name in self.inputs.flat if name not in there]
        if absent:
            raise ContractError(
                f"the rows lack features that the model was fitted on: {', '.join(absent)}"
            )
        values = numeric_values(rows, self.inputs)
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, self._standard(values))
        n = rows.num_rows
        none: tuple[Ints, ...] = (*(np.zeros((n, 0), np.int64) for _ in range(3)),)
        verbs, items, categories, times = (
            sequences(rows, self.id_buckets)
            if self.inputs.events
            else (*none, np.zeros((n, 0, 2), np.float32))
        )
        return Encoded(
            np.concatenate([scaled, missing, values == 0], axis=1).astype(np.float32),
            self.codes(rows, values),
            verbs,
            items,
            categories,
            times,
            words(rows) if self.inputs.text else np.zeros((n, 0), np.int64),
            vectors(rows, self.inputs.vectors, self.vector_scales),
        )

    def _standard(self, values: Doubles) -> Doubles:
        scaled = (values - np.asarray(self.means)) / np.asarray(self.spreads)
        return np.clip(scaled, -CLIP, CLIP)

    def unseen(self, rows: pa.RecordBatch | pa.Table) -> dict[str, float]:
        """Share of rows, by id feature, whose id has no embedding of its own though it is there; of
        features with a vocabulary."""
        made = {}
        for name, known, buckets in zip(
            self.inputs.ids, self.vocabularies, self.hashed, strict=True
        ):
            if buckets:
                continue
            there = rows.column(name).drop_null()
            found = pc.sum(pc.is_in(there, value_set=pa.array(known, pa.string()))).as_py() or 0
            made[name] = 1 - found / len(there) if len(there) else 0.0
        return made

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs.to_json(),
            "means": self.means,
            "spreads": self.spreads,
            "edges": self.edges,
            "vocabularies": self.vocabularies,
            "id_buckets": self.id_buckets,
            "hashed": self.hashed,
            "vector_scales": self.vector_scales,
            "values": self.values,
            "attributes": [[part.feature, part.words, part.buckets] for part in self.attributes],
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any], inputs: Inputs = USER_INPUTS) -> Encoder:
        """An encoder as it was saved.

        Raises:
            ContractError: it was fitted on other features than there are now, or by an earlier
                version.
        """
        if not {"inputs", "edges", "hashed", "values", "attributes"} <= set(saved):
            raise ContractError("the model was fitted by an earlier version; train it anew")
        inputs.check_same(saved["inputs"])
        return Encoder(
            inputs,
            tuple(saved["means"]),
            tuple(saved["spreads"]),
            tuple(tuple(edges) for edges in saved["edges"]),
            tuple(tuple(words) for words in saved["vocabularies"]),
            saved["id_buckets"],
            tuple(saved["hashed"]),
            tuple(saved["vector_scales"]),
            tuple(tuple(known) for known in saved["values"]),
            tuple(Part(name, tuple(words), n) for name, words, n in saved["attributes"]),
        )


def fit(
    batches: Iterable[pa.RecordBatch],
    id_buckets: int,
    inputs: Inputs = USER_INPUTS,
    n_bins: int = 16,
    hash_buckets: int = 1 << 17,
    n_values: int = 0,
) -> Encoder:
    """Learn means, spreads, quantiles and vocabularies in one pass over training rows.

    A feature of more than `MAX_WORDS` ids is hashed into `hash_buckets`. Up to `n_values` numbers
    of a numeric feature get an embedding of their own.

    Whatever the order of rows, the same rows give the same encoder, but for the last bits of sums.
    """
    width = len(inputs.numeric)
    n, total, square = np.zeros(width), np.zeros(width), np.zeros(width)
    counters: dict[str, Counter[str] | None] = {name: Counter() for name in inputs.ids}
    norms = np.zeros((2, len(inputs.vectors)))
    sample, chosen = np.zeros((0, width)), np.zeros(0, np.uint64)
    for batch in batches:
        values = numeric_values(batch, inputs)
        n += (~np.isnan(values)).sum(0)
        total += np.nansum(values, axis=0)
        square += np.nansum(values**2, axis=0)
        named = {name: batch.column(name) for name in inputs.ids}
        for name, column in (named | attribute_columns(batch, inputs.attributes)).items():
            counter = counters.setdefault(name, Counter())
            if counter is not None:
                found = pc.value_counts(column.drop_null())
                words, counts = (found.field(i).to_pylist() for i in (0, 1))
                for word, count in zip(words, counts, strict=True):
                    counter[word] += count
                counters[name] = counter if len(counter) <= MAX_WORDS else None
        for k, (name, _) in enumerate(inputs.vectors):
            numbers = batch.column(name).flatten().to_numpy(zero_copy_only=False)
            norms[:, k] += (numbers.astype(np.float64) ** 2).sum(), len(numbers)
        sample = np.concatenate([sample, values])
        chosen = np.concatenate([chosen, row_hashes(batch)])
        if len(sample) > 2 * SAMPLE_ROWS:
            sample, chosen = _smallest(sample, chosen)
    if not n.any() and not any(c is None or c for c in counters.values()):
        raise ContractError("there are no training rows to fit encoders on")
    mean = total / np.maximum(n, 1)
    spread = np.sqrt(np.maximum(square / np.maximum(n, 1) - mean**2, 0.0))
    spread = np.where(spread > 1e-6, spread, 1.0)
    sample, _ = _smallest(sample, chosen)
    scaled = np.clip((sample - mean) / spread, -CLIP, CLIP)
    parts = {
        name: Part(
            name,
            tuple(sorted(word for word, count in (counter or {}).items() if count >= MIN_COUNT)),
            hash_buckets if counter is None else 0,
        )
        for name, counter in counters.items()
    }
    ids = [parts.pop(name) for name in inputs.ids]
    return Encoder(
        inputs,
        tuple(mean.tolist()),
        tuple(spread.tolist()),
        tuple(
            quantiles(column, n_bins, apart)
            for column, apart in zip(scaled.T, (sample == 0).T, strict=True)
        ),
        tuple(part.words for part in ids),
        id_buckets,
        tuple(part.buckets for part in ids),
        tuple(np.sqrt(np.maximum(norms[0] / np.maximum(norms[1], 1), 1e-12)).tolist()),
        tuple(frequent_values(column, n_values) for column in sample.T) if n_values else (),
        tuple(part for _, part in sorted(parts.items()) if part.words or part.buckets),
    )


def user_hashes(rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.uint64]:
    """(B,): a hash of the user alone, the same on every machine and day."""
    users = pd.util.hash_array(rows.column("user_key").to_pandas().to_numpy(object))
    mixed: npt.NDArray[np.uint64] = (users * np.uint64(0x94D049BB133111EB)) >> np.uint64(33)
    return mixed


def row_hashes(rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.uint64]:
    """(B,): a hash of user and day, the same on every machine."""
    users = pd.util.hash_array(rows.column("user_key").to_pandas().to_numpy(object))
    days = rows.column("as_of").cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.uint64)
    mixed: npt.NDArray[np.uint64] = users ^ (days * np.uint64(0x9E3779B97F4A7C15))
    return mixed * np.uint64(0xBF58476D1CE4E5B9)


def _smallest(
    sample: Doubles, chosen: npt.NDArray[np.uint64]
) -> tuple[Doubles, npt.NDArray[np.uint64]]:
    kept = np.argsort(chosen, kind="stable")[:SAMPLE_ROWS]
    return sample[kept], chosen[kept]


def attribute_columns(
    rows: pa.RecordBatch | pa.Table, columns: Sequence[str]
) -> dict[str, pa.Array]:
    """Texts `name=value` as an id per row and name, (B,) each, called `column: name`."""
    made = {}
    for column in columns:
        lists = rows.column(column)
        lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        lengths = _numbers(pc.fill_null(pc.list_value_length(lists), 0))
        row = np.repeat(np.arange(len(lengths)), lengths)
        pairs = pc.split_pattern(lists.flatten(), "=", max_splits=1)
        names = pc.list_element(pairs, 0).dictionary_encode()
        values, name = pc.list_element(pairs, 1), _numbers(names.indices)
        for k, text in enumerate(names.dictionary.to_pylist()):
            mine = np.flatnonzero(name == k)
            place = np.full(rows.num_rows, -1, np.int64)
            place[row[mine]] = mine
            made[f"{column}: {text}"] = values.take(pa.array(place, mask=place < 0))
    return made


def word_codes(column: pa.Array | pa.ChunkedArray, words: Sequence[str]) -> Ints:
    """(B,): the place of each id in a vocabulary, from 1; 0 is unseen or missing."""
    found = pc.index_in(column, value_set=pa.array(words, pa.string()))
    return _numbers(pc.fill_null(pc.add(found, 1), 0))


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
    made, missing = [], []
    for (name, width), scale in zip(names, scales, strict=True):
        column = rows.column(name)
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        there = column.is_valid().to_numpy(zero_copy_only=False)
        lengths = pc.list_value_length(column.drop_null()).unique().to_pylist()
        if lengths not in ([], [width]):
            raise ContractError(f"{name}: expected vectors of {width}, found {lengths}")
        values = np.zeros((len(column), width), np.float32)
        flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
        values[there] = flat.reshape(-1, width) / scale
        made.append(values)
        missing.append(~there)
    if not made:
        return np.zeros((rows.num_rows, 0), np.float32)
    return np.concatenate([*made, np.stack(missing, axis=1)], axis=1).astype(np.float32)


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
    found: Ints = np.array([*places, 0], np.int64)[dictionary.indices.to_numpy()]
    return found


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
