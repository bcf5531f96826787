"""Examples as a stream of tensors from Parquet files, in bounded memory.

Letters: B rows, W label columns (`models/data/label_layout.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from models.data.encoders import Encoded, Encoder
from models.data.label_layout import Cuts, Labels, Layout, days_of
from models.data.sampling import ALL_ROWS, Sampling, Weights

POOL_ROWS = 131_072
"""Rows that are shuffled together where examples are streamed: row groups come in a random order,
then rows within a pool."""
KEPT_BYTES = 1 << 29
"""Examples that take no more than this once they are encoded are encoded once and kept."""


@dataclass
class Batch:
    """Tensors of some rows; see `Encoded` for the inputs."""

    numeric: Tensor
    ids: Tensor
    verbs: Tensor
    items: Tensor
    categories: Tensor
    times: Tensor
    tokens: Tensor
    vectors: Tensor
    labels: Tensor
    """(B, W): NaN where a label is null or does not count."""
    weights: Tensor
    """(B,): how much a row counts in the loss (`models/data/sampling.py`)."""

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, f.name).to(device) for f in fields(self)))

    def take(self, rows: Tensor) -> Batch:
        return Batch(*(getattr(self, f.name).index_select(0, rows) for f in fields(self)))

    def parts(self, n: int) -> Iterator[Batch]:
        """The batch `n` rows at a time, without copies; itself if it is empty."""
        for start in range(0, max(len(self), 1), n):
            yield Batch(*(getattr(self, f.name)[start : start + n] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_bytes(self) -> int:
        return sum(getattr(self, f.name).nbytes for f in fields(self))


def together(batches: Sequence[Batch]) -> Batch:
    """Rows of all batches, in their order."""
    return Batch(*(torch.cat([getattr(b, f.name) for b in batches]) for f in fields(Batch)))


def to_batch(encoded: Encoded, labels: np.ndarray, weights: Weights | None = None) -> Batch:
    """Encoded rows with labels (B, W) and weights (B,), all 1 unless they are given."""
    if weights is None:
        weights = np.ones(len(labels), np.float32)
    return Batch(
        torch.from_numpy(encoded.numeric),
        torch.from_numpy(encoded.ids),
        torch.from_numpy(encoded.verbs),
        torch.from_numpy(encoded.items),
        torch.from_numpy(encoded.categories),
        torch.from_numpy(encoded.times),
        torch.from_numpy(encoded.tokens),
        torch.from_numpy(encoded.vectors),
        torch.from_numpy(labels.astype(np.float32)),
        torch.from_numpy(weights),
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


class Examples:
    """Batches of the rows that have a label which counts, or of a sample of them.

    Shuffled anew each epoch, from the seed and the epoch alone. Examples that fit into memory are
    shuffled whole; of others, row groups in a random order fill a pool, and the rows of a pool are
    mixed. Without `seed` the order is that of the files.

    With several ranks each takes its part of every batch. In training all parts are equally large,
    for which the last batch of an epoch may lose a few rows, others each time.
    """

    def __init__(
        self,
        files: Sequence[str],
        layout: Layout,
        cuts: Cuts,
        encoder: Encoder,
        batch_size: int,
        seed: int | None = None,
        sampling: Sampling = ALL_ROWS,
        rank: int = 0,
        n_ranks: int = 1,
    ):
        self.files, self.layout, self.cuts, self.encoder = files, layout, cuts, encoder
        self.batch_size, self.seed, self.sampling = batch_size, seed, sampling
        self.rank, self.n_ranks = rank, n_ranks
        self.epoch, self._skipped = 0, 0
        self._kept: Batch | None = None

    def start_at(self, epoch: int, batches: int) -> None:
        """Go on behind that many batches of an epoch, from 0."""
        self.epoch, self._skipped = epoch, batches

    def __iter__(self) -> Iterator[Batch]:
        # Nothing is counted before the first batch is asked for: who only looks whether this can
        # be iterated uses up no epoch.
        epoch, skipped = self.epoch, self._skipped
        self.epoch, self._skipped = epoch + 1, 0
        if self._kept is None and self._fits():
            whole = list(self._pools(None))
            if not whole:
                return
            self._kept = together(whole)
        pools = iter([self._kept]) if self._kept is not None else self._pools(epoch)
        for k, pool in enumerate(pools):
            picks = torch.arange(len(pool))
            if self.seed is not None:
                picks = torch.from_numpy(self._random(epoch, 1 + k).permutation(len(pool)))
            starts = range(0, len(pool), self.batch_size)
            for start in starts[skipped:]:
                rows = self._mine(picks[start : start + self.batch_size])
                if len(rows):
                    yield pool.take(rows)
            skipped = max(skipped - len(starts), 0)

    def _mine(self, rows: Tensor) -> Tensor:
        """This rank's part of a batch."""
        even = len(rows) - len(rows) % self.n_ranks if self.seed is not None else len(rows)
        return rows[:even][self.rank :: self.n_ranks]

    def _random(self, *what: int) -> np.random.Generator:
        return np.random.default_rng((self.seed or 0, *what))

    def _fits(self) -> bool:
        """Whether all rows fit into memory, going by the first ones."""
        first = next(self._tables(self._groups), None)
        if first is None:
            return True
        rows = self.sampling.share * sum(n for _, _, n in self._groups)
        return rows * self._pool([first.slice(0, 64)]).n_bytes / min(len(first), 64) <= KEPT_BYTES

    @cached_property
    def _groups(self) -> tuple[tuple[str, int, int], ...]:
        """File, row group and its rows, of those that may hold a day that counts."""
        days = days_of(self.cuts)
        groups = []
        for path in self.files:
            file = pq.ParquetFile(path)
            groups += [
                (path, i, file.metadata.row_group(i).num_rows)
                for i in range(file.num_row_groups)
                if _may_hold(file, i, days)
            ]
        return tuple(groups)

    def _pools(self, epoch: int | None) -> Iterator[Batch]:
        groups: Sequence[tuple[str, int, int]] = self._groups
        if epoch is not None and self.seed is not None:
            groups = [groups[i] for i in self._random(epoch, 0).permutation(len(groups))]
        tables: list[pa.Table] = []
        for table in self._tables(groups):
            tables.append(table)
            if sum(t.num_rows for t in tables) >= POOL_ROWS:
                yield self._pool(tables)
                tables = []
        if tables:
            yield self._pool(tables)

    def _tables(self, groups: Sequence[tuple[str, int, int]]) -> Iterator[pa.Table]:
        """Rows of row groups with a label that counts, where there are any."""
        for path, i, _ in groups:
            table = pq.ParquetFile(path).read_row_group(i)
            labels, weights = self._counted(table)
            kept = table.filter(pa.array((weights > 0) & ~np.isnan(labels).all(axis=1)))
            if kept.num_rows:
                yield kept

    def _pool(self, tables: Sequence[pa.Table]) -> Batch:
        rows = pa.concat_tables(tables)
        return to_batch(self.encoder.encode(rows), *self._counted(rows))

    def _counted(self, rows: pa.Table) -> tuple[Labels, Weights]:
        """Labels (B, W) and weights (B,) of some rows."""
        labels = self.layout.counted(rows, self.cuts)
        return labels, self.sampling.weights(rows, labels, self.layout)
