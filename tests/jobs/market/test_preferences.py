"""What users choose, and that the truth says so."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from contracts.surfaces import SURFACES
from jobs.market import events
from jobs.market.catalogue import NEVER, Items
from jobs.market.files import simulate
from jobs.market.outcomes import chosen
from jobs.market.preferences import PREFERENCES, preferences_of
from jobs.market.shown import impressions_of
from jobs.market.social import follows_of, graph_of
from jobs.market.staples import Staples
from jobs.market.traits import BLOCK, COMMUNITY, VERBS, Market, block

MARKET, DAY = Market(2000, date(2025, 1, 1), 300, 5), 150


def ranked(surface: str) -> dict[int, dict[str, float]]:
    """Of each user, what the user would choose and the goals to expect of it, best first."""
    lists: dict[int, dict[str, float]] = {}
    for _, part in preferences_of(MARKET, block(MARKET, 0), DAY, surface):
        names = part.names.to_pylist()
        for user, thing, expected in zip(part.user, part.thing, part.expected, strict=True):
            lists.setdefault(int(user), {})[names[thing]] = float(expected)
    return lists


def goals(day: int, surface: str) -> list[tuple[int, str]]:
    """Pairs of user and what the user chose after a day."""
    user, name = chosen(MARKET, block(MARKET, 0), day, surface)
    return list(zip(user.tolist(), name.to_pylist(), strict=True))


def ndcg(lists: dict[int, list[str]], relevant: dict[int, set[str]]) -> float:
    """Mean nDCG@10 over users for whom something is relevant."""
    discounts = 1 / np.log2(np.arange(2, 12))
    return float(
        np.mean(
            [
                sum(d for d, x in zip(discounts, lists.get(u, [])[:10], strict=False) if x in mine)
                / discounts[: len(mine)].sum()
                for u, mine in relevant.items()
            ]
        )
    )


def test_each_surface_has_preferences() -> None:
    assert set(PREFERENCES) == {surface.name for surface in SURFACES}


@pytest.mark.parametrize("surface", list(PREFERENCES))
def test_what_is_expected_is_what_is_then_chosen_and_ranks_better_than_popularity(
    surface: str,
) -> None:
    lists = ranked(surface)
    listed = [(u, x) for u, x in goals(DAY, surface) if x in lists.get(u, {})]
    expected = sum(sum(of.values()) for of in lists.values())
    # Goals of one user come together (whoever is awake does more), so the spread is more than
    # that of a Poisson number.
    assert abs(len(listed) - expected) < 5 * np.sqrt(expected) + 0.03 * expected
    strong = {(u, x): e for u, of in lists.items() for x, e in of.items() if e > 0.05}
    if strong:  # and those of which much is expected come about as often as is said
        happened = Counter(listed)
        real = sum(happened[pair] for pair in strong)
        assert abs(real - sum(strong.values())) < 6 * np.sqrt(sum(strong.values()))
    relevant: dict[int, set[str]] = {}
    for u, x in listed:
        relevant.setdefault(u, set()).add(x)
    before = Counter(x for _, x in goals(DAY - 30, surface))
    popular = [x for x, _ in before.most_common(10)]
    best = ndcg({u: list(of) for u, of in lists.items()}, relevant)
    assert best > 1.5 * ndcg(dict.fromkeys(relevant, popular), relevant)
    assert best > 0.2


def test_nobody_orders_what_is_not_sold_and_no_minor_what_is_for_adults() -> None:
    users, items = block(MARKET, 0), Items.of(MARKET)
    assert (~items.available(DAY)).sum() > 20  # some out of stock, withdrawn, or not yet launched
    for day in range(DAY, DAY + 20):
        for rows in (events.orders_of(MARKET, users, day), events.reviews_of(MARKET, users, day)):
            assert items.available(day)[rows.item].all()
            assert not (users.minor[rows.user] & (items.min_age[rows.item] > 0)).any()
    shown = {name for of in ranked("products").values() for name in of}
    known = items.available(DAY - 1) & (items.launched < DAY)
    assert shown <= {f"i{i}" for i in np.flatnonzero(known)}


def test_items_come_go_and_come_back() -> None:
    items = Items.of(MARKET)
    sold = np.stack([items.available(day) for day in range(0, 300, 7)])
    back = (np.diff(sold.astype(int), axis=0) == 1).sum(axis=0)
    assert 0.4 < (back[items.launched < 0] > 0).mean() < 0.8  # most were out once
    new = (items.launched >= 0) & (items.launched < 300)
    assert new.sum() == 84  # two a week
    gone = items.withdrawn < 300
    assert gone.any()
    assert not items.available(300)[gone].any()
    assert (items.withdrawn[~gone] == NEVER).any()


def test_a_new_item_becomes_known_over_weeks() -> None:
    items = Items.of(MARKET)
    new = np.flatnonzero((items.launched > 0) & (items.launched < 150))
    first = np.array([items.weights(items.launched[i])[i] for i in new]) / items.share[new]
    later = np.array([items.weights(items.launched[i] + 60)[i] for i in new]) / items.share[new]
    assert np.median(first) < 0.4 < 0.7 < np.median(later[later > 0])


def test_what_is_used_up_is_bought_again_after_its_gap() -> None:
    users, staples = block(MARKET, 0), Staples.of(MARKET, block(MARKET, 0))
    bought: dict[tuple[int, int], list[int]] = {}
    for day in range(100, 250):
        o = events.orders_of(MARKET, users, day)
        for user, item in zip(o.user, o.item, strict=True):
            bought.setdefault((int(user), int(item)), []).append(day)
    gaps = [
        np.diff(days) / period
        for user, (items, periods) in enumerate(zip(staples.item, staples.period, strict=True))
        for item, period in zip(items, periods, strict=True)
        if item >= 0 and len(days := bought.get((user, int(item)), [])) > 2
    ]
    gaps_in_periods = np.concatenate(gaps)
    near = np.abs(gaps_in_periods - 1) < 0.15
    assert len(gaps_in_periods) > 500
    assert near.mean() > 0.35  # the others are twice as long, or a day apart


def test_follows_are_of_friends_of_friends_and_are_returned() -> None:
    users = block(MARKET, 0)
    before, rows = graph_of(MARKET, users, DAY - 1), follows_of(MARKET, users, DAY)
    new = rows.take(~rows.undone)
    returned = before.follows(new.followed, new.user)
    assert returned.mean() > 0.15
    near = new.user // COMMUNITY == new.followed // COMMUNITY
    assert 0.4 < near.mean() < 0.95
    again = before.follows(new.user, new.followed)
    assert not again.any()  # nobody follows whom they follow


def test_preferences_and_outcomes_are_written_as_of_the_last_day(tmp_path: Path) -> None:
    market = Market(60, date(2025, 1, 1), 61, 4)
    simulate(market, tmp_path, lambda done, total: None)
    assert [p.name for p in (tmp_path / "truth/preferences").iterdir()] == ["as_of=2025-03-03"]
    assert [p.name for p in (tmp_path / "truth/outcomes").iterdir()] == ["as_of=2025-03-03"]
    night = tmp_path / "truth/preferences/as_of=2025-03-03"
    assert {p.stem for p in night.iterdir()} == set(PREFERENCES)
    table = pq.read_table(night / "products.parquet")
    assert table.column_names == ["user_id", "item_ids", "values"]
    of_first = table.slice(0, 1).to_pylist()[0]
    assert len(of_first["item_ids"]) == len(of_first["values"]) == 200
    assert of_first["values"] == sorted(of_first["values"], reverse=True)
    outcomes = pq.read_table(tmp_path / "truth/outcomes/as_of=2025-03-03/products.parquet")
    assert outcomes.column_names == ["user_id", "item_id"]
    assert outcomes.num_rows > 20
    users = pq.read_table(tmp_path / "truth/as_of=2025-03-03.parquet")["user_id"].to_pylist()
    assert table["user_id"].to_pylist() == users


def test_what_stands_higher_up_is_clicked_more_and_each_click_is_of_what_was_shown() -> None:
    users, shown, clicked = block(MARKET, 0), np.zeros(3), np.zeros(3)
    for day in range(DAY, DAY + 30):
        s = impressions_of(MARKET, users, day)
        e = events.engagements_of(MARKET, users, day)
        e = e.take(e.verb == VERBS.index("click"))
        clicks = set(zip(e.user, e.second, e.kind, e.target, e.target_day, strict=True))
        pairs = list(zip(s.user, s.second, s.kind, s.target, s.target_day, strict=True))
        assert clicks <= set(pairs)
        was = np.array([pair in clicks for pair in pairs])
        shown += np.bincount(s.position, minlength=4)[1:]
        clicked += np.bincount(s.position[was], minlength=4)[1:]
    rate = clicked / shown
    assert rate[0] > 1.3 * rate[1] > 1.5 * rate[2]
    assert 0.1 < clicked.sum() / shown.sum() < 0.2  # one of three, in half of the lists


def test_who_blocks_somebody_does_not_follow_them_later_and_is_not_followed() -> None:
    users = block(MARKET, 0)
    blocked = graph_of(MARKET, users, DAY).blocked
    assert len(blocked) > 200
    pairs = set(blocked.tolist())
    for day in range(DAY + 1, DAY + 40):
        f = follows_of(MARKET, users, day)
        new = f.take(~f.undone)
        assert not pairs & set((new.user * BLOCK + new.followed).tolist())
        pairs |= set(graph_of(MARKET, users, day).blocked.tolist())
