"""What is popular as of a midnight, and what is new."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame

from contracts.recommendation_tables import REC_ITEMS, REC_POPULAR
from contracts.source_tables.users import USERS
from jobs.candidates.popular import rec_popular
from tests.conftest import MakeTable
from tests.jobs.candidates.hand_made import AS_OF, SURFACE, days_since_1970, tiles, weight

TODAY = days_since_1970(AS_OF)
NONE = "user_key | target_kind | target_id | day"


def lists_of(
    table: MakeTable, items: DataFrame, surface: str = "products", n: int = 1, **given: DataFrame
) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Lists by segment and source."""
    interactions = given.get("interactions", tiles(table, NONE))
    rows = rec_popular(
        items, interactions, given.get("users"), [SURFACE[surface]], [AS_OF], n
    )  # fmt: skip
    assert tuple(rows.columns) == REC_POPULAR.names
    return {
        (r.segment, r.source): list(zip(r.item_ids, r.scores, strict=True)) for r in rows.collect()
    }


def test_lists_hold_the_best_of_what_may_be_shown_ties_by_id(table: MakeTable) -> None:
    """Three times as many as a user may get of it: the user may have the first ones."""
    items = table(
        f"""
        as_of   | surface  | item_id | category_id | available | first_day | popularity_1d | popularity_3d | popularity_10d | popularity_30d
        {AS_OF} | products | i1      | c1          | true      | 0         | 1048576       | 0             | 0              | 0
        {AS_OF} | products | i2      | c2          | true      | 0         | 2097152       | 0             | 0              | 0
        {AS_OF} | products | i3      | c1          | true      | 0         | 1048576       | 0             | 0              | 0
        {AS_OF} | products | i4      | -           | true      | 0         | 1             | 0             | 0              | 0
        {AS_OF} | products | i5      | c1          | false     | 0         | 9000000       | 0             | 0              | 0
        """,
        REC_ITEMS,
    )
    assert lists_of(table, items) == {
        ("all", "popular_1d"): [("i2", 2.0), ("i1", 1.0), ("i3", 1.0)],
        ("category=c1", "popular_1d_in_segment"): [("i1", 1.0), ("i3", 1.0)],
        ("category=c2", "popular_1d_in_segment"): [("i2", 2.0)],
    }


def test_countries_count_what_their_own_users_did(table: MakeTable) -> None:
    """Goals only, and users by the country that they have as of then."""
    items = table(
        f"""
        as_of   | surface  | item_id | available | first_day
        {AS_OF} | products | i1      | true      | 0
        {AS_OF} | products | i2      | true      | 0
        """,
        REC_ITEMS,
    )
    interactions = tiles(
        table,
        """
        user_key | target_kind | target_id | event | day        | n
        ann      | item        | i1        | order | 2025-01-31 | 1
        ann      | item        | i2        | order | 2025-01-31 | 2
        bob      | item        | i1        | order | 2025-01-30 | 1
        bob      | item        | i2        | view  | 2025-01-31 | 9
        cid      | item        | i2        | order | 2025-01-31 | 9
        bob      | item        | gone      | order | 2025-01-31 | 9
        """,
    )
    users = table(
        """
        user_key | country | occurred_at         | landed_on
        ann      | DE      | 2025-01-01T00:00:00 | 2025-01-01
        ann      | FR      | 2025-01-02T00:00:00 | 2025-01-02
        bob      | FR      | 2025-01-01T00:00:00 | 2025-01-01
        bob      | DE      | 2025-01-02T00:00:00 | 2025-02-01
        cid      | -       | 2025-01-01T00:00:00 | 2025-01-01
        """,
        USERS,
    )
    lists = lists_of(table, items, interactions=interactions, users=users)
    assert {segment for segment, _ in lists} == {"country=FR"}
    assert lists["country=FR", "popular_1d_in_segment"] == [
        ("i2", 2 * weight(1, 1) / 2**20),
        ("i1", (weight(1, 1) + weight(2, 1)) / 2**20),
    ]


def test_new_is_what_few_have_met_in_its_first_30_days_the_newest_first(table: MakeTable) -> None:
    rows = [
        ("old", 31, 0),
        ("known", 2, 10),
        ("month", 30, 9),
        ("today", 1, 0),
        ("also", 1, 0),
    ]
    lines = [f"{AS_OF} | posts | {i} | true | {TODAY - age} | {n}" for i, age, n in rows]
    head = "as_of | surface | item_id | available | first_day | n_users"
    items = table("\n".join([head, *lines]), REC_ITEMS)
    lists = lists_of(table, items, "posts")
    assert {key: [item for item, _ in listed] for key, listed in lists.items()} == {
        ("all", "new"): ["also", "today", "month"]
    }


def test_a_surface_gets_the_sources_that_it_asks_for_of_each_midnight(table: MakeTable) -> None:
    """People have no source of new ones."""
    before = AS_OF - timedelta(days=7)
    lines = [f"{day} | people | bob | true | {TODAY - 9} | 1024" for day in (AS_OF, before)]
    head = "as_of | surface | item_id | available | first_day | popularity_30d"
    items = table("\n".join([head, *lines]), REC_ITEMS)
    days = [before, AS_OF]
    rows = rec_popular(items, tiles(table, NONE), None, [SURFACE["people"]], days, 1).collect()
    assert sorted((r.as_of, r.source, r.item_ids) for r in rows) == [
        (day, "popular_30d", ["bob"]) for day in days
    ]
