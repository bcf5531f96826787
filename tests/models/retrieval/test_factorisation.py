"""Matrix factorisation beside dense least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from models.retrieval import factorisation
from models.retrieval.factorisation import Penalty, fit_items, padded_lengths, solve, solved_parts

PENALTY = Penalty(regularisation=0.05, unobserved=0.2)


def drawn(n_users: int, n_items: int, share: float, seed: int = 0) -> sparse.csr_array:
    """Weights of some pairs of users and items."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.1, 1, (n_users, n_items)) * (rng.random((n_users, n_items)) < share)
    return sparse.csr_array(weight.astype(np.float32))


def naive(matrix: sparse.csr_array, others: np.ndarray) -> np.ndarray:
    """Each row by dense least squares over all columns."""
    rows = []
    for weight in matrix.toarray().astype(np.float64):
        scale = 0.05 * (np.count_nonzero(weight) + 0.2 * len(others))
        normal = (others.T * (weight + 0.2)) @ others + scale * np.eye(others.shape[1])
        rows.append(np.linalg.solve(normal, others.T @ weight))
    return np.array(rows)


def test_a_sweep_is_least_squares_over_all_pairs() -> None:
    matrix = drawn(40, 30, 0.3)
    others = np.random.default_rng(1).normal(size=(30, 6))
    found = solve(matrix, torch.from_numpy(others).float(), PENALTY)
    np.testing.assert_allclose(found.numpy(), naive(matrix, others), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.03, 0.2])  # short and long rows
def test_a_row_has_the_same_bits_whatever_rows_are_beside_it(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    matrix = drawn(50, 300, share)
    others = torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    together = solve(matrix, others, PENALTY)
    alone = torch.cat([solve(matrix[[r]], others, PENALTY) for r in range(50)])
    assert torch.equal(together, alone)
    monkeypatch.setattr(factorisation, "CHUNK_ROWS", 3)
    monkeypatch.setattr(factorisation, "SHORT_CHUNK", 20)
    assert torch.equal(together, solve(matrix, others, PENALTY))


@pytest.mark.parametrize("short", [0, 1000])
def test_what_entries_add_makes_the_factors(monkeypatch: pytest.MonkeyPatch, short: int) -> None:
    matrix = drawn(40, 30, 0.3)
    others = np.random.default_rng(1).normal(size=(30, 6))
    monkeypatch.setattr(factorisation, "SHORT", short)
    expected = naive(matrix, others)
    for part in solved_parts(matrix, torch.from_numpy(others).float(), PENALTY, with_shares=True):
        for factors in (part.factors, part.shares.sum(dim=2)):
            np.testing.assert_allclose(factors, expected[part.rows.numpy()], rtol=1e-4, atol=1e-5)


def test_long_rows_are_added_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = drawn(5, 300, 0.9)
    others = np.random.default_rng(1).normal(size=(300, 6))
    monkeypatch.setattr(factorisation, "CHUNK", 64)
    found = solve(matrix, torch.from_numpy(others).float(), PENALTY)
    np.testing.assert_allclose(found.numpy(), naive(matrix, others), rtol=1e-4, atol=1e-5)


def test_rows_without_entries_are_left_out() -> None:
    matrix = sparse.csr_array(np.array([[0, 1], [0, 0]], np.float32))
    (part,) = solved_parts(matrix, torch.ones(2, 3), PENALTY)
    assert part.rows.tolist() == [0]
    assert solve(matrix, torch.ones(2, 3), PENALTY)[1].tolist() == [0, 0, 0]


def test_rows_are_padded_by_an_eighth_at_most() -> None:
    counts = np.arange(1, 5000)
    lengths = padded_lengths(counts)
    assert ((lengths >= counts) & (lengths <= np.maximum(counts + 7, counts * 9 // 8))).all()
    assert len(np.unique(lengths)) < 90


def test_two_groups_with_tastes_of_their_own_are_told_apart() -> None:
    """Users of either group have half of its items each: the other half comes before all else."""
    rng = np.random.default_rng(0)
    taste = np.repeat([0, 1], 20)
    of_group = np.repeat([0, 1], 10)
    has = (taste[:, None] == of_group) & (rng.random((40, 20)) < 0.5)
    matrix = sparse.csr_array(has.astype(np.float32))
    items = fit_items(matrix, 2, 10, PENALTY, seed=0)
    scores = (solve(matrix, items, PENALTY) @ items.T).numpy()
    unseen_of_own = np.where((taste[:, None] == of_group) & ~has, scores, np.inf).min(axis=1)
    of_others = np.where(taste[:, None] != of_group, scores, -np.inf).max(axis=1)
    assert (unseen_of_own > of_others).all()
    assert torch.equal(items, fit_items(matrix, 2, 10, PENALTY, seed=0))
    assert not torch.equal(items, fit_items(matrix, 2, 10, PENALTY, seed=1))


def test_what_has_no_signal_weighs_as_much_together_as_was_asked() -> None:
    matrix = drawn(40, 30, 0.3)
    assert Penalty.of(matrix, 0.01, 20.0) == Penalty(0.01, 20.0 * matrix.nnz / (40 * 30))
