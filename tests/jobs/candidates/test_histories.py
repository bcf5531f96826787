"""What each known user had to do with what a surface recommends."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, Row

from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS
from contracts.source_tables.blocks import BLOCKS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.users import USERS
from jobs.candidates.histories import Known, rec_histories
from tests.conftest import MakeTable
from tests.jobs.candidates.hand_made import (
    AS_OF,
    SURFACE,
    days_since_1970,
    entries_of,
    known_users,
    tiles,
    weight,
)

TODAY = days_since_1970(AS_OF)
USERS_OF = {"ann": 9, "bob": 9, "cid": 9}


def catalogue(table: MakeTable, surface: str, items: str) -> DataFrame:
    """`rec_items` of some items, each with its category and author or `-`."""
    lines = [f"{AS_OF} | {surface} | {item}" for item in items.strip().splitlines()]
    head = "as_of | surface | item_id | category_id | author_key"
    return table("\n".join([head, *lines]), REC_ITEMS, available=True)


def histories_of(surface: str, known: Known) -> dict[tuple[str, int], Row]:
    rows = rec_histories(known, [SURFACE[surface]], [AS_OF])
    assert tuple(rows.columns) == REC_HISTORIES.names
    collected = rows.collect()
    by_user = {(row.user_key, row.fold): row for row in collected}
    assert len(by_user) == len(collected)
    return by_user


def entry(**said: Any) -> dict[str, Any]:
    """An entry that says nothing but this."""
    nothing = {
        "signals": 0, "n_days": 0, "n_goals": 0, "first_days": -1, "last_days": -1, "gaps": -1,
        "owned": 0, "blocked": 0, "n_impressions": 0,
    }  # fmt: skip
    return nothing | said


def test_every_known_user_has_a_row_with_own_items_in_order(table: MakeTable) -> None:
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event  | day        | landed_on  | n
        ann      | item        | i2        | view   | 2025-01-02 | 2025-01-02 | 3
        ann      | item        | i1        | order  | 2025-01-11 | 2025-01-11 | 1
        ann      | item        | i1        | order  | 2025-01-11 | 2025-01-12 | 1
        ann      | item        | i1        | order  | 2025-01-21 | 2025-01-21 | 1
        ann      | item        | i1        | review | 2025-01-24 | 2025-01-24 | 1
        ann      | item        | i1        | order  | 2025-01-31 | 2025-02-01 | 1
        ann      | item        | gone      | order  | 2025-01-24 | 2025-01-24 | 1
        zoe      | item        | i1        | order  | 2025-01-24 | 2025-01-24 | 1
        """,
    )
    users = table(
        """
        user_key | country | birth_year | occurred_at         | landed_on
        ann      | DE      | 1990       | 2025-01-01T00:00:00 | 2025-01-01
        ann      | FR      | 1991       | 2025-01-02T00:00:00 | 2025-01-02
        ann      | IT      | 1992       | 2025-01-03T00:00:00 | 2025-02-01
        """,
        USERS,
    )
    known = Known(
        interactions,
        known_users(table, {"ann": 9, "bob": 9}),
        catalogue(table, "products", "i1 | c1 | -\ni2 | c2 | -\ni3 | c1 | -"),
        users,
    )
    rows = histories_of("products", known)
    assert sorted(rows) == [("ann", 0), ("bob", 0)]
    ann, bob = rows["ann", 0], rows["bob", 0]
    assert (ann.country, ann.birth_year, ann.favourite_category) == ("FR", 1991, "c1")
    assert ann.item_ids == ["i1", "i2"]
    assert entries_of(ann) == {
        "i1": entry(
            signals=8 * (2 * weight(21, 30) + weight(11, 30) + weight(8, 30)),
            n_days=3,
            n_goals=4,
            first_days=TODAY - 21,
            last_days=TODAY - 8,
            gaps=6,  # between 10 and 3, rounded down
            owned=1,
        ),
        "i2": entry(
            signals=3 * weight(30, 30), first_days=TODAY - 30, last_days=TODAY - 30
        ),
    }  # fmt: skip
    assert (bob.country, bob.favourite_category, bob.item_ids) == (None, None, [])


