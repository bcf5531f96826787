"""A linear model of items by items: EASE.

Steck, Embarrassingly shallow autoencoders for sparse data (2019). A user's score of an item is the
sum of the weights that lead to it from the user's own.

Letters: I items, U users, k candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from models.retrieval.exact_search import best_by_scores, joined
from models.retrieval.histories import Histories
from models.retrieval.retrieval_model import Candidates, LeftOut, SurfaceDay, weights

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

REGULARISATION = 200.0
"""Chosen on validation days (docs/decisions/retrieval.md)."""
BLOCK = 128
"""Users whose scores of all items are in memory at once."""


def fit_ease(day: SurfaceDay) -> Ease:
    """The model of a surface.

    Raises:
        LeftOut: nobody has a history, or there are more items than it is fitted for.
    """
    if not day.matrix.nnz:
        raise LeftOut("nobody has a history")
    n_items, most = day.items.num_rows, day.config.max_ease_items
    if n_items > most:
        raise LeftOut(f"{n_items} items are more than ranking.max_ease_items ({most})")
    return Ease(item_weights(day.matrix, REGULARISATION), day)


def item_weights(matrix: sparse.csr_array, regularisation: float) -> Floats:
    """Weights (I, I), from the row's item to the column's, of users' own items `matrix` (U, I).

    Of all matrices with zeros on the diagonal it is the one that gives back `matrix` best.
    """
    gram = torch.from_numpy((matrix.T @ matrix).toarray().astype(np.float64))
    gram.diagonal().add_(regularisation)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    learnt = -inverse / inverse.diagonal()
    learnt.fill_diagonal_(0)
    return learnt.float().numpy()


@dataclass(frozen=True)
class Ease:
    """The fitted model."""

    weights: Floats
    """(I, I)."""
    day: SurfaceDay

    def candidates(self, histories: Histories, hidden: sparse.csr_array) -> Candidates:
        """The best items with a score above 0."""
        matrix = weights(histories, len(self.weights), self.day.as_of)
        users = np.flatnonzero(np.diff(matrix.indptr))
        k = self.day.config.candidates_per_source
        lists, because = [], np.full((len(users), k), -1)
        for start in range(0, len(users), BLOCK):
            some = users[start : start + BLOCK]
            scores = matrix[some] @ self.weights
            scores[scores <= 0] = -np.inf
            scores[:, self.day.unavailable] = -np.inf
            lists.append(best_by_scores(scores, hidden[some], k))
            for row, user in enumerate(some):
                own = slice(*matrix.indptr[user : user + 2])
                because[start + row] = self._reasons(
                    matrix.indices[own], matrix.data[own], lists[-1].items[row]
                )
        return Candidates.of_some(users, joined(lists, k), because, len(histories))

    def _reasons(self, own: npt.NDArray[np.int32], values: Floats, items: Ints) -> Ints:
        """Of each item (k,) the own one that adds most to its score."""
        parts = values[:, None] * self.weights[own[:, None], items]
        return np.where(items < 0, -1, own[parts.argmax(axis=0)])
