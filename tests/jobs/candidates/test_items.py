"""What each surface can recommend as of a midnight."""

from __future__ import annotations

from datetime import date

from contracts.recommendation_tables import REC_ITEMS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from jobs.candidates.items import Known, rec_items
from tests.conftest import MakeTable, rows_of
from tests.jobs.candidates.hand_made import (
    AS_OF,
    SURFACE,
    days_since_1970,
    known_users,
    tiles,
    weight,
)


def test_an_item_is_known_from_its_version_or_by_what_was_done_with_it(table: MakeTable) -> None:
    """The newest version that landed before midnight holds; what landed later is not there yet."""
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event | day        | landed_on  | n | units | amount_minor
        ann      | item        | i1        | order | 2025-01-31 | 2025-01-31 | 2 | 3     | 1000
        bob      | item        | i1        | order | 2025-01-01 | 2025-01-01 | 1 | 1     | 400
        bob      | item        | i1        | view  | 2024-12-31 | 2024-12-31 | 1 | 0     | 0
        cid      | item        | i1        | order | 2025-01-31 | 2025-02-01 | 1 | 1     | 0
        ann      | item        | i3        | view  | 2025-01-02 | 2025-01-02 | 1 | 0     | 0
        ann      | ad          | a1        | click | 2025-01-02 | 2025-01-02 | 1 | 0     | 0
        """,
    )
    items = table(
        """
        item_id | category_id | title | price_minor | available | min_age | occurred_at         | landed_on
        i1      | old         | One   | 100         | true      | -       | 2025-01-05T00:00:00 | 2025-01-05
        i1      | c1          | One   | -           | false     | 18      | 2025-01-06T00:00:00 | 2025-01-06
        i1      | next        | One   | -           | true      | -       | 2025-01-07T00:00:00 | 2025-02-01
        i2      | c2          | Two   | 250         | -         | -       | 1970-01-01T00:00:00 | 2025-01-01
        i4      | c2          | Four  | -           | -         | -       | 2025-02-01T00:00:00 | 2025-01-31
        """,
        ITEMS,
    )
    rows = rec_items(Known(interactions, items), [SURFACE["products"]], [AS_OF])
    assert tuple(rows.columns) == REC_ITEMS.names
    said = ("item_id", "category_id", "title", "price_minor", "available", "min_age")
    assert rows_of(rows, *said) == [
        ("i1", "c1", "One", 350, False, 18),  # 1,400 for 4 units
        ("i2", "c2", "Two", 250, True, None),
        ("i3", None, None, None, True, None),
    ]
    counts = ("item_id", "n_users", "n_users_30d", "n_goals_30d", "popularity_1d", "popularity_30d")
    assert rows_of(rows, *counts) == [
        ("i1", 2, 1, 2, 2 * weight(1, 1) + weight(31, 1), 2 * weight(1, 30) + weight(31, 30)),
        ("i2", 0, 0, 0, 0, 0),
        ("i3", 1, 1, 0, 0, 0),
    ]
    # Bob's view of i1 is 32 days old, so that his order is none of a new user.
    new_users = ("item_id", "n_new_users_7d", "n_new_users_30d")
    assert rows_of(rows, *new_users) == [("i1", 1, 1), ("i2", 0, 0), ("i3", 0, 1)]
    days = [
        ("i1", days_since_1970(date(2024, 12, 31)), days_since_1970(date(2025, 1, 31))),
        ("i2", 0, -1),  # nobody knows since when
        ("i3", days_since_1970(date(2025, 1, 2)), days_since_1970(date(2025, 1, 2))),
    ]
    assert rows_of(rows, "item_id", "first_day", "last_day") == days


def test_a_post_is_shown_up_to_its_age_and_an_old_one_only_says_what_its_users_like(
    table: MakeTable,
) -> None:
    """Posts older than 14 days that nobody touched have no row, nor have posts without an author.
    Who met a post before its own day met it all the same: it is as old as that."""
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event      | day
        ann      | post        | liked     | like       | 2025-01-31
        ann      | post        | shown     | impression | 2025-01-30
        ann      | post        | early     | like       | 2025-01-16
        ann      | post        | timeless  | like       | 2025-01-20
        ann      | post        | unknown   | like       | 2025-01-30
        """,
    )
    posts = table(
        """
        post_id | user_key | category_id | occurred_at         | landed_on
        liked   | bob      | news        | 2025-01-01T10:00:00 | 2025-01-01
        shown   | bob      | -           | 2025-01-01T10:00:00 | 2025-01-01
        fresh   | cid      | -           | 2025-01-18T00:00:00 | 2025-01-18
        stale   | cid      | -           | 2025-01-17T23:59:59 | 2025-01-17
        early   | cid      | -           | 2025-01-18T00:00:00 | 2025-01-18
        timeless | cid     | -           | 1970-01-01T00:00:00 | 2025-01-18
        """,
        POSTS,
    )
    rows = rec_items(Known(interactions, posts=posts), [SURFACE["posts"]], [AS_OF])
    said = ("item_id", "author_key", "category_id", "n_users", "available")
    assert rows_of(rows, *said) == [
        ("early", "cid", None, 1, False),
        ("fresh", "cid", None, 0, True),
        ("liked", "bob", "news", 1, False),
        ("timeless", "cid", None, 1, True),
    ]