def test_orders_of_which_nothing_is_left_are_neither_owned_nor_goals(table: MakeTable) -> None:
    """i1 is undone, in two parts; of i2 a unit is left, of i3 the older order; what undoes i4
    lands tonight; i5 is bought again after it."""
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event | day        | landed_on  | units
        ann      | item        | i1        | order | 2025-01-11 | 2025-01-11 | 3
        ann      | item        | i1        | undo  | 2025-01-11 | 2025-01-11 | 1
        ann      | item        | i1        | undo  | 2025-01-21 | 2025-01-31 | 2
        ann      | item        | i2        | order | 2025-01-11 | 2025-01-11 | 3
        ann      | item        | i2        | undo  | 2025-01-21 | 2025-01-21 | 2
        ann      | item        | i3        | order | 2025-01-11 | 2025-01-11 | 1
        ann      | item        | i3        | order | 2025-01-21 | 2025-01-21 | 1
        ann      | item        | i3        | undo  | 2025-01-31 | 2025-01-31 | 1
        ann      | item        | i4        | order | 2025-01-11 | 2025-01-11 | 1
        ann      | item        | i4        | undo  | 2025-01-12 | 2025-02-01 | 1
        ann      | item        | i5        | order | 2025-01-11 | 2025-01-11 | 1
        ann      | item        | i5        | undo  | 2025-01-12 | 2025-01-12 | 9
        ann      | item        | i5        | order | 2025-01-21 | 2025-01-21 | 1
        """,
    )
    items = "\n".join(f"i{n} | - | -" for n in range(1, 6))
    known = Known(
        interactions, known_users(table, {"ann": 30}), catalogue(table, "products", items)
    )
    ann = histories_of("products", known)["ann", 0]

    def ordered(days: int) -> dict[str, Any]:
        return entry(
            signals=8 * weight(days, 30), n_days=1, n_goals=1, owned=1,
            first_days=TODAY - days, last_days=TODAY - days,
        )  # fmt: skip

    assert entries_of(ann) == {
        "i2": ordered(21), "i3": ordered(21), "i4": ordered(21), "i5": ordered(11)
    }  # fmt: skip


def test_an_ad_that_two_logs_say_was_seen_was_shown_once_whenever_either_landed(
    table: MakeTable,
) -> None:
    """Impressions of a1 have both views of it; a2 is in the views only, a3 more often there."""
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event      | day        | landed_on  | n
        ann      | ad          | a1        | ad_view    | 2025-01-20 | 2025-01-20 | 2
        ann      | ad          | a1        | impression | 2025-01-20 | 2025-01-20 | 1
        ann      | ad          | a1        | impression | 2025-01-20 | 2025-01-21 | 2
        ann      | ad          | a2        | ad_view    | 2025-01-20 | 2025-01-20 | 1
        ann      | ad          | a2        | ad_view    | 2025-01-21 | 2025-01-21 | 1
        ann      | ad          | a3        | ad_view    | 2025-01-20 | 2025-01-22 | 4
        ann      | ad          | a3        | impression | 2025-01-20 | 2025-01-20 | 1
        ann      | ad          | a3        | ad_view    | 2025-01-20 | 2025-02-01 | 9
        """,
    )
    items = "a1 | - | -\na2 | - | -\na3 | - | -"
    known = Known(interactions, known_users(table, {"ann": 30}), catalogue(table, "ads", items))
    ann = histories_of("ads", known)["ann", 0]
    shown = {ad: of["n_impressions"] for ad, of in entries_of(ann).items()}
    assert shown == {"a1": 3, "a2": 2, "a3": 4}


