"""Matrix factorisation of users and items by implicit alternating least squares.

Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets (2008), with the
regularisation of Rendle et al., Revisiting the performance of iALS on item recommendation
benchmarks (2022). The loss is

    sum over pairs with a signal:  w * (x_u . y_i - 1)^2
    + unobserved * sum over all pairs:  (x_u . y_i)^2
    + regularisation * (sum over users: (n_u + unobserved * I) * |x_u|^2, and of items alike)

A row is solved in a matrix as long as its own entries ask for, so that its bits do not depend on
the rows beside it.

Letters: I items, U users, R rows of either, O columns, F factors, B rows of a part, E entries of a
row with padding, k candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from models.retrieval.exact_search import InnerProducts
from models.retrieval.histories import Histories
from models.retrieval.retrieval_model import Candidates, LeftOut, SurfaceDay, weights

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CHUNK = 8192
"""Entries, padding included, whose factors are in memory at once: so many as the cache holds."""
CHUNK_ROWS = 64
"""Rows that are solved at once, at most, for the same reason."""
ALIGNED = 8
"""Lengths are multiples of this: matrices that begin at odd places in memory are solved with other
last bits by MKL."""
SHORT = 32
"""Entries up to which a row is solved by a matrix of its entries rather than of the factors."""
SHORT_CHUNK = 2048
"""Entries of short rows whose factors are in memory at once."""


@dataclass(frozen=True)
class Penalty:
    """What holds factors back."""

    regularisation: float
    unobserved: float
    """Weight of a pair without a signal."""

    @classmethod
    def of(cls, matrix: sparse.csr_array, regularisation: float, unobserved: float) -> Penalty:
        """That of `matrix` (U, I), where all pairs weigh `unobserved` times as much as those with
        a signal."""
        return cls(
            regularisation, unobserved * matrix.nnz / max(matrix.shape[0] * matrix.shape[1], 1)
        )


def fit_factors(day: SurfaceDay) -> Factors:
    """The model of a surface.

    Raises:
        LeftOut: nobody has a history.
    """
    matrix, config = day.matrix, day.config
    if not matrix.nnz:
        raise LeftOut("nobody has a history")
    penalty = Penalty.of(matrix, config.regularisation, config.unobserved_weight)
    items = fit_items(matrix, config.factors, config.iterations, penalty, config.seed)
    return Factors(items, penalty, day)


def fit_items(
    matrix: sparse.csr_array, n_factors: int, iterations: int, penalty: Penalty, seed: int
) -> Tensor:
    """Factors of the items (I, F) from `matrix` (U, I), the weights of pairs with a signal.

    F is `n_factors` or the next multiple of `ALIGNED`, what is beyond being 0.
    """
    of_users, of_items = list(padded_rows(matrix)), list(padded_rows(matrix.T.tocsr()))
    n_users, n_items = matrix.shape
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(n_items, n_factors, generator=generator) * (0.1 / n_factors**0.5)
    items = torch.nn.functional.pad(items, (0, -n_factors % ALIGNED))
    for _ in range(iterations):
        users = _placed(solved_rows(of_users, items, penalty), n_users, items)
        items = _placed(solved_rows(of_items, users, penalty), n_items, users)
    return items


def solve(matrix: sparse.csr_array, others: Tensor, penalty: Penalty) -> Tensor:
    """Factors of the rows of `matrix` (R, O) that fit best while those of the columns stand: (O, F)
    give (R, F)."""
    return _placed(solved_parts(matrix, others, penalty), matrix.shape[0], others)


def _placed(parts: Iterable[Part], n_rows: int, others: Tensor) -> Tensor:
    """(R, F): factors of all rows; of those without entries, 0."""
    factors = others.new_zeros(n_rows, others.shape[1])
    for part in parts:
        factors[part.rows] = part.factors
    return factors


@dataclass(frozen=True)
class Rows:
    """Rows with as many entries, padded."""

    places: Tensor
    """(B,): where they are."""
    counts: Ints
    """(B,): entries of each."""
    columns: Tensor
    """(B, E): of padding the number of columns."""
    weights: Tensor
    """(B, E): of padding 0."""


@dataclass(frozen=True)
class Part:
    """Some rows with as many entries, solved."""

    rows: Tensor
    """(B,): their places."""
    columns: Tensor
    """(B, E): of padding the number of columns."""
    factors: Tensor
    """(B, F)."""
    shares: Tensor
    """(B, F, E): what each entry adds to the factors, which are the sum; not of padding. Empty
    unless it was asked for."""


def solved_parts(
    matrix: sparse.csr_array, others: Tensor, penalty: Penalty, with_shares: bool = False
) -> Iterator[Part]:
    """All rows of `matrix` (R, O) that have entries, a part at a time."""
    return solved_rows(padded_rows(matrix), others, penalty, with_shares)


def solved_rows(
    rows: Iterable[Rows], others: Tensor, penalty: Penalty, with_shares: bool = False
) -> Iterator[Part]:
    """The factors of rows while those of the columns stand, `others` (O, F)."""
    padded = torch.cat([others, others.new_zeros(1, others.shape[1])])
    shared = Shared.of(penalty.unobserved * (others.T @ others))
    for part in rows:
        scale = penalty.regularisation * (part.counts + penalty.unobserved * len(others))
        solve_part = _short if part.counts[0] <= SHORT else _long
        factors, shares = solve_part(
            padded, part, shared, torch.from_numpy(scale).float(), with_shares
        )
        yield Part(part.places, part.columns, factors, shares)


@dataclass(frozen=True)
class Shared:
    """What all rows have of their normal equations: a matrix (F, F), and its eigenvectors, by which
    any multiple of the identity added to it is inverted in one product."""

    matrix: Tensor
    values: Tensor
    """(F,)."""
    vectors: Tensor
    """(F, F)."""

    @classmethod
    def of(cls, matrix: Tensor) -> Shared:
        values, vectors = torch.linalg.eigh(matrix)
        return cls(matrix, values.clamp(min=0), vectors)

    def inverse(self, scale: Tensor) -> Tensor:
        """(F, F): of the matrix and so many times the identity."""
        return (self.vectors / (self.values + scale)) @ self.vectors.T


def _long(
    others: Tensor, rows: Rows, shared: Shared, scale: Tensor, with_shares: bool
) -> tuple[Tensor, Tensor]:
    """Factors (B, F) and shares of rows by the normal equations, one matrix (F, F) per row."""
    columns, weight = rows.columns, rows.weights
    normal = shared.matrix.repeat(len(columns), 1, 1)
    normal.diagonal(dim1=1, dim2=2).add_(scale[:, None])
    right = others.new_zeros(len(columns), others.shape[1], 1)
    for start in range(0, columns.shape[1], CHUNK):
        entries = others[columns[:, start : start + CHUNK]]
        of_entries = weight[:, start : start + CHUNK, None]
        normal.baddbmm_((entries * of_entries).transpose(1, 2), entries)
        right.baddbmm_(entries.transpose(1, 2), of_entries)
    cholesky = torch.linalg.cholesky(normal)
    shares = others.new_empty(0)
    if with_shares:
        shares = torch.cholesky_solve(others[columns].transpose(1, 2), cholesky) * weight[:, None]
    return torch.cholesky_solve(right, cholesky)[:, :, 0], shares


def _short(
    others: Tensor, rows: Rows, shared: Shared, scale: Tensor, with_shares: bool
) -> tuple[Tensor, Tensor]:
    """The same of rows that have all as few entries, by Woodbury's identity: one matrix (E, E) per
    row, of which padding makes the identity, and one (F, F) for all."""
    entries = others[rows.columns]
    root = rows.weights.sqrt()[:, :, None]
    inverse = shared.inverse(scale[0])
    left = torch.bmm(entries, inverse.expand(len(entries), -1, -1)) * root
    inner = torch.baddbmm(torch.eye(entries.shape[1]), left, (entries * root).transpose(1, 2))
    cholesky = torch.linalg.cholesky(inner)
    left = left.transpose(1, 2)
    factors = torch.bmm(left, torch.cholesky_solve(root, cholesky))[:, :, 0]
    shares = others.new_empty(0)
    if with_shares:
        shares = torch.cholesky_solve(left.transpose(1, 2), cholesky).transpose(1, 2)
        shares = shares * root.transpose(1, 2)
    return factors, shares


def padded_rows(matrix: sparse.csr_array) -> Iterator[Rows]:
    """All rows of `matrix` (R, O) that have entries."""
    counts = np.diff(matrix.indptr).astype(np.int64)
    for places in _of_one_length(counts):
        columns, weights = _padded(matrix, places, counts[places])
        yield Rows(torch.from_numpy(places), counts[places], columns, weights)


def _of_one_length(counts: Ints) -> Iterator[Ints]:
    """Places of rows that have the same length with padding, short ones the same without, as many
    as fit into a chunk."""
    lengths = padded_lengths(counts)
    same = np.where(counts <= SHORT, counts, lengths)
    order = np.argsort(same, kind="stable")
    order = order[counts[order] > 0]
    for places in np.split(order, np.flatnonzero(np.diff(same[order])) + 1):
        if len(places):
            length = int(lengths[places[0]])
            step = SHORT_CHUNK // length if length <= SHORT else min(CHUNK // length, CHUNK_ROWS)
            step = max(step, 1)
            yield from (places[i : i + step] for i in range(0, len(places), step))


def padded_lengths(counts: Ints) -> Ints:
    """What rows of so many entries are padded to: by an eighth or by `ALIGNED` - 1 at most."""
    step = np.exp2(np.log2(np.maximum(counts, 1)).astype(np.int64) - 3).clip(min=ALIGNED)
    step = step.astype(np.int64)
    lengths: Ints = -(-counts // step) * step
    return lengths


def _padded(matrix: sparse.csr_array, places: Ints, counts: Ints) -> tuple[Tensor, Tensor]:
    """Columns and weights (B, E) of rows."""
    at = np.arange(padded_lengths(counts).max())
    inside = at < counts[:, None]
    at = np.where(inside, matrix.indptr[places][:, None] + at, 0)
    columns = np.where(inside, matrix.indices[at], matrix.shape[1]).astype(np.int32)
    weight = np.where(inside, matrix.data[at], np.float32(0))
    return torch.from_numpy(columns), torch.from_numpy(weight)


class Factors:
    """The fitted model."""

    def __init__(self, items: Tensor, penalty: Penalty, day: SurfaceDay):
        """`items` (I, F)."""
        self._items, self._penalty, self._day = items, penalty, day
        self._search = InnerProducts(
            items.numpy(), day.config.candidates_per_source, day.unavailable
        )

    def candidates(self, histories: Histories, hidden: sparse.csr_array) -> Candidates:
        """The best items for the factors that the users' own items give them."""
        matrix = weights(histories, len(self._items), self._day.as_of)
        parts = list(solved_parts(matrix, self._items, self._penalty, with_shares=True))
        factors = torch.zeros(len(histories), self._items.shape[1])
        for part in parts:
            factors[part.rows] = part.factors
        users = np.flatnonzero(np.diff(matrix.indptr))
        best = self._search.best(factors.numpy()[users], hidden[users])
        found = Candidates.of_some(users, best, np.full(best.items.shape, -1), len(histories))
        for part in parts:
            rows = part.rows.numpy()
            found.because[rows] = self._reasons(part, found.best.items[rows])
        return found

    def _reasons(self, part: Part, items: Ints) -> Ints:
        """Of the items (B, k) the own ones that add most to their scores (Hu et al., section 5)."""
        added = self._items[torch.from_numpy(items).clamp(min=0)] @ part.shares
        added.masked_fill_(part.columns[:, None] == len(self._items), -torch.inf)
        most = np.take_along_axis(part.columns.numpy(), added.numpy().argmax(axis=2), axis=1)
        return np.where(items < 0, -1, most)
