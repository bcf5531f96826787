"""Matrix factorisation of users and items by implicit alternating least squares.

Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets (2008), with the
regularisation of Rendle et al., Revisiting the performance of iALS on item recommendation
benchmarks (2022). The loss is

    sum over pairs with a signal:  w * (x_u . y_i - 1)^2
    + unobserved_weight * sum over all pairs:  (x_u . y_i)^2
    + regularisation * (sum over users: (n_u + unobserved_weight * I) * |x_u|^2, of items alike)

A row is solved in a matrix as long as its own entries ask for, so that its bits do not depend on
the rows beside it.

Letters: I items, U users, N entries, F factors, B rows, E entries of a row with padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]

CHUNK = 8192
"""Entries, padding included, whose factors are in memory at once: so many as the cache holds."""
CHUNK_ROWS = 64
"""Rows that are solved at once, at most, for the same reason."""


@dataclass(frozen=True)
class Rows:
    """Sparse rows: the entries of row r are those at `starts[r]:starts[r + 1]`."""

    starts: Ints
    columns: npt.NDArray[np.int32]
    """(N,)."""
    weights: npt.NDArray[np.float32]
    """(N,): of entries with a signal."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def transposed(self, n_columns: int) -> Rows:
        """The same entries by column."""
        order = np.argsort(self.columns, kind="stable")
        starts = np.zeros(n_columns + 1, np.int64)
        np.cumsum(np.bincount(self.columns, minlength=n_columns), out=starts[1:])
        rows = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.starts))
        return Rows(starts, rows[order], self.weights[order])


@dataclass(frozen=True)
class Penalty:
    """How factors are held back."""

    regularisation: float
    unobserved_weight: float


def fit_items(
    users: Rows, n_items: int, n_factors: int, iterations: int, penalty: Penalty, seed: int
) -> Tensor:
    """Factors of the items (I, F), from `users`' entries."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(n_items, n_factors, generator=generator) * (0.1 / n_factors**0.5)
    by_item = users.transposed(n_items)
    for _ in range(iterations):
        items = solve(by_item, solve(users, items, penalty), penalty)
    return items


def solve(rows: Rows, others: Tensor, penalty: Penalty) -> Tensor:
    """Factors of `rows` (R, F) that fit best while those of the other side (O, F) stand."""
    factors = torch.zeros(len(rows), others.shape[1])
    for part in parts(rows, others, penalty):
        factors[part.rows] = part.factors
    return factors


@dataclass(frozen=True)
class Part:
    """Some rows with as many entries, solved."""

    rows: Tensor
    """(B,): their places."""
    columns: Tensor
    """(B, E): of padding the number of columns."""
    weights: Tensor
    """(B, E): 0 of padding."""
    factors: Tensor
    """(B, F)."""
    cholesky: Tensor
    """(B, F, F): of what was solved."""


def parts(rows: Rows, others: Tensor, penalty: Penalty) -> Iterator[Part]:
    """All rows that have entries, solved a part at a time."""
    n_others, n_factors = others.shape
    padded = torch.cat([others, others.new_zeros(1, n_factors)])
    shared = penalty.unobserved_weight * (others.T @ others)
    for places in _of_one_length(np.diff(rows.starts)):
        columns, weights = _padded(rows, places, n_others)
        counts = weights.count_nonzero(dim=1)
        scale = penalty.regularisation * (counts + penalty.unobserved_weight * n_others)
        normal = shared.repeat(len(places), 1, 1)
        normal.diagonal(dim1=1, dim2=2).add_(scale[:, None])
        right = others.new_zeros(len(places), n_factors, 1)
        for start in range(0, columns.shape[1], CHUNK):
            chunk = padded[columns[:, start : start + CHUNK]]
            weight = weights[:, start : start + CHUNK, None]
            normal.baddbmm_((chunk * weight).transpose(1, 2), chunk)
            right.baddbmm_(chunk.transpose(1, 2), weight)
        cholesky = torch.linalg.cholesky(normal)
        factors = torch.cholesky_solve(right, cholesky)[:, :, 0]
        yield Part(torch.from_numpy(places), columns, weights, factors, cholesky)


def _of_one_length(counts: Ints) -> Iterator[Ints]:
    """Places of rows that are padded to the same length, as many as fit into a chunk."""
    lengths = padded_length(counts)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    bounds = np.flatnonzero(np.diff(lengths[order])) + 1
    for places in np.split(order, bounds):
        if len(places):
            step = min(max(CHUNK // int(lengths[places[0]]), 1), CHUNK_ROWS)
            yield from (places[i : i + step] for i in range(0, len(places), step))


def padded_length(counts: Ints) -> Ints:
    """What a row of so many entries is padded to: at most an eighth is padding, or 7 entries."""
    step = 2 ** np.maximum(np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64) - 3, 3)
    lengths: Ints = -(-counts // step) * step
    return lengths


def _padded(rows: Rows, places: Ints, n_columns: int) -> tuple[Tensor, Tensor]:
    """Columns and weights (B, E) of rows."""
    starts, counts = rows.starts[places], rows.starts[places + 1] - rows.starts[places]
    at = starts[:, None] + np.arange(padded_length(counts).max())
    inside = at < (starts + counts)[:, None]
    at = np.minimum(at, len(rows.columns) - 1)
    columns = np.where(inside, rows.columns[at], n_columns).astype(np.int64)
    weights = np.where(inside, rows.weights[at], np.float32(0))
    return torch.from_numpy(columns), torch.from_numpy(weights)
