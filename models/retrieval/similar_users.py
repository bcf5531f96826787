"""What users who are like the user did lately: neighbours of users, not of items.

Item-to-item models learn from all that ever went together; what is new or in season goes first
through the hands of some who are alike (Herlocker et al., An algorithmic framework for performing
collaborative filtering, 1999).

Letters: I items, U users, R reference users, B users of a block, k candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from contracts.days import EPOCH
from models.data.label_layout import as_numpy
from models.data.row_hashes import user_hashes
from models.retrieval.exact_search import best_by_scores, joined
from models.retrieval.histories import Histories
from models.retrieval.retrieval_model import Candidates, LeftOut, SurfaceDay, weights

Ints = npt.NDArray[np.int64]

HALF_LIFE = 10
"""Days after which what a similar user did counts half as much."""
RECENT_DAYS = 40
"""Days after which it does not count."""
MAX_REFERENCES = 4096
"""Users, by a hash of their keys, whom others are compared with, at most: what a user costs does
not grow with their number."""
SHORT_HISTORY = 0.3
"""Added to the length of a history, so that two users with one item each are not the same."""
BLOCK = 128
"""Users whose scores of all items are in memory at once."""


def fit_similar_users(day: SurfaceDay) -> SimilarUsers:
    """The model of a surface.

    Raises:
        LeftOut: nobody has a history, or did anything lately.
    """
    if not day.matrix.nnz:
        raise LeftOut("nobody has a history")
    today = (day.as_of - EPOCH).days
    recent = day.histories.entries["last_days"] >= today - RECENT_DAYS
    active = np.flatnonzero(np.bincount(day.histories.rows[recent], minlength=len(day.histories)))
    if not len(active):
        raise LeftOut(f"nobody did anything in the last {RECENT_DAYS} days")
    keys = day.histories.users["user_key"].combine_chunks()
    if len(active) > MAX_REFERENCES:
        hashes = user_hashes(pa.table({"user_key": keys.take(pa.array(active))}))
        active = np.sort(active[np.argsort(hashes, kind="stable")[:MAX_REFERENCES]])
    lately = _lately(day.histories, day.items.num_rows, today)[active]
    return SimilarUsers(keys.take(pa.array(active)), _unit(day.matrix[active]), lately, day)


def _unit(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows of almost the same length, (U, I)."""
    squares = np.bincount(
        np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)),
        matrix.data.astype(np.float64) ** 2,
        matrix.shape[0],
    )
    scale = (1 / (np.sqrt(squares) + SHORT_HISTORY)).astype(np.float32)
    return sparse.csr_array(sparse.diags_array(scale) @ matrix)


def _lately(histories: Histories, n_items: int, today: int) -> sparse.csr_array:
    """(U, I): what each user did in the last days, by its age."""
    age = today - histories.entries["last_days"]
    recent = age <= RECENT_DAYS
    values = (2.0 ** (-age[recent] / HALF_LIFE)).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(recent)])[histories.starts]
    shape = (len(histories), n_items)
    return sparse.csr_array((values, histories.items[recent], starts), shape=shape)


@dataclass(frozen=True)
class SimilarUsers:
    """The fitted model."""

    keys: pa.StringArray
    """(R,): `user_key` of the reference users."""
    references: sparse.csr_array
    """(R, I): their histories, scaled."""
    lately: sparse.csr_array
    """(R, I): what they did lately."""
    day: SurfaceDay

    def candidates(self, histories: Histories, hidden: sparse.csr_array) -> Candidates:
        """The best items with a score above 0: the sum over reference users of what they did
        lately, by the square of the cosine of both histories. No own item explains one."""
        matrix = _unit(weights(histories, self.lately.shape[1], self.day.as_of))
        itself = as_numpy(
            pc.fill_null(pc.index_in(histories.users["user_key"], value_set=self.keys), -1)
        )
        by_item = sparse.csr_array(self.references.T)
        users = np.flatnonzero(np.diff(matrix.indptr))
        k, lists = self.day.config.candidates_per_source, []
        for start in range(0, len(users), BLOCK):
            some = users[start : start + BLOCK]
            alike = sparse.csr_array(matrix[some] @ by_item)
            of = np.repeat(itself[some], np.diff(alike.indptr))
            alike.data = np.where(alike.indices == of, np.float32(0), alike.data**2)
            scores = (alike @ self.lately).toarray()
            scores[scores <= 0] = -np.inf
            scores[:, self.day.unavailable] = -np.inf
            lists.append(best_by_scores(scores, hidden[some], k))
        because = np.full((len(users), k), -1)
        return Candidates.of_some(users, joined(lists, k), because, len(histories))
