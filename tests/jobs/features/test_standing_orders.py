"""Which orders stand, after cancellations and returns."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from pyspark.sql import DataFrame

from contracts.source_tables.orders import ORDERS
from jobs.labels import standing_orders
from jobs.spark.schema import spark_schema
from tests.jobs.features import naive

A = date(2025, 1, 1)


def standing(orders: DataFrame) -> set[str]:
    return {row.order_id for row in standing_orders(orders, [A]).collect()}


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
    assert standing(orders) == {
        "part",
        "old",
        "other",
        "two",
    }  # the newest earlier order is undone: new, and not old


def test_returns_use_up_what_is_left_of_earlier_orders_newest_first(table) -> None:
    orders = table(
        """
        line_id | order_id | user_key | item_id | kind         | undoes_order_id | quantity | occurred_at
        a1      | one      | ann      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        a2      | two      | ann      | i1      | purchase     | -               | 1        | 2025-01-02T10:00:00
        a3      | r1       | ann      | i1      | return       | -               | 1        | 2025-01-03T10:00:00
        a4      | r2       | ann      | i1      | return       | -               | 1        | 2025-01-04T10:00:00
        b1      | three    | bob      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        b2      | four     | bob      | i1      | purchase     | -               | 1        | 2025-01-02T10:00:00
        b3      | r3       | bob      | i1      | return       | -               | 2        | 2025-01-03T10:00:00
        c1      | oldest   | cat      | i1      | purchase     | -               | 2        | 2025-01-01T10:00:00
        c2      | newest   | cat      | i1      | purchase     | -               | 2        | 2025-01-02T10:00:00
        c3      | r4       | cat      | i1      | return       | -               | 3        | 2025-01-03T10:00:00
        d1      | before   | dan      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        d2      | r5       | dan      | i1      | return       | -               | 9        | 2025-01-02T10:00:00
        d3      | after    | dan      | i1      | purchase     | -               | 1        | 2025-01-03T10:00:00
        e1      | skewed   | eve      | i1      | purchase     | -               | 1        | 2025-01-01T00:00:30
        e2      | c1       | eve      | i1      | cancellation | -               | 1        | 2024-12-31T23:59:30
        f1      | swapped  | fay      | i1      | purchase     | -               | 1        | 2025-01-01T10:01:00
        f2      | r6       | fay      | i1      | return       | -               | 1        | 2025-01-01T10:00:00
        g1      | too far  | gus      | i1      | purchase     | -               | 1        | 2025-01-01T10:15:01
        g2      | c2       | gus      | i1      | cancellation | -               | 1        | 2025-01-01T10:00:00
        h1      | named    | hal      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        h2      | other    | hal      | i1      | purchase     | -               | 1        | 2025-01-02T10:00:00
        h3      | r7       | hal      | i1      | return       | named           | 5        | 2025-01-04T10:00:00
        h4      | kept     | hal      | i1      | purchase     | -               | 1        | 2025-01-05T10:00:00
        i1      | below    | ida      | i1      | purchase     | -               | 1        | 2025-01-01T10:00:00
        i2      | above    | ida      | i1      | purchase     | -               | 1        | 2025-01-02T10:00:00
        i3      | r8       | ida      | i1      | return       | -               | 1        | 2025-01-03T10:00:00
        i4      | r9       | ida      | i1      | return       | above           | 1        | 2025-01-04T10:00:00
        """,
        ORDERS,
        landed_on=A,
    )  # fmt: skip
    assert standing(orders) == {
        "oldest",  # one unit of it, for the newest order's two went first
        "after",  # what an earlier return has too much undoes nothing later
        "swapped",  # a return comes after its order
        "too far",
        "other",  # a reference holds within its order, however many units it gives back
        "kept",
    }  # and not "below": r9 says that it is "above" that it undoes, so r8 undoes the other


@pytest.mark.parametrize("seed", [1, 2])
def test_standing_orders_equal_the_naive_definition_in_any_order_of_rows(spark, seed) -> None:
    rng = random.Random(seed)
    rows = []
    for i in range(900):
        kind = rng.choice(["purchase", "purchase", "cancellation", "return"])
        user = f"u{rng.randrange(60)}"
        rows.append(
            {
                "line_id": f"l{i}",
                "order_id": f"{user}-{rng.randrange(5)}",
                "user_key": user,
                "item_id": rng.choice("ab"),
                "kind": kind,
                "undoes_order_id": f"{user}-{rng.randrange(6)}"
                if kind != "purchase" and rng.random() < 0.3
                else None,
                "quantity": rng.randint(1, 4),
                "amount_minor": 100,
                "occurred_at": datetime(2024, 12, 31, 23, 40, tzinfo=UTC)
                + timedelta(minutes=rng.choice([rng.randrange(50), rng.randrange(200) * 600])),
                "landed_on": A,
            }
        )
    as_ofs = [A, A + timedelta(days=20)]
    shuffled = rng.sample(rows, len(rows))
    orders = spark.createDataFrame(
        [tuple(r[c] for c in ORDERS.names) for r in shuffled], spark_schema(ORDERS)
    )
    standing = {
        (r.as_of, r.user_key, r.order_id): r.occurred_at.replace(tzinfo=UTC)
        for r in standing_orders(orders, as_ofs).collect()
    }
    expected = {
        (a, *order): placed
        for a in as_ofs
        for order, placed in naive.standing_orders(rows, a).items()
    }
    assert standing == expected
    assert len(standing) > 20
