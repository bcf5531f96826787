from __future__ import annotations

from datetime import date, timedelta

from contracts.tables import LABELS, ORDERS, REVIEWS, USER_DAYS, USER_FEATURES
from contracts.tasks import TASKS
from jobs.labels import examples, labels, standing_orders
from tests.conftest import rows_of

A = date(2025, 1, 1)
EVERY = [task.name for task in TASKS]


def label(
    table,
    *,
    features="",
    days="",
    orders="",
    reviews="",
    until=A + timedelta(days=120),
    enabled=EVERY,
):
    features = (
        features
        or """
        user_key | as_of      | n_orders_all | days_since_last_seen
        ann      | 2025-01-01 | 1            | 5
        """
    )
    made = labels(
        table(features, USER_FEATURES),
        table("user_key | day | landed_on | spend_minor | undone_minor\n" + days, USER_DAYS),
        table(
            "line_id | order_id | user_key | item_id | kind | undoes_order_id | quantity | "
            "occurred_at | landed_on\n" + orders,
            ORDERS,
        ),
        table("review_id | user_key | stars | occurred_at | landed_on\n" + reviews, REVIEWS),
        [A],
        until,
        2,
        enabled,
    )
    return {r.user_key: {t.name: r[t.label] for t in TASKS} for r in made.collect()}


def test_windows_are_half_open(table) -> None:
    got = label(
        table,
        features="""
        user_key | as_of      | n_orders_all | days_since_last_seen
        first    | 2025-01-01 | 1            | 5
        last     | 2025-01-01 | 1            | 5
        after    | 2025-01-01 | 1            | 5
        before   | 2025-01-01 | 1            | 5
        """,
        orders="""
        l1 | o1 | first  | i | purchase | - | 1 | 2025-01-01T00:00:00 | 2025-01-01
        l2 | o2 | last   | i | purchase | - | 1 | 2025-01-07T23:59:59 | 2025-01-07
        l3 | o3 | after  | i | purchase | - | 1 | 2025-01-08T00:00:00 | 2025-01-08
        l4 | o4 | before | i | purchase | - | 1 | 2024-12-31T23:59:59 | 2025-01-01
        """,
    )
    assert {u: r["purchase_7d"] for u, r in got.items()} == {
        "first": 1,
        "last": 1,
        "after": 0,
        "before": 0,
    }
    assert got["after"]["purchase_30d"] == 1


def test_an_open_window_is_null_and_tasks_mature_one_by_one(table) -> None:
    got = label(table, until=A + timedelta(days=9))["ann"]
    assert got["purchase_7d"] == 0
    assert {name for name, value in got.items() if value is not None} == {"purchase_7d"}
    assert label(table, until=A + timedelta(days=8))["ann"]["purchase_7d"] is None


def test_masks_leave_out_whom_the_question_makes_no_sense_for(table) -> None:
    got = label(
        table,
        features="""
        user_key | as_of      | n_orders_all | days_since_last_seen
        looker   | 2025-01-01 | 0            | 28
        sleeper  | 2025-01-01 | 2            | 29
        new      | 2025-01-01 | 0            | -
        """,
    )
    assert got["looker"]["purchase_7d"] is None
    assert (got["looker"]["churn_28d"], got["looker"]["return_90d"]) == (1, None)
    assert (got["sleeper"]["churn_28d"], got["sleeper"]["return_90d"]) == (None, 0)
    assert (got["new"]["churn_28d"], got["new"]["return_90d"]) == (None, 0)


def test_activity_of_any_kind_is_no_churn(table) -> None:
    days = "ann | 2025-01-28 | 2025-01-28 | 0 | 0"
    assert label(table, days=days)["ann"]["churn_28d"] == 0
    later = "ann | 2025-01-29 | 2025-01-29 | 0 | 0"
    assert label(table, days=later)["ann"]["churn_28d"] == 1


