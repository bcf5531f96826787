from __future__ import annotations

from datetime import date, timedelta

from contracts.kinds import Regression
from contracts.source_tables.account_events import ACCOUNT_EVENTS
from contracts.source_tables.fraud_marks import FRAUD_MARKS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.orders import ORDERS
from contracts.source_tables.reviews import REVIEWS
from contracts.tables import LABELS, USER_FEATURES
from contracts.tasks import LABEL_REACH, TASKS, Mask, Task
from contracts.tile_tables import USER_DAYS, USER_ITEM_DAYS
from jobs.labels import _BY_KIND, Known, examples, labels
from tests.conftest import rows_of

A = date(2025, 1, 1)


def label(
    table,
    *,
    features="",
    days="",
    orders="",
    reviews="",
    met="",
    account="",
    marks="",
    items="",
    until=A + timedelta(days=130),
    of=None,
):
    """Labels by user and task, of the tasks named in `of` or all."""
    features = (
        features
        or """
        user_key | as_of      | n_orders_all | days_since_last_seen
        ann      | 2025-01-01 | 1            | 5
        """
    )
    days = days if "user_key" in days else f"{DAYS}\n{days}"
    known = Known(
        user_days=table(days, USER_DAYS),
        user_item_days=table(
            "user_key | kind | thing_id | day | landed_on\n" + met, USER_ITEM_DAYS
        ),
        orders=table(
            "line_id | order_id | user_key | item_id | kind | undoes_order_id | quantity | "
            "occurred_at | landed_on\n" + orders,
            ORDERS,
        ),
        reviews=table(
            "review_id | user_key | stars | sentiment | occurred_at | landed_on\n" + reviews,
            REVIEWS,
        ),
        account_events=table(
            "event_id | user_key | kind | occurred_at | landed_on\n" + account,
            ACCOUNT_EVENTS,
            succeeded=True,
        ),
        fraud_marks=table("mark_id | event_id | occurred_at | landed_on\n" + marks, FRAUD_MARKS),
        items=table("item_id | category_id | occurred_at | landed_on\n" + items, ITEMS),
    )
    tasks = [task for task in TASKS if of is None or task.name in of]
    labelled = labels(table(features, USER_FEATURES), known, [A], until, 2, tasks)
    return {r.user_key: {t.name: r[t.label] for t in TASKS} for r in labelled.collect()}


DAYS = "user_key | day | landed_on | n_events | spend_minor | undone_minor"


