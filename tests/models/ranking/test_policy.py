"""The policy: who may see what, in which order, and how many."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from contracts.errors import ContractError
from contracts.surfaces import FILTERS, SURFACES, Outcome, Policy, Surface
from models.ranking.block import Block, Items
from models.ranking.policy import Shown, apply_policy, policy_id
from tests.models.ranking.blocks import block_of, items_of

DAY = date(2025, 3, 1)
PRODUCTS, _, POSTS, PEOPLE = SURFACES


def surface_of(surface: Surface, n_items: int = 3, **policy: Any) -> Surface:
    return replace(surface, n_items=n_items, policy=Policy(**policy))


def lists_of(shown: Shown, items: Items, block: Block) -> list[list[str]]:
    """Item ids that each user of a block is shown."""
    return [
        [items.ids[int(block.items[c])].as_py() for c in row if c >= 0] for row in shown.candidates
    ]


def filtered_of(shown: Shown, user: int = 0) -> dict[str, int]:
    return {name: int(n[user]) for name, n in shown.n_filtered.items() if n[user]}


def test_the_most_valuable_come_first_and_ties_by_item() -> None:
    items = items_of([{"item_id": item} for item in "abcd"])
    block = block_of(
        items,
        {
            "ann": [
                {"item": "d", "value": 0.5},
                {"item": "b", "value": 0.5},
                {"item": "a", "value": 0.1},
                {"item": "c", "value": 0.9},
            ],
            "bob": [],  # known, but no source gave anything
            "cat": [{"item": "d", "value": 0.0}],
        },
    )
    shown = apply_policy(surface_of(PRODUCTS), DAY, items, block)
    assert lists_of(shown, items, block) == [["c", "b", "d"], [], ["d"]]
    assert shown.shortfalls.tolist() == [None, "no candidates", "too few candidates"]
    assert shown.propensities.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert shown.n_candidates.tolist() == [4, 0, 1]


def test_what_many_users_had_is_discounted_where_the_policy_says_so() -> None:
    """99 users and one to the power of a half are 10, 3 users and one 2."""
    users = {"a": 99, "b": 3, "c": 0, "d": 0}
    items = items_of([{"item_id": item, "n_users_30d": n} for item, n in users.items()])
    values = {"a": 0.9, "b": 0.3, "c": 0.1, "d": 0.16}
    listed = {"ann": [{"item": i, "value": v} for i, v in values.items()]}
    block = block_of(items, listed, probabilities={"order": np.full(4, 0.5, np.float32)})
    as_they_are = apply_policy(surface_of(PRODUCTS, 4), DAY, items, block)
    assert lists_of(as_they_are, items, block) == [["a", "b", "d", "c"]]
    shown = apply_policy(surface_of(PRODUCTS, 4, popularity_discount=0.5), DAY, items, block)
    assert lists_of(shown, items, block) == [["d", "b", "c", "a"]]
    assert block.values.tolist() == np.float32([0.9, 0.3, 0.1, 0.16]).tolist()
    # Where nothing was learned, value is one over the place on a list, which gives the order.
    of_a_list = block_of(items, listed)
    shown = apply_policy(surface_of(PRODUCTS, 4, popularity_discount=0.5), DAY, items, of_a_list)
    assert lists_of(shown, items, of_a_list) == [["a", "b", "d", "c"]]


def test_a_block_without_any_candidate_gives_empty_lists() -> None:
    items = items_of([{"item_id": "a"}])
    block = block_of(items, {"ann": [], "bob": []})
    surface = surface_of(PRODUCTS, max_per_category=1, diversity=0.5, exploration=0.5)
    shown = apply_policy(surface, DAY, items, block)
    assert shown.candidates.tolist() == [[-1] * 3] * 2
    assert shown.shortfalls.tolist() == ["no candidates"] * 2


def test_each_filter_leaves_out_its_own_and_counts_a_candidate_once() -> None:
    items = items_of(
        [
            {"item_id": "bought"},
            {"item_id": "hated"},
            {"item_id": "late"},
            {"item_id": "mine", "author_key": "ann"},
            {"item_id": "more"},
            {"item_id": "often"},
            {"item_id": "sold", "available": False},
            {"item_id": "sold_and_hated", "available": False},
            {"item_id": "wine", "min_age": 18},
            {"item_id": "yours", "author_key": "bob"},
        ]
    )
    candidates = [
        {"item": "bought", "owned": True},
        {"item": "hated", "blocked": True},
        {"item": "late", "n_impressions": 20},  # as often as may be
        {"item": "mine"},
        {"item": "often", "n_impressions": 21},
        {"item": "sold"},
        {"item": "sold_and_hated", "blocked": True},
        {"item": "wine"},
        {"item": "yours"},
    ]
    block = block_of(items, {"ann": candidates, "bob": candidates})
    surface = surface_of(POSTS, n_items=10)
    shown = apply_policy(surface, DAY, items, block)
    assert lists_of(shown, items, block) == [["late", "yours"], ["late", "mine"]]
    assert filtered_of(shown) == {
        "owned": 1, "self": 1, "unavailable": 2, "blocked": 1, "under_age": 1, "overexposed": 1,
    }  # fmt: skip
    assert shown.shortfalls.tolist() == ["too few candidates"] * 2
    shown = apply_policy(replace(surface, n_items=3), DAY, items, block)
    assert shown.shortfalls.tolist() == ["too few left by the filters"] * 2
    open_to_all = replace(surface, repeats=True, policy=Policy(filters=(), max_impressions=None))
    shown = apply_policy(open_to_all, DAY, items, block)
    assert filtered_of(shown) == {}
    assert len(lists_of(shown, items, block)[0]) == 9
    limitless = replace(surface, repeats=True, policy=Policy(max_impressions=None))
    shown = apply_policy(limitless, DAY, items, block)
    assert {*FILTERS} - {*filtered_of(shown)} == {"owned", "overexposed"}


def test_nobody_is_recommended_to_oneself() -> None:
    items = items_of([{"item_id": user} for user in ("ann", "bob", "cat")])
    everybody = [{"item": user} for user in ("ann", "bob", "cat")]
    block = block_of(items, {"ann": everybody, "dan": everybody})  # nobody can follow dan
    shown = apply_policy(surface_of(PEOPLE), DAY, items, block)
    assert lists_of(shown, items, block) == [["bob", "cat"], ["ann", "bob", "cat"]]
    assert filtered_of(shown) == {"self": 1}


def test_an_age_counts_once_it_was_reached_in_the_year_before() -> None:
    items = items_of([{"item_id": "wine", "min_age": 18}])
    years = {"unknown": -1, "turns_18": 2007, "was_18": 2006}
    block = block_of(
        items,
        {user: [{"item": "wine"}] for user in years},
        birth_years=np.array([*years.values()], np.int32),
    )
    shown = apply_policy(surface_of(PRODUCTS), DAY, items, block)
    assert lists_of(shown, items, block) == [[], [], ["wine"]]


def test_caps_hold_in_the_first_ten_places_and_what_breaks_them_moves_down() -> None:
    ids = [f"x{i:02}" for i in range(12)] + ["y00", "y01", "z00"]
    items = items_of([{"item_id": i, "category_id": None if i[0] == "z" else i[0]} for i in ids])
    block = block_of(
        items, {"ann": [{"item": item, "value": 1 - i / 100} for i, item in enumerate(ids)]}
    )
    surface = surface_of(PRODUCTS, n_items=15, max_per_category=2)
    shown = apply_policy(surface, DAY, items, block)
    # Five obey the cap; nothing else is left for places 6 to 10, and a full list matters more.
    first = ["x00", "x01", "y00", "y01", "z00"]
    assert lists_of(shown, items, block) == [[*first, *(i for i in ids if i not in first)]]
    assert shown.n_capped.tolist() == [10]
    assert shown.shortfalls.tolist() == [None]


def test_what_is_shown_by_chance_breaks_no_cap_of_the_first_ten_places() -> None:
    ids = [f"{author}{i:02}" for i in range(10) for author in "abcdef"]
    items = items_of([{"item_id": i, "author_key": i[0]} for i in ids] + [{"item_id": "nobodys"}])
    of_user = [{"item": item, "value": 1 - i / 100} for i, item in enumerate([*ids, "nobodys"])]
    block = block_of(items, {f"u{u:03}": of_user for u in range(400)})
    surface = surface_of(POSTS, 20, max_per_author=3, exploration=0.3)
    shown = apply_policy(surface, DAY, items, block)
    lists = lists_of(shown, items, block)
    most = max(Counter(i[0] for i in items[:10]).most_common(1)[0][1] for items in lists)
    assert most == 3
    drawn = {item for items in lists for item in items} - {*ids[:14]}
    # The first ten have two of each of four authors, and one of the others: so much is left to them.
    assert drawn == {"c02", "d02", "e02", "f02", "a03", "b03", "e03", "f03", "nobodys"}
    assert (shown.propensities > 0).all()


def test_a_list_is_not_explored_where_too_little_breaks_no_cap() -> None:
    ids = [f"a{i:02}" for i in range(30)]
    items = items_of([{"item_id": i, "author_key": "a"} for i in ids])
    of_user = [{"item": item, "value": 1 - i / 100} for i, item in enumerate(ids)]
    block = block_of(items, {f"u{u:03}": of_user for u in range(50)})
    shown = apply_policy(
        surface_of(POSTS, 20, max_per_author=3, exploration=0.3), DAY, items, block
    )
    assert lists_of(shown, items, block) == [ids[:20]] * 50
    assert (shown.propensities == 1).all()


def test_marginal_relevance_puts_another_category_above_more_of_the_same() -> None:
    items = items_of(
        [
            {"item_id": "a1", "category_id": "a"},
            {"item_id": "a2", "category_id": "a"},
            {"item_id": "b1", "category_id": "b"},
        ]
    )
    block = block_of(
        items,
        {
            "ann": [
                {"item": "a1", "value": 1.0},
                {"item": "a2", "value": 0.8},  # .5 x .8 - .5 x 1
                {"item": "b1", "value": 0.2},  # .5 x .2
            ]
        },
    )
    shown = apply_policy(surface_of(PRODUCTS, diversity=0.5), DAY, items, block)
    assert lists_of(shown, items, block) == [["a1", "b1", "a2"]]
    shown = apply_policy(surface_of(PRODUCTS, diversity=0.2), DAY, items, block)
    assert lists_of(shown, items, block) == [["a1", "a2", "b1"]]


def naive_order(values: Any, categories: Any, authors: Any, policy: Policy, n: int) -> list[int]:
    """What a user is shown, by the definition, of candidates from the best to the last."""
    left, chosen = list(range(len(values))), list[int]()
    kinds = [codes for codes in (categories, authors) if max(codes, default=-1) >= 0]

    def similarity(i: int, j: int) -> float:
        return sum(codes[i] == codes[j] >= 0 for codes in kinds) / max(len(kinds), 1)

    def relevance(i: int) -> float:
        most_alike = max((similarity(i, j) for j in chosen), default=0.0)
        return (1 - policy.diversity) * values[i] / values[0] - policy.diversity * most_alike

    def obeys(i: int) -> bool:
        caps = (policy.max_per_category, categories), (policy.max_per_author, authors)
        return all(
            cap is None or codes[i] < 0 or sum(codes[j] == codes[i] for j in chosen) < cap
            for cap, codes in caps
        )

    while left and len(chosen) < n:
        free = [i for i in left if len(chosen) >= 10 or obeys(i)] or left
        best = max(free, key=lambda i: (relevance(i), -i)) if policy.diversity else free[0]
        chosen.append(best)
        left.remove(best)
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3])
@pytest.mark.parametrize("caps", [(None, None), (2, None), (3, 1)])
def test_the_order_is_that_of_the_definition(
    diversity: float, caps: tuple[int | None, int | None]
) -> None:
    random = np.random.default_rng(20)
    ids = [f"i{i:02}" for i in range(60)]
    rows: list[dict[str, Any]] = [{"item_id": item} for item in ids]
    for row in rows:
        if random.random() < 0.8:
            row["category_id"] = f"c{random.integers(6)}"
        if random.random() < 0.8:
            row["author_key"] = f"w{random.integers(20)}"
    items = items_of(rows)
    users = {
        f"u{u}": [
            # Quarters: relevance of the definition and ours round alike.
            {"item": ids[i], "value": float(random.integers(1, 5)) / 4}
            for i in random.choice(60, int(random.integers(0, 60)), replace=False)
        ]
        for u in range(40)
    }
    policy = Policy((), None, *caps, diversity=diversity)
    surface = replace(POSTS, n_items=25, policy=policy)
    block = block_of(items, users)
    shown = apply_policy(surface, DAY, items, block)
    for user, candidates in enumerate(users.values()):
        ranked = sorted(candidates, key=lambda c: (-c["value"], c["item"]))
        at = [ids.index(c["item"]) for c in ranked]
        order = naive_order(
            [c["value"] for c in ranked], items.categories[at], items.authors[at], policy, 25
        )
        expected = [ranked[i]["item"] for i in order]
        assert lists_of(shown, items, block)[user] == expected, user


def test_lists_do_not_depend_on_who_else_is_in_the_block_or_on_the_order_of_candidates() -> None:
    random = np.random.default_rng(3)
    items = items_of([{"item_id": f"i{i}", "category_id": f"c{i % 3}"} for i in range(9)])
    users = {
        f"u{u}": [
            {"item": f"i{i}", "value": float(random.random())}
            for i in random.permutation(9)[: u + 1]
        ]
        for u in range(6)
    }
    surface = surface_of(PRODUCTS, 5, max_per_category=1, diversity=0.2, exploration=0.3)

    def lists(block: Block) -> list[list[str]]:
        return lists_of(apply_policy(surface, DAY, items, block), items, block)

    together = lists(block_of(items, users))
    alone = [lists(block_of(items, {user: users[user][::-1]}))[0] for user in users]
    assert together == alone


def test_a_policy_is_known_by_what_it_says() -> None:
    assert policy_id(PRODUCTS) == policy_id(replace(PRODUCTS, doc="Other words."))
    different = [
        PRODUCTS,
        replace(PRODUCTS, repeats=True),
        replace(PRODUCTS, n_items=7),
        surface_of(PRODUCTS, 100, exploration=0.1),
        replace(PRODUCTS, outcomes=(Outcome("order", 1.0), Outcome("like", 0.0))),
        replace(PRODUCTS, outcomes=(Outcome("order", 0.0), Outcome("like", 1.0))),
        POSTS,
    ]
    assert len({policy_id(surface) for surface in different}) == len(different)


def test_arrays_of_other_lengths_are_refused() -> None:
    items = items_of([{"item_id": "a"}])
    with pytest.raises(ContractError) as error:
        block_of(
            items,
            {"ann": [{"item": "a"}]},
            probabilities={"order": np.zeros(2, np.float32)},
            birth_years=np.zeros(3, np.int32),
        )
    assert str(error.value) == (
        "block of candidates: birth_years: expected 1, found 3; "
        "probabilities of order: expected 1, found 2"
    )