def test_ads_are_those_that_anybody_ever_met(table: MakeTable) -> None:
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event      | day        | n
        ann      | ad          | a1        | impression | 2024-06-01 | 3
        ann      | ad          | a2        | click      | 2025-01-31 | 1
        ann      | ad          | a2        | impression | 2025-01-31 | 5
        ann      | ad          | a3        | click      | 2025-02-01 | 1
        """,
    )
    rows = rec_items(Known(interactions), [SURFACE["ads"]], [AS_OF])
    assert rows_of(rows, "item_id", "n_users", "n_impressions_30d", "n_goals_30d") == [
        ("a1", 0, 0, 0),
        ("a2", 1, 5, 1),
    ]


def test_people_are_all_known_users_as_popular_as_they_are_followed(table: MakeTable) -> None:
    """Edges without a time count as of today, while they stand, and have no day."""
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event    | day
        ann      | user        | bob       | follow   | 2025-01-31
        cid      | user        | bob       | view     | 2025-01-30
        ann      | user        | nobody    | follow   | 2025-01-31
        """,
    )
    follows = table(
        """
        follow_id | user_key | followed_key | kind     | valid_from          | occurred_at         | landed_on
        f1        | ann      | bob          | follow   | 2025-01-31T08:00:00 | 2025-01-31T08:00:00 | 2025-01-31
        f2        | dan      | bob          | follow   | 2025-01-20T00:00:00 | -                   | 2025-01-20
        f3        | dan      | cid          | follow   | 2025-01-20T00:00:00 | -                   | 2025-01-20
        f4        | dan      | cid          | unfollow | 2025-01-21T00:00:00 | 2025-01-21T00:00:00 | 2025-01-21
        f5        | dan      | ann          | follow   | -                   | -                   | 2025-01-20
        """,
        FOLLOWS,
    )
    users = known_users(table, {"ann": 40, "bob": 10, "cid": 3, "dan": 1})
    known = Known(interactions, timeless=follows, users=users)
    rows = rec_items(known, [SURFACE["people"]], [AS_OF])
    today = days_since_1970(AS_OF)
    counts = ("item_id", "first_day", "n_users", "n_goals_30d", "popularity_1d", "last_day")
    assert rows_of(rows, *counts) == [
        ("ann", today - 40, 0, 0, 0, -1),
        ("bob", today - 10, 3, 1, 2**19 + 2**20, today - 1),
        ("cid", today - 3, 0, 0, 0, -1),
        ("dan", today - 1, 0, 0, 0, -1),
    ]


def test_several_midnights_and_surfaces_at_once_are_each_as_alone(table: MakeTable) -> None:
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event | day        | landed_on
        ann      | item        | i1        | order | 2025-01-31 | 2025-01-31
        ann      | item        | i1        | order | 2025-01-10 | 2025-01-20
        bob      | ad          | a1        | click | 2025-01-14 | 2025-01-14
        """,
    )
    known, days = Known(interactions), [date(2025, 1, 15), AS_OF]
    surfaces = [SURFACE["products"], SURFACE["ads"]]
    alone = [
        row
        for surface in surfaces
        for day in days
        for row in rows_of(rec_items(known, [surface], [day]), *REC_ITEMS.names)
    ]
    together = rows_of(rec_items(known, surfaces, days), *REC_ITEMS.names)
    assert together == sorted(alone, key=str)
    assert [row[:3] for row in together] == [
        (days[0], "ads", "a1"), (days[1], "ads", "a1"), (days[1], "products", "i1"),
    ]  # fmt: skip