def test_windows_are_half_open(table) -> None:
    got = label(
        table,
        of=["purchase_7d", "purchase_30d"],
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
    closed = {name for name, value in got.items() if value is not None}
    assert closed == {"purchase_7d", "view_7d", "like_7d", "comment_7d", "share_7d", "search_7d"}
    assert label(table, until=A + timedelta(days=8))["ann"]["purchase_7d"] is None


def test_masks_leave_out_whom_the_question_makes_no_sense_for(table) -> None:
    got = label(
        table,
        of=["purchase_7d", "churn_28d", "return_90d"],
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
    days = "ann | 2025-01-28 | 2025-01-28 | 1 | 0 | 0"
    assert label(table, of=["churn_28d"], days=days)["ann"]["churn_28d"] == 0
    later = "ann | 2025-01-29 | 2025-01-29 | 1 | 0 | 0"
    assert label(table, of=["churn_28d"], days=later)["ann"]["churn_28d"] == 1
    of_others = "ann | 2025-01-28 | 2025-01-28 | 0 | 0 | 0"
    assert label(table, of=["churn_28d"], days=of_others)["ann"]["churn_28d"] == 1


def test_spend_is_net_and_never_below_zero(table) -> None:
    assert (
        label(
            table,
            of=["spend_30d"],
            days="""
        ann | 2025-01-02 | 2025-01-02 | 1 | 500 | 0
        ann | 2025-01-30 | 2025-02-20 | 1 | 100 | 250
        ann | 2025-01-31 | 2025-01-31 | 1 | 900 | 0
        """,
        )["ann"]["spend_30d"]
        == 350
    )
    assert (
        label(table, of=["spend_30d"], days="ann | 2025-01-02 | 2025-01-02 | 1 | 0 | 99")["ann"][
            "spend_30d"
        ]
        == 0
    )


def test_a_regression_is_the_sum_below_zero_too(spark) -> None:
    task = Task("net_30d", "N.", Regression(), 30, "net_spend_minor", Mask("all"), ())
    rows = [
        ("ann", 0, "net_spend_minor", 500), ("ann", 29, "net_spend_minor", -800),
        ("ann", 30, "net_spend_minor", 900), ("bob", 1, "order", 1),
    ]  # fmt: skip
    frame = spark.createDataFrame(rows, "user string, offset int, target string, value bigint")
    kind = _BY_KIND[Regression]
    sums = frame.groupBy("user").agg(kind.aggregate(task).alias(task.name))
    by_user = {
        r.user: r.label for r in sums.select("user", kind.label(task).alias("label")).collect()
    }
    assert by_user == {"ann": -300, "bob": 0}


def test_the_first_review_gives_the_rating_and_none_gives_null(table) -> None:
    assert label(table, of=["next_rating_90d"])["ann"]["next_rating_90d"] is None
    assert (
        label(
            table,
            of=["next_rating_90d"],
            reviews="""
        r2 | ann | 2 | negative | 2025-01-05T00:00:00 | 2025-01-05
        r1 | ann | 4 | positive | 2025-01-04T00:00:00 | 2025-01-09
        r0 | ann | 5 | positive | 2024-12-31T00:00:00 | 2025-01-01
        """,
        )["ann"]["next_rating_90d"]
        == 4
    )


def test_the_first_reviews_sentiment_is_its_place_from_negative_to_positive(table) -> None:
    reviews = "r{0} | {1} | 3 | {2} | 2025-01-05T00:00:00 | 2025-01-05"
    rows = "\n".join(
        reviews.format(i, u, s)
        for i, (u, s) in enumerate([("a", "negative"), ("b", "neutral"), ("c", "positive")])
    )
    known = "user_key | as_of\n" + "\n".join(f"{u} | 2025-01-01" for u in "abcd")
    got = label(table, of=["sentiment_next_30d"], features=known, reviews=rows)
    assert {u: row["sentiment_next_30d"] for u, row in got.items()} == {
        "a": 1,
        "b": 2,
        "c": 3,
        "d": None,  # wrote none
    }


def test_counts_are_sums_over_the_window_and_0_for_those_who_did_nothing(table) -> None:
    days = """
    user_key | day        | landed_on  | n_events | n_views | n_likes
    ann      | 2025-01-01 | 2025-01-01 | 5        | 3       | 1
    ann      | 2025-01-07 | 2025-01-09 | 5        | 4       | 0
    ann      | 2025-01-08 | 2025-01-08 | 5        | 9       | 9
    """
    got = label(table, of=["view_7d", "like_7d", "share_7d"], days=days)["ann"]
    assert (got["view_7d"], got["like_7d"], got["share_7d"]) == (7, 1, 0)


def test_an_ad_click_is_asked_only_of_those_who_saw_an_ad_in_the_window(table) -> None:
    features = """
    user_key | as_of
    clicks   | 2025-01-01
    sees     | 2025-01-01
    too_late | 2025-01-01
    blind    | 2025-01-01
    """
    days = """
    user_key | day        | landed_on  | n_events | n_ad_views | n_ad_clicks
    clicks   | 2025-01-02 | 2025-01-02 | 5        | 3          | 0
    clicks   | 2025-01-03 | 2025-01-03 | 5        | 0          | 1
    sees     | 2025-01-02 | 2025-01-02 | 5        | 2          | 0
    too_late | 2025-01-08 | 2025-01-08 | 5        | 2          | 1
    """
    got = label(table, of=["ad_click_7d"], features=features, days=days)
    assert {u: row["ad_click_7d"] for u, row in got.items()} == {
        "clicks": 1,
        "sees": 0,
        "too_late": None,
        "blind": None,
    }


def test_interests_are_the_sorted_categories_of_items_as_they_are_known_now(table) -> None:
    features = """
    user_key | as_of      | days_since_last_seen
    ann      | 2025-01-01 | 90
    bob      | 2025-01-01 | 5
    gone     | 2025-01-01 | 91
    """
    met = """
    ann | item        | i1 | 2025-01-05 | 2025-01-05
    ann | item        | i2 | 2025-01-30 | 2025-02-02
    ann | item        | i3 | 2025-01-31 | 2025-01-31
    ann | counterpart | i4 | 2025-01-05 | 2025-01-05
    ann | item        | i5 | 2025-01-05 | 2025-01-05
    """
    items = """
    i1 | old    | 2024-01-01T00:00:00 | 2024-01-01
    i1 | shoes  | 2025-03-01T00:00:00 | 2025-03-01
    i2 | books  | 2024-01-01T00:00:00 | 2024-01-01
    i3 | late   | 2024-01-01T00:00:00 | 2024-01-01
    i4 | person | 2024-01-01T00:00:00 | 2024-01-01
    i5 | -      | 2024-01-01T00:00:00 | 2024-01-01
    """
    got = label(table, of=["interests_30d"], features=features, met=met, items=items)
    assert {u: row["interests_30d"] for u, row in got.items()} == {
        "ann": ["books", "shoes"],
        "bob": [],
        "gone": None,
    }


def test_fraud_is_what_was_marked_by_now_and_waits_for_marks(table) -> None:
    features = """
    user_key | as_of      | n_payments_all | n_logins_all
    ann      | 2025-01-01 | 1              | 1
    bob      | 2025-01-01 | 1              | 1
    cat      | 2025-01-01 | 0              | 1
    """
    account = """
    a1 | ann | payment | 2025-01-30T00:00:00 | 2025-01-30
    a2 | bob | payment | 2025-01-31T00:00:00 | 2025-01-31
    a3 | bob | login   | 2025-01-02T00:00:00 | 2025-01-02
    a4 | cat | payment | 2025-01-02T00:00:00 | 2025-01-02
    """
    marks = """
    m1 | a1 | 2025-02-20T00:00:00 | 2025-02-20
    m2 | a1 | 2025-02-21T00:00:00 | 2025-02-21
    m3 | a2 | 2025-02-20T00:00:00 | 2025-02-20
    m4 | a4 | 2025-02-20T00:00:00 | 2025-02-20
    m5 | a3 | 2025-03-20T00:00:00 | 2025-03-20
    """
    until = A + timedelta(days=67)  # 30 of the window, 35 for marks, 2 to settle: 9 March
    given = {"features": features, "account": account, "marks": marks}
    got = label(table, of=["payment_fraud_30d", "login_fraud_30d"], **given, until=until)
    assert {u: (r["payment_fraud_30d"], r["login_fraud_30d"]) for u, r in got.items()} == {
        "ann": (1, 0),
        "bob": (0, 0),  # paid after the window, and m5 is not known yet
        "cat": (None, 0),
    }
    early = label(
        table, of=["payment_fraud_30d", "login_fraud_30d"], **given, until=until - timedelta(days=1)
    )
    assert {r["payment_fraud_30d"] for r in early.values()} == {None}


def test_what_lands_after_the_night_is_not_known_to_it(table) -> None:
    orders = "l1 | o1 | ann | i | purchase | - | 1 | 2025-01-02T00:00:00 | 2025-01-10"
    assert (
        label(table, of=["purchase_7d"], orders=orders, until=date(2025, 1, 10))["ann"][
            "purchase_7d"
        ]
        == 0
    )
    assert (
        label(table, of=["purchase_7d"], orders=orders, until=date(2025, 1, 11))["ann"][
            "purchase_7d"
        ]
        == 1
    )


def test_a_task_without_a_source_is_null(table) -> None:
    got = label(table, of=["churn_28d"])["ann"]
    assert got["purchase_7d"] is None
    assert got["churn_28d"] == 1


def test_what_happens_long_after_decides_no_label(table) -> None:
    """An order undone, and a login marked, 90 days later or more: old labels stay what they are."""
    orders = """
    l1 | o1 | ann | i | purchase     | - | 1 | 2025-01-02T00:00:00 | 2025-01-02
    l2 | c1 | ann | i | cancellation | - | 1 | {} | {}
    """
    account = "a1 | ann | login | 2025-01-02T00:00:00 | 2025-01-02"
    features = "user_key | as_of | n_orders_all | n_logins_all\n ann | 2025-01-01 | 1 | 1"

    def on(day: date) -> tuple[int, int]:
        at = f"{day}T00:00:00"
        got = label(
            table,
            of=["purchase_7d", "login_fraud_30d"],
            features=features,
            orders=orders.format(at, day),
            account=account,
            marks=f"m1 | a1 | {at} | {day}",
        )["ann"]
        return got["purchase_7d"], got["login_fraud_30d"]

    last = A + timedelta(days=LABEL_REACH - 1)
    assert on(last) == (0, 1)
    assert on(last + timedelta(days=1)) == (1, 0)


def test_examples_have_at_least_one_label(table) -> None:
    features = table("user_key | as_of\n ann | 2025-01-01\n bob | 2025-01-01", USER_FEATURES)
    rows = examples(
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
    assert rows_of(rows, "user_key", "label_spend_30d") == [("ann", 0)]
