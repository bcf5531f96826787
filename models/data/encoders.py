"""Fitted transforms of features into tensors. Fitted on training days only.

Letters: B rows, F numeric features, I id features, V numeric features whose values have
embeddings, L events of a sequence, K words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ContractError
from contracts.inputs import USER_INPUTS, Inputs, user_inputs_of
from models.data.columns import (
    attribute_columns,
    hash_codes,
    sequences,
    vectors,
    word_codes,
    words,
)
from models.data.numeric_transforms import (
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
from models.data.row_hashes import row_hashes

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
    """What has a row of its own, in order; before them is the row of all else."""
    buckets: int = 0
    """Rows of hashed ids instead of words."""

    @property
    def size(self) -> int:
        return 1 + (self.buckets or len(self.words))


@dataclass(frozen=True)
class Encoder:
    """What was fitted to the features: means, spreads, quantiles, vocabularies."""

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
        coded = [
            hash_codes(columns.get(part.feature, nothing), part.buckets)
            if part.buckets
            else word_codes(columns.get(part.feature, nothing), part.words)
            for part in self.parts[: self.n_ids]
        ]
        if values is not None:
            valued = zip(values.T, self.values, strict=False)
            coded += [value_codes(column, known) for column, known in valued if known]
        starts = np.cumsum([0, *(part.size for part in self.parts)])[: len(coded)]
        return np.stack(coded, axis=1) + starts if coded else np.zeros((rows.num_rows, 0), np.int64)

    def encode(self, rows: pa.RecordBatch | pa.Table) -> Encoded:
        """Rows of `user_features` as arrays.

        Raises:
            ContractError: `rows` lacks a feature the encoder was fitted on.
        """
        names = set(rows.schema.names)
        absent = [name for name in self.inputs.flat if name not in names]
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
        shares = {}
        for name, known, buckets in zip(
            self.inputs.ids, self.vocabularies, self.hashed, strict=True
        ):
            if buckets:
                continue
            words = rows.column(name).drop_null()
            n_known = pc.sum(pc.is_in(words, value_set=pa.array(known, pa.string()))).as_py() or 0
            shares[name] = 1 - n_known / len(words) if len(words) else 0.0
        return shares

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
    def from_json(saved: Mapping[str, Any], inputs: Inputs | None = None) -> Encoder:
        """An encoder as it was saved.

        Args:
            saved: what `to_json` gave.
            inputs: what it must have been fitted on; None: features of users.

        Raises:
            ContractError: it was fitted on other features than there are now, or by an earlier
                version.
        """
        if not {"inputs", "edges", "hashed", "values", "attributes"} <= set(saved):
            raise ContractError("the model was fitted by an earlier version; train it anew")
        inputs = inputs or user_inputs_of(saved["inputs"])
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
    statistics = _Statistics(inputs)
    for batch in batches:
        statistics.add(batch)
    if statistics.is_empty:
        raise ContractError("there are no training rows to fit encoders on")
    mean, spread = statistics.moments()
    sample = statistics.sample()
    scaled = np.clip((sample - mean) / spread, -CLIP, CLIP)
    parts = statistics.parts(hash_buckets)
    ids = [parts.pop(name) for name in inputs.ids]
    return Encoder(
        inputs,
        tuple(mean.tolist()),
        tuple(spread.tolist()),
        tuple(
            quantiles(column, n_bins, is_zero)
            for column, is_zero in zip(scaled.T, (sample == 0).T, strict=True)
        ),
        tuple(part.words for part in ids),
        id_buckets,
        tuple(part.buckets for part in ids),
        statistics.vector_scales(),
        tuple(frequent_values(column, n_values) for column in sample.T) if n_values else (),
        tuple(part for _, part in sorted(parts.items()) if part.words or part.buckets),
    )


class _Statistics:
    """What one pass over training rows gathers, in memory that does not grow with their number."""

    def __init__(self, inputs: Inputs):
        self._inputs = inputs
        self._n, self._total, self._square = np.zeros((3, len(inputs.numeric)))
        self._counters: dict[str, Counter[str] | None] = {name: Counter() for name in inputs.ids}
        """Per id or attribute, how often each word stands in the rows; None: there are too many."""
        self._norms = np.zeros((2, len(inputs.vectors)))
        """Per vector, the sum of squares, and of how many numbers."""
        self._sample = np.zeros((0, len(inputs.numeric)))
        self._hashes = np.zeros(0, np.uint64)

    def add(self, batch: pa.RecordBatch) -> None:
        values = numeric_values(batch, self._inputs)
        self._n += (~np.isnan(values)).sum(0)
        self._total += np.nansum(values, axis=0)
        self._square += np.nansum(values**2, axis=0)
        self._count_words(batch)
        for k, (name, _) in enumerate(self._inputs.vectors):
            numbers = batch.column(name).flatten().to_numpy(zero_copy_only=False)
            self._norms[:, k] += (numbers.astype(np.float64) ** 2).sum(), len(numbers)
        self._sample = np.concatenate([self._sample, values])
        self._hashes = np.concatenate([self._hashes, row_hashes(batch)])
        if len(self._sample) > 2 * SAMPLE_ROWS:
            self._sample, self._hashes = _smallest(self._sample, self._hashes)

    def _count_words(self, batch: pa.RecordBatch) -> None:
        ids = {name: batch.column(name) for name in self._inputs.ids}
        for name, column in (ids | attribute_columns(batch, self._inputs.attributes)).items():
            counter = self._counters.setdefault(name, Counter())
            if counter is not None:
                counted = pc.value_counts(column.drop_null())
                words, counts = (counted.field(i).to_pylist() for i in (0, 1))
                for word, count in zip(words, counts, strict=True):
                    counter[word] += count
                self._counters[name] = counter if len(counter) <= MAX_WORDS else None

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a number nor a word."""
        return not self._n.any() and not any(c is None or c for c in self._counters.values())

    def moments(self) -> tuple[Doubles, Doubles]:
        """Mean and standard deviation of each numeric feature, (F,); of a constant the latter is
        1."""
        mean = self._total / np.maximum(self._n, 1)
        spread = np.sqrt(np.maximum(self._square / np.maximum(self._n, 1) - mean**2, 0.0))
        return mean, np.where(spread > 1e-6, spread, 1.0)

    def sample(self) -> Doubles:
        """Numeric values of up to `SAMPLE_ROWS` rows, (rows, F)."""
        return _smallest(self._sample, self._hashes)[0]

    def parts(self, hash_buckets: int) -> dict[str, Part]:
        """Of each id and attribute, its frequent words, or buckets where there are too many."""
        return {
            name: Part(
                name,
                tuple(sorted(w for w, count in (counter or {}).items() if count >= MIN_COUNT)),
                hash_buckets if counter is None else 0,
            )
            for name, counter in self._counters.items()
        }

    def vector_scales(self) -> tuple[float, ...]:
        """Per vector, the root mean square of its numbers."""
        squares = self._norms[0] / np.maximum(self._norms[1], 1)
        return tuple(np.sqrt(np.maximum(squares, 1e-12)).tolist())


def _smallest(
    sample: Doubles, hashes: npt.NDArray[np.uint64]
) -> tuple[Doubles, npt.NDArray[np.uint64]]:
    """The rows of the smallest hashes."""
    kept = np.argsort(hashes, kind="stable")[:SAMPLE_ROWS]
    return sample[kept], hashes[kept]
