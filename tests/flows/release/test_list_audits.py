"""Audits of lists, each with a row that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS, REC_LISTS
from contracts.surfaces import ERASED_FROM_LIST, Policy, Surface
from flows.release.audit import Audited, raise_if_failed
from flows.release.list_audits import ListFiles, audit_list_drift, audit_lists
from tests.flows.release.hand_made_lists import DAY, GOOD, PRODUCTS, Row, failures, shown, write


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., ListFiles]:
    """Files of lists; ann had the hat and blocked the axe, was shown the cap 21 times, and wrote
    the book, and wine is for those of 18, as which bob is known."""
    items: list[Row] = [{"item_id": item} for item in ("axe", "cap", "cup", "hat", "pen")]
    items += [
        {"item_id": "book", "author_key": "ann"},
        {"item_id": "fad", "n_users_30d": 3},
        {"item_id": "gone", "available": False},
        {"item_id": "wine", "min_age": 18},
        {"item_id": "elsewhere", "surface": "ads"},
    ]
    of_ann = {
        "item_ids": ["axe", "cap", "hat"],
        "owned": [0, 0, 1],
        "blocked": [1, 0, 0],
        "n_impressions": [0, 21, 20],
    }
    others = [{"user_key": user, "birth_year": 1990} for user in ("bob", "cat")]
    histories: list[Row] = [{"user_key": "ann", **of_ann}, *others]
    pq.write_table(pa.table({"user_key": ["ann", "bob", "cat"]}), tmp_path / "features")
    of_items = write(tmp_path / "items", REC_ITEMS, items)
    of_histories = write(tmp_path / "histories", REC_HISTORIES, histories)

    def files(*lists: Row) -> ListFiles:
        path = tmp_path / f"lists{len([*tmp_path.iterdir()])}"
        of_lists = write(path, REC_LISTS, [*lists])
        return ListFiles(of_lists, of_items, of_histories, [str(tmp_path / "features")])

    return files


COUNTS = "products: as many items, and the reason, as candidates and filters leave"


def test_lists_that_are_as_they_should_be_pass(files: Callable[..., ListFiles]) -> None:
    audited = audit_lists(files(*GOOD), [PRODUCTS], DAY)
    assert [(a.check, a.found) for a in audited] == [
        ("no surface that is off", "0 lists of others"),
        ("products: every known user has a list, no other",
         "3 known, 3 lists of 3 users, 0 unknown"),
        ("products: 2 items each, or a reason",
         "0 lists longer, 0 shorter without a reason, 0 with a reason for nothing"),
        ("products: a value of each item", "0 lists without"),
        ("products: no item twice", "0 lists with one"),
        ("products: every item is known and may be shown",
         "0 unknown, 0 unavailable, 0 of the users themselves, 0 for older ones"),
        ("products: nothing owned, blocked, or shown too often",
         "0 owned, 0 blocked, 0 shown too often"),
        ("products: as many items, and the reason, as candidates and filters leave",
         "0 lists with others"),
        ("products: a propensity above 0 and at most 1", "0 lists with others"),
        ("products: the most valuable come first", "0 lists in another order"),
    ]  # fmt: skip
    assert failures(audited) == []


@pytest.mark.parametrize(
    ("lists", "failure"),
    [
        ([*GOOD, {**GOOD[0], "surface": "ads"}],
         ("no surface that is off", "1 list of others")),
        ([*GOOD[:2]],
         ("products: every known user has a list, no other",
          "3 known, 2 lists of 2 users, 0 unknown")),
        ([*GOOD, GOOD[0]],
         ("products: every known user has a list, no other",
          "3 known, 4 lists of 3 users, 0 unknown")),
        ([*GOOD, shown("dan", "cup", "pen")],
         ("products: every known user has a list, no other",
          "3 known, 4 lists of 4 users, 1 unknown")),
        ([*GOOD[:2], shown("cat", "hat", shortfall=None)],
         ("products: 2 items each, or a reason",
          "0 lists longer, 1 shorter without a reason, 0 with a reason for nothing")),
        ([*GOOD[:2], shown("cat", "hat", "pen", "cup", shortfall=None)],
         ("products: 2 items each, or a reason",
          "1 list longer, 0 shorter without a reason, 0 with a reason for nothing")),
        ([*GOOD[:2], shown("cat", "hat", "pen", shortfall="no candidates")],
         ("products: 2 items each, or a reason",
          "0 lists longer, 0 shorter without a reason, 1 with a reason for nothing")),
        ([*GOOD[:2], shown("cat", "hat", "pen", p_order=[0.5])],
         ("products: a value of each item", "1 list without")),
        ([*GOOD[:2], shown("cat", "hat", "pen", propensities=[])],
         ("products: a value of each item", "1 list without")),
        ([*GOOD[:2], shown("cat", "hat", "hat")],
         ("products: no item twice", "1 list with one")),
        ([*GOOD[:2], shown("cat", "hat", "elsewhere")],
         ("products: every item is known and may be shown",
          "1 unknown, 0 unavailable, 0 of the users themselves, 0 for older ones")),
        ([*GOOD[:2], shown("cat", "gone", "hat")],
         ("products: every item is known and may be shown",
          "0 unknown, 1 unavailable, 0 of the users themselves, 0 for older ones")),
        ([*GOOD[1:], shown("ann", "book", "cup")],
         ("products: every item is known and may be shown",
          "0 unknown, 0 unavailable, 1 of the users themselves, 0 for older ones")),
        ([*GOOD[1:], shown("ann", "wine", "cup")],  # of unknown age
         ("products: every item is known and may be shown",
          "0 unknown, 0 unavailable, 0 of the users themselves, 1 for older ones")),
        ([*GOOD[1:], shown("ann", "cup", "hat")],
         ("products: nothing owned, blocked, or shown too often",
          "1 owned, 0 blocked, 0 shown too often")),
        ([*GOOD[1:], shown("ann", "axe", "cup")],
         ("products: nothing owned, blocked, or shown too often",
          "0 owned, 1 blocked, 0 shown too often")),
        ([*GOOD[1:], shown("ann", "cap", "cup")],
         ("products: nothing owned, blocked, or shown too often",
          "0 owned, 0 blocked, 1 shown too often")),
    ],
)  # fmt: skip
def test_a_list_that_breaks_a_rule_is_found(
    files: Callable[..., ListFiles], lists: list[Row], failure: tuple[str, str]
) -> None:
    audited = audit_lists(files(*lists), [PRODUCTS], DAY)
    # Lengths and reasons that cannot be break what candidates and filters leave, too.
    assert [f for f in failures(audited) if f[0] != COUNTS] == [failure]


@pytest.mark.parametrize(
    ("surface", "passes"),
    [
        (PRODUCTS, False),
        (replace(PRODUCTS, repeats=True), True),
        (replace(PRODUCTS, policy=Policy(filters=("blocked",))), True),
    ],
)
def test_what_a_surface_allows_is_no_failure(
    files: Callable[..., ListFiles], surface: Surface, passes: bool
) -> None:
    audited = audit_lists(files(*GOOD[1:], shown("ann", "cup", "hat")), [surface], DAY)
    assert all(a.passed for a in audited) == passes


def test_failing_lists_stop_the_release_with_their_numbers(
    files: Callable[..., ListFiles],
) -> None:
    with pytest.raises(ContractError) as error:
        raise_if_failed(audit_lists(files(*GOOD[:2], shown("cat", "hat", "hat")), [PRODUCTS], DAY))
    assert str(error.value) == (
        "rec_lists fails its audit; the release before stays current:\n"
        "  products: no item twice: 1 list with one"
    )


def test_lists_that_cover_too_little_are_found(files: Callable[..., ListFiles]) -> None:
    lists = files(*(shown(user, "cup", "pen") for user in ("ann", "bob", "cat")))
    # Eight items, of which seven can be shown, but there are places for six.
    (covered,) = audit_list_drift(lists, None, [PRODUCTS], DAY, 0.3, None, None)
    assert (covered.check, covered.found, covered.passed) == (
        "products: lists cover what can be shown",
        "33.33% of 6 items, at least 30.00% expected",
        True,
    )
    (covered,) = audit_list_drift(lists, None, [PRODUCTS], DAY, 0.4, None, None)
    assert not covered.passed


def test_lists_that_are_all_new_are_found(files: Callable[..., ListFiles], tmp_path: Path) -> None:
    users = [f"u{u}" for u in range(100)]
    before = write(tmp_path / "a", REC_LISTS, [shown(user, "cup", "pen") for user in users])
    # The half of everybody's list is new; one user had no list before.
    lists = files(*(shown(user, "cup", "hat") for user in [*users, "new"]))
    (changed,) = audit_list_drift(lists, before, [PRODUCTS], DAY, None, 0.4, None)
    assert (changed.check, changed.found, changed.passed) == (
        "products: lists are much as before",
        "50.0% of a list is new, at most 40.0% expected",
        False,
    )
    (changed,) = audit_list_drift(lists, before, [PRODUCTS], DAY, None, 0.5, None)
    assert changed.passed
    # What a surface says of itself goes before what is said of all.
    for own, of_all, passed in ((0.6, 0.4, True), (0.4, 0.6, False), (0.6, None, True)):
        surface = replace(PRODUCTS, max_list_change=own)
        (changed,) = audit_list_drift(lists, before, [surface], DAY, None, of_all, None)
        assert changed.passed is passed, (own, of_all)
    few = files(*(shown(user, "cup", "hat") for user in users[:99]))
    assert audit_list_drift(few, before, [PRODUCTS], DAY, None, 0.1, None) == ()
    assert audit_list_drift(lists, None, [PRODUCTS], DAY, None, 0.1, None) == ()


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({"n_candidates": 5, "n_owned": 2, "n_blocked": 1}, True),
        ({"n_candidates": 5}, True),
        ({"n_candidates": 5, "n_owned": 2, "n_blocked": 2}, False),  # leaves one
        ({"n_candidates": 1}, False),
    ],
)
def test_a_list_is_as_long_as_its_counts_say(
    files: Callable[..., ListFiles], fields: Row, passes: bool
) -> None:
    lists = files(*GOOD[:2], shown("cat", "hat", "pen", **fields))
    expected = [] if passes else [(COUNTS, "1 list with others")]
    assert failures(audit_lists(lists, [PRODUCTS], DAY)) == expected


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({"shortfall": "no candidates", "n_candidates": 0}, True),
        ({"shortfall": "no candidates", "n_candidates": 3, "n_owned": 3}, False),
        ({"shortfall": "too few left by the filters", "n_candidates": 3, "n_owned": 3}, True),
        ({"shortfall": "too few candidates", "n_candidates": 1, "n_owned": 1}, True),
        ({"shortfall": "too few left by the filters", "n_candidates": 1, "n_owned": 1}, False),
        ({"shortfall": ERASED_FROM_LIST, "n_candidates": 9}, True),
    ],
)
def test_a_list_is_short_for_the_reason_that_its_counts_give(
    files: Callable[..., ListFiles], fields: Row, passes: bool
) -> None:
    lists = files(*GOOD[:2], shown("cat", **fields))
    expected = [] if passes else [(COUNTS, "1 list with others")]
    assert failures(audit_lists(lists, [PRODUCTS], DAY)) == expected


@pytest.mark.parametrize("propensity", [0.0, 1.5, float("nan")])
def test_a_propensity_that_cannot_be_is_found(
    files: Callable[..., ListFiles], propensity: float
) -> None:
    lists = files(*GOOD[:2], shown("cat", "hat", "pen", propensities=[1.0, propensity]))
    failure = ("products: a propensity above 0 and at most 1", "1 list with others")
    assert failures(audit_lists(lists, [PRODUCTS], DAY)) == [failure]


def test_a_less_valuable_item_comes_first_only_where_the_policy_says_so(
    files: Callable[..., ListFiles],
) -> None:
    lists = files(*GOOD[:2], shown("cat", "hat", "pen", values=[0.5, 1.0]))
    failure = ("products: the most valuable come first", "1 list in another order")
    assert failures(audit_lists(lists, [PRODUCTS], DAY)) == [failure]
    for policy in (Policy(diversity=0.1), Policy(exploration=0.1), Policy(max_per_author=1)):
        assert failures(audit_lists(lists, [replace(PRODUCTS, policy=policy)], DAY)) == []


@pytest.mark.parametrize(("power", "n_found"), [(0.0, 1), (0.4, 1), (0.6, 0)])
def test_what_many_had_may_come_later_by_as_much_as_the_policy_discounts(
    files: Callable[..., ListFiles], power: float, n_found: int
) -> None:
    """Three users had the fad, which by a power of a half is worth half its value of 1."""
    surface = replace(PRODUCTS, policy=Policy(popularity_discount=power))
    lists = files(*GOOD[:2], shown("cat", "pen", "fad", values=[0.5, 1.0]))
    found = "1 list in another order"
    expected = [("products: the most valuable come first", found)] * n_found
    assert failures(audit_lists(lists, [surface], DAY)) == expected
    # Nothing is discounted where one list gives the order, for then a value is one over the place.
    values = {"values": [1.0, 0.5], "ranker_id": "source:popular_10d"}
    lists = files(*GOOD[:2], shown("cat", "fad", "pen", **values))
    assert failures(audit_lists(lists, [surface], DAY)) == []


@pytest.mark.parametrize(
    ("policy", "ids", "n_breaking"),
    [
        (Policy(max_per_author=3), "aaabbbcccdaa", 0),
        (Policy(max_per_author=3), "aaaabbbcccdd", 1),
        (Policy(max_per_author=3), "aaabbbccc-ad", 0),
        (Policy(max_per_category=3), "aaaabbbcccdd", 1),
        (Policy(max_per_author=3), "aaaabbbccc", 0),  # nothing below that could stand there
        (Policy(max_per_author=2), "aabbaaaaaaab", 0),  # nothing else was left
        (Policy(max_per_author=2), "aabbaaaaaaa-", 1),  # what has no author breaks no cap
    ],
)
def test_a_list_that_needlessly_breaks_a_cap_is_found(
    tmp_path: Path, policy: Policy, ids: str, n_breaking: int
) -> None:
    items = [f"{of}{i}" for i, of in enumerate(ids)]
    of = {item: None if item[0] == "-" else item[0] for item in items}
    surface = replace(PRODUCTS, policy=policy, n_items=len(items))
    pq.write_table(pa.table({"user_key": ["ann"]}), tmp_path / "features")
    catalogue: list[Row] = [
        {"item_id": item, "author_key": of[item], "category_id": of[item]} for item in items
    ]
    files = ListFiles(
        write(tmp_path / "lists", REC_LISTS, [shown("ann", *items, shortfall=None)]),
        write(tmp_path / "items", REC_ITEMS, catalogue),
        write(tmp_path / "histories", REC_HISTORIES, [{"user_key": "ann"}]),
        [str(tmp_path / "features")],
    )
    lists = "1 list" if n_breaking else "0 lists"
    (capped,) = (a for a in audit_lists(files, [surface], DAY) if "caps" in a.check)
    assert (capped.check, capped.found, capped.passed) == (
        "products: caps hold in the first 10 places",
        f"{lists} that need not break one",
        not n_breaking,
    )


def test_lists_that_are_the_same_for_everybody_are_found(
    files: Callable[..., ListFiles], tmp_path: Path
) -> None:
    users = [f"u{u:02}" for u in range(60)]
    known = write(
        tmp_path / "known",
        REC_HISTORIES,
        [
            {"user_key": u, "item_ids": ["axe"], "owned": [0], "blocked": [0], "n_impressions": [0]}
            for u in users[:50]
        ],
    )

    def audited(n_others: int, n_known: int = 50, ranker_id: str = "r") -> tuple[Audited, ...]:
        lists = files(
            *(
                shown(
                    user, *(("hat", "cup") if n < n_others else ("cup", "hat")), ranker_id=ranker_id
                )
                for n, user in enumerate(users[60 - n_known - 10 :])
            )
        )
        of_known = replace(lists, histories=known)
        return audit_list_drift(of_known, None, [PRODUCTS], DAY, None, None, 0.9)

    (differ,) = audited(4)
    assert (differ.check, differ.found, differ.passed) == (
        "products: lists differ between users",
        "92.0% of 50 users with a history have the same first 10 items, at most 90.0% expected",
        False,
    )
    assert audited(5)[0].passed
    assert audited(0, n_known=49) == ()
    assert audited(0, ranker_id="source:popular_10d") == ()
    assert not audited(0, ranker_id="source:together")[0].passed