def test_spend_is_net_and_never_below_zero(table) -> None:
    assert (
        label(
            table,
            days="""
        ann | 2025-01-02 | 2025-01-02 | 500 | 0
        ann | 2025-01-30 | 2025-02-20 | 100 | 250
        ann | 2025-01-31 | 2025-01-31 | 900 | 0
        """,
        )["ann"]["spend_30d"]
        == 350
    )
    assert label(table, days="ann | 2025-01-02 | 2025-01-02 | 0 | 99")["ann"]["spend_30d"] == 0


def test_the_first_review_gives_the_rating_and_none_gives_null(table) -> None:
    assert label(table)["ann"]["next_rating_90d"] is None
    assert (
        label(
            table,
            reviews="""
        r2 | ann | 2 | 2025-01-05T00:00:00 | 2025-01-05
        r1 | ann | 4 | 2025-01-04T00:00:00 | 2025-01-09
        r0 | ann | 5 | 2024-12-31T00:00:00 | 2025-01-01
        """,
        )["ann"]["next_rating_90d"]
        == 4
    )


def test_what_lands_after_the_night_is_not_known_to_it(table) -> None:
    orders = "l1 | o1 | ann | i | purchase | - | 1 | 2025-01-02T00:00:00 | 2025-01-10"
    assert label(table, orders=orders, until=date(2025, 1, 10))["ann"]["purchase_7d"] == 0
    assert label(table, orders=orders, until=date(2025, 1, 11))["ann"]["purchase_7d"] == 1


def test_a_task_without_a_source_is_null(table) -> None:
    assert label(table, enabled=["churn_28d"])["ann"]["purchase_7d"] is None


def test_an_order_stands_unless_every_unit_of_it_is_undone(table) -> None:
    orders = table(
        """
        line_id | order_id | user_key | item_id | kind         | undoes_order_id | quantity | occurred_at
        a1      | whole    | ann      | i1      | purchase     | -               | 2        | 2025-01-01T10:00:00
        a2      | c1       | ann      | i1      | cancellation | -               | 2        | 2025-01-01T11:00:00
        b1      | part     | bob      | i1      | purchase     | -               | 2        | 2025-01-01T10:00:00
        b2      | c2       | bob      | i1      | return       | -               | 1        | 2025-01-01T11:00:00
        c1      | old      | cat      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        c2      | new      | cat      | i1      | purchase     | -               | 1        | 2025-01-02T10:00:00
        c3      | c3       | cat      | i1      | cancellation | -               | 1        | 2025-01-03T10:00:00
        d1      | said     | dan      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        d2      | other    | dan      | i1      | purchase     | -               | 1        | 2025-01-02T10:00:00
        d3      | c4       | dan      | i1      | cancellation | said            | 1        | 2025-01-03T10:00:00
        e1      | c5       | eve      | i1      | cancellation | -               | 1        | 2025-01-03T10:00:00
        f1      | two      | fay      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        f2      | two      | fay      | i2      | purchase     | -               | 1        | 2025-01-01T10:00:00
        f3      | c6       | fay      | i2      | cancellation | -               | 1        | 2025-01-03T10:00:00
        """,
        ORDERS,
        landed_on=A,
    )
    assert {r.order_id for r in standing_orders(orders).collect()} == {
        "part",
        "old",
        "other",
        "two",
    }  # the newest earlier order is undone: new, and not old


def test_examples_have_at_least_one_label(table) -> None:
    features = table("user_key | as_of\n ann | 2025-01-01\n bob | 2025-01-01", USER_FEATURES)
    made = examples(
        features,
        table(
            """
        user_key | as_of      | label_purchase_7d | label_spend_30d
        ann      | 2025-01-01 | -                 | 0
        bob      | 2025-01-01 | -                 | -
        """,
            LABELS,
        ),
    )
    assert rows_of(made, "user_key", "label_spend_30d") == [("ann", 0)]
