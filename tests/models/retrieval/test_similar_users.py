"""What similar users did lately, beside its plain definition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from contracts.ranking_config import RankingConfig
from contracts.surfaces import SURFACES
from models.data.row_hashes import user_hashes
from models.retrieval import similar_users
from models.retrieval.histories import read_histories, read_items
from models.retrieval.retrieval_model import LeftOut, SurfaceDay
from models.retrieval.similar_users import fit_similar_users
from tests.models.ranking.hand_made_tables import (
    DAY,
    EPOCH_DAY,
    history,
    item,
    write_histories,
    write_items,
)

PRODUCTS = SURFACES[0]
N_ITEMS = 12


def day_of(folder: Path, users: Sequence[dict[str, Any]]) -> SurfaceDay:
    """The users' histories of twelve items, as of the day."""
    catalogue = write_items(folder / "items", [item(f"i{i:02d}") for i in range(N_ITEMS)])
    items = read_items((catalogue,), PRODUCTS.name, DAY)
    ids = items["item_id"].combine_chunks()
    paths = (write_histories(folder / "histories", users),)
    (histories,) = read_histories(paths, PRODUCTS.name, DAY, ids)
    return SurfaceDay(PRODUCTS, DAY, items, histories, RankingConfig(candidates_per_source=12))


def ages(**by_item: int) -> dict[str, dict[str, int]]:
    """Entries of items, by how many days ago the user last did something with each."""
    return {name: {"last_days": EPOCH_DAY - age} for name, age in by_item.items()}


def random_users(n: int = 30) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        history(
            f"u{k:02d}",
            ages(
                **{
                    f"i{i:02d}": int(rng.integers(1, 90))
                    for i in np.flatnonzero(rng.random(N_ITEMS) < 0.4)
                }
            ),
        )
        for k in range(n)
    ]


def found(day: SurfaceDay) -> np.ndarray:
    """(U, I): the scores that users get; 0 of what they do not."""
    users, nothing = len(day.histories), sparse.csr_array((len(day.histories), N_ITEMS), dtype=bool)
    best = fit_similar_users(day).candidates(day.histories, nothing).best
    scores = np.zeros((users, N_ITEMS))
    row, place = np.nonzero(best.items >= 0)
    scores[row, best.items[row, place]] = best.scores[row, place]
    return scores


def naive(users: Sequence[dict[str, Any]], references: Sequence[str]) -> np.ndarray:
    def vector(user: dict[str, Any], half_life: float, most: int) -> np.ndarray:
        values = np.zeros(N_ITEMS)
        for name, last in zip(user["item_ids"], user["last_days"], strict=True):
            if EPOCH_DAY - last <= most:
                values[int(name[1:])] = max(2 ** (-(EPOCH_DAY - last) / half_life), 0.01)
        return values

    scores = np.zeros((len(users), N_ITEMS))
    for u, user in enumerate(users):
        for other in users:
            if other is user or other["user_key"] not in references:
                continue
            a, b = vector(user, 90, 10_000), vector(other, 90, 10_000)
            lengths = [np.sqrt(x @ x) + similar_users.SHORT_HISTORY for x in (a, b)]
            scores[u] += (a @ b / np.prod(lengths)) ** 2 * vector(other, 10, 40)
    return scores


def test_scores_are_sums_over_others_of_what_they_did_lately(tmp_path: Path) -> None:
    users = random_users()
    scores = found(day_of(tmp_path, users))
    everybody = [user["user_key"] for user in users]
    np.testing.assert_allclose(scores, naive(users, everybody), rtol=1e-5)


def test_others_are_at_most_so_many_by_a_hash_of_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar_users, "MAX_REFERENCES", 7)
    users = random_users()
    day = day_of(tmp_path, users)
    keys = np.array([user["user_key"] for user in users])
    first = keys[np.argsort(user_hashes(day.histories.users))[:7]]
    np.testing.assert_allclose(found(day), naive(users, first.tolist()), rtol=1e-5)


def test_a_user_is_shown_what_the_most_alike_took_up_and_not_what_was_long_ago(
    tmp_path: Path,
) -> None:
    users = [
        history("ann", ages(i00=50, i01=50)),
        history("bob", ages(i00=60, i01=60, i02=5)),
        history("cat", ages(i01=60, i04=60, i03=1)),
        history("dan", ages(i00=60, i01=60, i05=41)),
    ]
    day = day_of(tmp_path, users)
    nothing = sparse.csr_array((4, N_ITEMS), dtype=bool)
    lists = fit_similar_users(day).candidates(day.histories, nothing)
    assert lists.best.items[0].tolist() == [2, 3, *[-1] * 10]
    assert (lists.because == -1).all()


def test_it_is_left_out_where_nobody_did_anything_lately(tmp_path: Path) -> None:
    with pytest.raises(LeftOut, match="nobody did anything in the last 40 days"):
        fit_similar_users(day_of(tmp_path, [history("ann", ages(i00=41))]))