def test_impressions_count_for_30_days_and_only_since_the_user_did_something(
    table: MakeTable,
) -> None:
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event      | day        | n
        ann      | item        | i1        | impression | 2025-01-02 | 1
        ann      | item        | i1        | impression | 2025-01-01 | 9
        ann      | item        | i2        | impression | 2025-01-20 | 5
        ann      | item        | i2        | view       | 2025-01-20 | 1
        ann      | item        | i2        | impression | 2025-01-21 | 2
        ann      | item        | i3        | impression | 2024-12-01 | 2
        """,
    )
    items = catalogue(table, "products", "i1 | - | -\ni2 | - | -\ni3 | - | -")
    known = Known(interactions, known_users(table, {"ann": 9}), items)
    entries = entries_of(histories_of("products", known)["ann", 0])
    assert entries == {
        "i1": entry(n_impressions=1),
        "i2": entry(
            n_impressions=2,
            signals=weight(12, 30),
            first_days=TODAY - 12,
            last_days=TODAY - 12,
        ),
    }


def test_blocks_hold_until_they_are_undone_and_work_both_ways_between_users(
    table: MakeTable,
) -> None:
    blocks = table(
        """
        block_id | user_key | target_kind | target_id | kind    | occurred_at         | landed_on
        b1       | ann      | user        | bob       | block   | 2025-01-01T00:00:00 | 2025-01-01
        b2       | ann      | user        | cid       | block   | 2025-01-01T00:00:00 | 2025-01-01
        b3       | ann      | user        | cid       | unblock | 2025-01-02T00:00:00 | 2025-01-02
        b4       | bob      | item        | i1        | block   | 2025-01-01T00:00:00 | 2025-01-01
        b5       | bob      | post        | p3        | block   | 2025-01-01T00:00:00 | 2025-01-01
        b6       | cid      | user        | bob       | block   | 2025-01-31T00:00:00 | 2025-02-01
        """,
        BLOCKS,
    )
    none, users = tiles(table, "user_key | target_kind | target_id | day"), known_users(
        table, USERS_OF
    )  # fmt: skip
    people = catalogue(table, "people", "\n".join(f"{user} | - | -" for user in USERS_OF))
    rows = histories_of("people", Known(none, users, people, blocks=blocks))
    assert {user: entries_of(row) for (user, _), row in rows.items()} == {
        "ann": {"bob": entry(blocked=1)},
        "bob": {"ann": entry(blocked=1)},
        "cid": {},
    }
    posts = catalogue(table, "posts", "p1 | - | ann\np2 | - | bob\np3 | - | cid")
    rows = histories_of("posts", Known(none, users, posts, blocks=blocks))
    assert {user: list(entries_of(row)) for (user, _), row in rows.items()} == {
        "ann": ["p2"],
        "bob": ["p1", "p3"],
        "cid": [],
    }
    items = catalogue(table, "products", "i1 | - | -")
    rows = histories_of("products", Known(none, users, items, blocks=blocks))
    assert entries_of(rows["bob", 0]) == {"i1": entry(blocked=1)}
    # What was liked before it was blocked is no taste, nor is its category.
    liked = tiles(
        table,
        """
        user_key | target_kind | target_id | event | day
        ann      | post        | p2        | like  | 2025-01-20
        cid      | post        | p2        | like  | 2025-01-20
        """,
    )
    posts = catalogue(table, "posts", "p2 | news | bob")
    rows = histories_of("posts", Known(liked, users, posts, blocks=blocks))
    signals = {user: entries_of(rows[user, 0])["p2"]["signals"] > 0 for user in ("ann", "cid")}
    assert signals == {"ann": False, "cid": True}
    assert [rows[user, 0]["favourite_category"] for user in ("ann", "cid")] == [None, "news"]


def test_a_user_has_those_whom_they_follow_now(table: MakeTable) -> None:
    """An unfollow takes the signal back; a second follow gives it again."""
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event    | day
        ann      | user        | bob       | follow   | 2025-01-11
        ann      | user        | bob       | unfollow | 2025-01-12
        ann      | user        | cid       | follow   | 2025-01-11
        ann      | user        | cid       | unfollow | 2025-01-12
        ann      | user        | cid       | follow   | 2025-01-13
        ann      | user        | cid       | like     | 2025-01-31
        """,
    )
    follows = table(
        """
        follow_id | user_key | followed_key | kind     | valid_from          | occurred_at         | landed_on
        f1        | ann      | bob          | follow   | 2025-01-11T08:00:00 | 2025-01-11T08:00:00 | 2025-01-11
        f2        | ann      | bob          | unfollow | 2025-01-12T08:00:00 | 2025-01-12T08:00:00 | 2025-01-12
        f3        | ann      | cid          | follow   | 2025-01-11T08:00:00 | 2025-01-11T08:00:00 | 2025-01-11
        f4        | ann      | cid          | unfollow | 2025-01-12T08:00:00 | 2025-01-12T08:00:00 | 2025-01-12
        f5        | ann      | cid          | follow   | 2025-01-13T08:00:00 | 2025-01-13T08:00:00 | 2025-01-13
        """,
        FOLLOWS,
    )
    people = catalogue(table, "people", "\n".join(f"{user} | - | -" for user in USERS_OF))
    known = Known(interactions, known_users(table, USERS_OF), people, follows=follows)
    rows = histories_of("people", known)
    assert set(rows) == {("ann", 0), ("bob", 0), ("cid", 0)}  # all edges have a time: one fold
    assert entries_of(rows["ann", 0]) == {
        "bob": entry(n_days=1, n_goals=1, first_days=TODAY - 21, last_days=TODAY - 21),
        "cid": entry(
            n_days=2,
            n_goals=2,
            first_days=TODAY - 21,
            last_days=TODAY - 1,
            gaps=2,
            owned=1,
            signals=8 * (weight(21, 30) + weight(19, 30)) + 2 * weight(1, 30),
        ),
    }
