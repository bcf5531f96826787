"""Examples as a stream of tensors from Parquet files, in bounded memory.

Letters: B rows, W label columns (`models/layout.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from models.encoders import Encoded, Encoder
from models.layout import Cuts, Layout

POOL_ROWS = 131_072
"""Rows that are shuffled together: row groups come in a random order, then rows within a pool.
Examples that fit into one pool (2 KB a row) are encoded once and kept."""


@dataclass
class Batch:
    """Tensors of some rows; see `Encoded` for the inputs."""

    numeric: Tensor
    ids: Tensor
    verbs: Tensor
    items: Tensor
    times: Tensor
    tokens: Tensor
    labels: Tensor
    """(B, W): NaN where a label is null or does not count."""

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, f.name).to(device) for f in fields(self)))

    def take(self, rows: Tensor) -> Batch:
        return Batch(*(getattr(self, f.name)[rows] for f in fields(self)))


def to_batch(encoded: Encoded, labels: np.ndarray) -> Batch:
    return Batch(
        torch.from_numpy(encoded.numeric),
        torch.from_numpy(encoded.ids),
        torch.from_numpy(encoded.verbs),
        torch.from_numpy(encoded.items),
        torch.from_numpy(encoded.times),
        torch.from_numpy(encoded.tokens),
        torch.from_numpy(labels.astype(np.float32)),
    )


def read_batches(
    files: Sequence[str],
    days: Sequence[date],
    columns: Sequence[str] | None = None,
    size: int = 16_384,
) -> Iterator[pa.RecordBatch]:
    """Rows of some as-of days, in the order of the files; row groups of other days are not read."""
    wanted = pa.array(sorted(set(days)), pa.date32())
    for path in files:
        file = pq.ParquetFile(path)
        groups = [i for i in range(file.num_row_groups) if _may_hold(file, i, days)]
        if not groups:
            continue
        for batch in file.iter_batches(size, row_groups=groups, columns=columns):
            kept = batch.filter(pc.is_in(batch.column("as_of"), value_set=wanted))
            if kept.num_rows:
                yield kept


def _may_hold(file: pq.ParquetFile, group: int, days: Sequence[date]) -> bool:
    place = file.schema_arrow.names.index("as_of")  # it stands before any nested column
    stats = file.metadata.row_group(group).column(place).statistics
    return stats is None or any(stats.min <= day <= stats.max for day in days)


class Examples(IterableDataset[Batch]):
    """Batches of the rows that have a label which counts.

    Shuffled anew each epoch from the seed alone: row groups in a random order fill a pool, and the
    rows of a pool are mixed. Without `seed` the order is that of the files.
    """

    def __init__(
        self,
        files: Sequence[str],
        layout: Layout,
        cuts: Cuts,
        encoder: Encoder,
        batch_size: int,
        seed: int | None = None,
    ):
        self.files, self.layout, self.cuts, self.encoder = files, layout, cuts, encoder
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self._kept: Batch | None = None

    def __iter__(self) -> Iterator[Batch]:
        order: np.random.Generator | None = None
        if self.seed is not None:
            order = np.random.default_rng((self.seed, self.epoch))
            self.epoch += 1
        if self._kept is not None:
            yield from self._batches(self._kept, order)
            return
        pools = 0
        for pool in self._pools(order):
            pools += 1
            yield from self._batches(pool, order)
        self._kept = pool if pools == 1 else None

    def _pools(self, order: np.random.Generator | None) -> Iterator[Batch]:
        groups = [
            (path, i) for path in self.files for i in range(pq.ParquetFile(path).num_row_groups)
        ]
        if order is not None:
            groups = [groups[i] for i in order.permutation(len(groups))]
        tables: list[pa.Table] = []
        for path, i in groups:
            table = pq.ParquetFile(path).read_row_group(i)
            labels = self.layout.counted(table, self.cuts)
            tables.append(table.filter(pa.array(~np.isnan(labels).all(axis=1))))
            if sum(t.num_rows for t in tables) >= POOL_ROWS:
                yield self._pool(tables)
                tables = []
        if any(t.num_rows for t in tables):
            yield self._pool(tables)

    def _pool(self, tables: Sequence[pa.Table]) -> Batch:
        rows = pa.concat_tables(tables)
        return to_batch(self.encoder.encode(rows), self.layout.counted(rows, self.cuts))

    def _batches(self, pool: Batch, order: np.random.Generator | None) -> Iterator[Batch]:
        n = len(pool.labels)
        picks = torch.from_numpy(order.permutation(n) if order is not None else np.arange(n))
        for start in range(0, n, self.batch_size):
            yield pool.take(picks[start : start + self.batch_size])
