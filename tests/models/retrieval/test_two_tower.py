"""Two towers, on histories whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from contracts.ranking_config import RankingConfig
from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS
from contracts.surfaces import SURFACES
from models.data.arrow_schema import arrow_schema
from models.retrieval.histories import Histories, to_histories
from models.retrieval.item_inputs import ItemInputs
from models.retrieval.own_items import OwnItems
from models.retrieval.retrieval_model import Candidates, LeftOut, SurfaceDay
from models.retrieval.two_tower import TwoTower, fit_two_tower
from tests.models.ranking.hand_made_tables import DAY, EPOCH_DAY, history, item

PRODUCTS = SURFACES[0]
N = 40
ITEMS = [f"i{n:02d}" for n in range(N)]


def catalogue(n_new: int = 0) -> pa.Table:
    """Even items are toys, odd ones are tools; then come some that nobody had yet."""
    known = [item(name, category_id=("toys", "tools")[n % 2]) for n, name in enumerate(ITEMS)]
    new = [
        item(f"n{n}", category_id=("toys", "tools")[n % 2], first_day=EPOCH_DAY - 1)
        for n in range(n_new)
    ]
    return pa.Table.from_pylist([*known, *new], arrow_schema(REC_ITEMS))


def entry(days_ago: int) -> dict[str, Any]:
    return {"first_days": EPOCH_DAY - days_ago, "last_days": EPOCH_DAY - days_ago}


def histories_of(items: pa.Table, n_users: int = 200) -> Histories:
    """Users who have eight items of the category that they like, on different days; the last has
    none."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        liked = rng.permutation(np.arange(user % 2, N, 2))[:8]
        days = rng.permutation(60)[:8] + 1
        own = {ITEMS[i]: entry(int(d)) for i, d in zip(liked, days, strict=True)}
        rows.append(history(f"u{user:03d}", own))
    rows.append(history("zoe"))
    table = pa.Table.from_pylist(rows, arrow_schema(REC_HISTORIES))
    return to_histories(table, items["item_id"].combine_chunks())


def fitted(items: pa.Table, histories: Histories, k: int = 10) -> TwoTower:
    config = RankingConfig(candidates_per_source=k)
    return fit_two_tower(SurfaceDay(PRODUCTS, DAY, items, histories, config))


def owned(histories: Histories, n_items: int) -> sparse.csr_array:
    values = (np.ones(len(histories.items), bool), (histories.rows, histories.items))
    return sparse.csr_array(values, shape=(len(histories), n_items))


def candidates(items: pa.Table, k: int = 10) -> tuple[Histories, Candidates]:
    histories = histories_of(items)
    model = fitted(items, histories, k)
    return histories, model.candidates(histories, owned(histories, items.num_rows))


def test_users_get_more_of_what_they_like_and_why() -> None:
    histories, found = candidates(catalogue())
    for user in range(200):
        own = set(histories.items[histories.rows == user].tolist())
        shown = found.best.items[user]
        assert not set(shown.tolist()) & own
        assert (shown % 2 == user % 2).mean() >= 0.9
        assert set(found.because[user].tolist()) <= own
    scores = found.best.scores[:200]
    assert (np.diff(scores, axis=1) <= 0).all()


def test_of_whom_nothing_is_known_nothing_is_retrieved() -> None:
    _, found = candidates(catalogue())
    assert found.best.items[200].tolist() == [-1] * 10
    assert found.because[200].tolist() == [-1] * 10


def test_items_that_nobody_had_are_retrieved_for_whom_they_suit() -> None:
    items = catalogue(n_new=8)
    # Of the category that a user likes there are twelve more, and four new ones.
    _, found = candidates(items, k=16)
    users, places = np.nonzero(found.best.items >= N)
    suits = (found.best.items[users, places] - N) % 2 == users % 2
    assert suits.mean() > 0.95
    assert suits.sum() / 200 > 3


def test_a_user_gets_the_same_to_the_bit_whoever_comes_along() -> None:
    items = catalogue(n_new=2)
    histories = histories_of(items)
    hidden = owned(histories, items.num_rows)
    whole = fitted(items, histories).candidates(histories, hidden)
    again = fitted(items, histories)
    rows = histories.users
    for user in (0, 7, 199):
        at = slice(histories.starts[user], histories.starts[user + 1])
        alone = Histories(
            rows.slice(user, 1),
            histories.starts[user : user + 2] - histories.starts[user],
            histories.items[at],
            {name: values[at] for name, values in histories.entries.items()},
        )
        found = again.candidates(alone, owned(alone, items.num_rows))
        np.testing.assert_array_equal(found.best.items[0], whole.best.items[user])
        np.testing.assert_array_equal(found.best.scores[0], whole.best.scores[user])
        np.testing.assert_array_equal(found.because[0], whole.because[user])


def test_who_had_all_on_one_day_says_nothing_of_what_comes_next() -> None:
    items = catalogue()
    rows = [history(f"u{n}", {"i01": entry(5), "i02": entry(5)}) for n in range(50)]
    table = pa.Table.from_pylist(rows, arrow_schema(REC_HISTORIES))
    histories = to_histories(table, items["item_id"].combine_chunks())
    with pytest.raises(LeftOut, match="nobody had anything on two days"):
        fitted(items, histories)


def test_what_came_before_is_of_earlier_days_and_the_latest_of_it() -> None:
    items = catalogue()
    own = {"i03": entry(9), "i01": entry(5), "i02": entry(5), "i00": entry(2), "i04": entry(-1)}
    own["i04"] = {"first_days": -1, "last_days": -1}  # has no day
    rows = [history("ann", own), history("bob", {"i09": entry(3)})]
    table = pa.Table.from_pylist(rows, arrow_schema(REC_HISTORIES))
    histories = to_histories(table, items["item_id"].combine_chunks())
    of_users = OwnItems.of(histories, EPOCH_DAY)
    assert of_users.items.tolist() == [3, 1, 2, 0, 9]
    before = of_users.before(2)
    ranges = zip(before.starts, before.ends, strict=True)
    found = [of_users.items[start:end].tolist() for start, end in ranges]
    assert found == [[], [3], [3], [1, 2], []]
    some = before[np.array([1, 3])]
    assert some.rows.tolist() == [0, 1, 1]
    assert of_users.items[some.entries].tolist() == [3, 1, 2]
    np.testing.assert_allclose(of_users.shares(some), [1, 0.5, 0.5])


def test_a_new_item_counts_as_the_mean_one_and_an_old_one_that_nobody_has_as_less() -> None:
    rows = [
        item("a", first_day=EPOCH_DAY - 200, price_minor=100),
        item("b", first_day=EPOCH_DAY - 200),
        item("c", first_day=EPOCH_DAY, price_minor=400),
    ]
    items = pa.Table.from_pylist(rows, arrow_schema(REC_ITEMS))
    histories = to_histories(
        pa.Table.from_pylist(
            [history(f"u{n}", {"a": entry(3)}) for n in range(30)], arrow_schema(REC_HISTORIES)
        ),
        items["item_id"].combine_chunks(),
    )
    inputs = ItemInputs.of(items, OwnItems.of(histories, EPOCH_DAY), EPOCH_DAY)
    liked, never, new = inputs.popularity.tolist()
    assert liked > new == 0 > never
    assert inputs.ids.tolist() == [1, 0, 0], "who has fewer than 3 entries has no own vector"
    assert inputs.numbers.numpy().round(3).tolist() == [
        [-1.0, pytest.approx(0.333), 1.0],
        [0.0, 0.0, 0.0],
        [1.0, pytest.approx(0.333), 1.0],
    ]
