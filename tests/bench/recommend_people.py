"""Whom to follow, where edges have no time: a fifth of the pairs is held out, and looked for."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from flows.cli.main import DEMO_KEY
from jobs.values.user_key import UserKey
from models.ranking.metrics import Array
from tests.bench.recommend_protocol import Past, Question, numbers
from tests.bench.recommend_sets import BenchHome, edges_of, held_out
from tests.bench.recommend_twins import Scorer, best, factorised
from tests.conftest import REAL_DATA

RESTART, STEPS = 0.15, 20


def people_question(home: BenchHome) -> Question:
    """Users with an edge that was held out, among those whom the other edges know.

    Masked are the user, whom the user follows, and who follows the user: of a pair that was held
    out nobody is known to follow the other.
    """
    edges = edges_of(REAL_DATA / home.of.mapping)
    is_out = held_out(edges)
    key = UserKey(DEMO_KEY.encode())
    ids, at = np.unique(edges[~is_out], return_inverse=True)
    keys = np.array([key.of(str(one)) for one in ids])
    order = np.argsort(keys)
    place = np.argsort(order)
    row, item = place[at.reshape(-1, 2)].T
    shape = (len(ids), len(ids))
    follows = sp.csr_matrix((np.ones(len(row)), (row, item)), shape=shape)
    past = Past(keys[order], keys[order], row, item, np.ones(len(row), dtype=np.int64), follows)
    out = numbers(ids, edges[is_out])
    out = place[out[(out >= 0).all(axis=1)]]
    judged, of_judged = np.unique(out[:, 0], return_inverse=True)
    masked = (follows + follows.T + sp.eye(len(ids), format="csr")).tocsr()[judged].sign()
    return Question(past, judged, of_judged, out[:, 1], masked, masks_all=True)


def people_twins(question: Question, seed: int = 0) -> dict[str, Array]:
    """(E, K) lists of what is counted on the graph alone."""
    follows = question.past.owned
    scorers: dict[str, Scorer] = {
        "friends_of_friends_twin": lambda users: (follows[users] @ follows).toarray(),
        "page_rank_twin": page_rank(follows),
        "ials_twin": factorised(question.past.counts, seed),
    }
    return {name: best(question, scorer) for name, scorer in scorers.items()}


def page_rank(follows: sp.csr_matrix) -> Scorer:
    """How often a walk from a user along edges, that returns to the user with `RESTART` at each
    step, is at each other user (Page et al., 1999)."""
    n = np.maximum(np.asarray(follows.sum(axis=1)).ravel(), 1)
    steps = (sp.diags(1 / n) @ follows).tocsr()

    def scores(users: Array) -> Array:
        start = np.zeros((len(users), follows.shape[0]))
        start[np.arange(len(users)), users] = RESTART
        walk = start
        for _ in range(STEPS):
            walk = start + (1 - RESTART) * (walk @ steps)
        return walk

    return scores
