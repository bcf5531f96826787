"""Samples of candidates: how orders of them are judged, and how they are thinned out."""

from __future__ import annotations

import numpy as np

from models.ranking.samples import Sample, thinned


def sample_of(n_users: int, seed: int = 0) -> Sample:
    """Users with up to 40 candidates, some of them with none, some of which are relevant."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 40, n_users)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    n = int(starts[-1])
    is_goal = rng.random(n) < 0.15
    items = np.concatenate([np.sort(rng.permutation(60)[:size]) for size in sizes])
    found = np.bincount(np.repeat(np.arange(n_users), sizes), is_goal, n_users)
    return Sample(
        names=("a",),
        features=np.arange(n, dtype=np.float32)[None, :].T,
        starts=starts,
        items=items.astype(np.int32),
        events=is_goal.astype(np.int64),
        is_goal=is_goal,
        weights=np.ones(n, np.float32),
        hashes=rng.integers(0, 2**63, n_users).astype(np.uint64),
        n_relevant=(found + rng.integers(0, 2, n_users)).astype(np.int64),
    )


def naive_ndcg10(sample: Sample, scores: np.ndarray) -> list[float]:
    values = []
    for user in range(len(sample)):
        at = range(sample.starts[user], sample.starts[user + 1])
        order = sorted(at, key=lambda i: (-scores[i], sample.items[i]))[:10]
        gained = sum(1 / np.log2(2 + place) for place, i in enumerate(order) if sample.is_goal[i])
        n = min(int(sample.n_relevant[user]), 10)
        ideal = sum(1 / np.log2(2 + place) for place in range(n))
        values.append(gained / ideal if n else float("nan"))
    return values


def test_an_order_is_judged_by_its_first_ten_places_with_ties_by_item() -> None:
    sample = sample_of(200)
    rng = np.random.default_rng(1)
    for scores in (
        rng.normal(size=len(sample.items)),
        rng.integers(0, 4, len(sample.items)).astype(np.float64),
        np.zeros(len(sample.items)),
    ):
        np.testing.assert_allclose(sample.ndcg10(scores), naive_ndcg10(sample, scores))


def test_some_candidates_of_the_same_users_keep_what_is_known_of_each() -> None:
    sample = sample_of(50)
    kept = np.arange(len(sample.items)) % 3 == 0
    some = sample.only(kept)
    assert len(some) == 50
    assert some.feature("a").tolist() == np.flatnonzero(kept).tolist()
    assert some.rows.tolist() == sample.rows[kept].tolist()
    assert some.features.T.flags.c_contiguous


def test_what_is_left_out_is_stood_for_and_what_happened_is_kept() -> None:
    rng = np.random.default_rng(0)
    n_users, each, n = 400, 100, 30
    rows = np.repeat(np.arange(n_users), each)
    items = np.tile(np.arange(each), n_users).astype(np.int32)
    hashes = rng.integers(0, 2**63, n_users).astype(np.uint64)
    happened = rng.random(len(rows)) < 0.1
    kept, weights = thinned(rows, items, hashes, happened, n)
    assert kept[happened].all()
    others = kept & ~happened
    n_others = np.bincount(rows[~happened])
    assert abs(others.sum() / (n * n_users) - 1) < 0.02
    np.testing.assert_allclose(weights[others], n_others[rows[others]] / n)
    assert (weights[happened] == 1).all()
    # Which they are depends on user and item alone.
    some = rows % 2 == 0
    again, _ = thinned(rows[some] // 2, items[some], hashes[::2], happened[some], n)
    assert (again == kept[some]).all()
    few, ones = thinned(rows, items, hashes, happened, each)
    assert few.all()
    assert (ones == 1).all()
