"""Cleaning: what is kept, what is a retry, what is quarantined, and that nothing is lost."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.days import DEDUP_DAYS
from contracts.errors import ContractError
from contracts.tables import table_named
from jobs.cleaning.verdicts import clean, reconciliation
from tests.conftest import rows_of
from tests.jobs.cleaning.shop import DAY, KEY, MAPPING, Shop


def test_every_row_that_breaks_a_rule_says_which(spark: SparkSession, tmp_path: Path) -> None:
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: """
        l1,o1,ann,i1,purchase,2,2.55,EUR,2025-01-01T10:00:00
        l2,o1,,i1,purchase,2,2.55,EUR,2025-01-01T10:00:00
        l3,o1,ann,i1,gift,2,2.55,EUR,2025-01-01T10:00:00
        l4,o1,ann,i1,purchase,2.5,2.55,EUR,2025-01-01T10:00:00
        l5,o1,ann,i1,purchase,0,2.55,EUR,2025-01-01T10:00:00
        l6,o1,ann,i1,purchase,2,cheap,EUR,2025-01-01T10:00:00
        l7,o1,ann,i1,purchase,2,-1,EUR,2025-01-01T10:00:00
        l8,o1,ann,i1,purchase,2,1.001,EUR,2025-01-01T10:00:00
        l9,o1,ann,i1,purchase,2,1,XYZ,2025-01-01T10:00:00
        l10,o1,ann,i1,purchase,2,1,EUR,tomorrow
        l11,o1,ann,i1,purchase,2,1,EUR,2025-01-03T01:00:01
        l12,o1,ann,POST,purchase,2,1,EUR,2025-01-01T10:00:00
        l13,o1,ann,i1,purchase,2,1
        l14,o1,ann,i1,purchase,9999,99999999999,EUR,2025-01-01T10:00:00
        l15,o1,ann,i1,purchase,1,0,EUR,2025-01-01T10:00:00
        l16,o1,ann,i1,purchase,1.0,50000000000000000,EUR,2025-01-01T10:00:00
        l17,o1,ann,i1,purchase,1000000001,0,EUR,2025-01-01T10:00:00
        l18,o1,ann,i1,purchase,1,1,EUR,1969-12-31
        """
        },
    )
    assert shop.reasons() == {
        3: "user_id: missing",
        4: "kind: not one of purchase, cancellation, return",
        5: "quantity: not a whole number",
        6: "quantity: not above 0",
        7: "unit_price: not a number",
        8: "unit_price: below 0",
        9: "unit_price: finer than a minor unit",
        10: "currency: no rate for it",
        11: "occurred_at: not a time",
        12: "occurred_at: more than a day after it landed",
        13: "not goods",
        14: "expected 9 fields, found 7",
        15: "unit_price: too large",
        17: "unit_price: too large",
        18: "quantity: above 1,000,000,000",
        19: "occurred_at: before 1970",
    }


def test_a_number_that_is_a_time_in_another_unit_is_told_with_the_setting_that_reads_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    line = "l{},o1,ann,i1,purchase,2,2.55,EUR,{}"
    times = [
        "1735725600", "1735725600000", "1735725600000.5", "1735725600000000",
        "1735725600000000000", "17357256000", "20250101", "x1735725600",
    ]  # fmt: skip
    rows = {DAY: "\n".join(line.format(i, time) for i, time in enumerate(times))}
    seconds = 'occurred_at: 10 digits look like seconds: time_format = ["epoch_seconds"]'
    millis = 'occurred_at: 13 digits look like milliseconds: time_format = ["epoch_millis"]'
    micros = 'occurred_at: 16 digits look like microseconds: time_format = ["epoch_micros"]'
    nanos = (
        "occurred_at: 19 digits look like nanoseconds: "
        "timestamp_micros(try_cast(… as bigint) div 1000)"
    )
    none = "occurred_at: not a time"
    reasons = [seconds, millis, millis, micros, nanos, none, none, none]
    assert Shop(spark, tmp_path, rows).reasons() == dict(enumerate(reasons, start=2))
    for format_, read in (
        ("epoch_seconds", seconds), ("epoch_millis", millis), ("epoch_micros", micros)
    ):  # fmt: skip
        said = f'timezone = "Europe/Berlin"\ntime_format = ["iso", "{format_}"]'
        mapping = MAPPING.replace('timezone = "Europe/Berlin"', said)
        reread = Shop(spark, tmp_path, rows, mapping).reasons()
        assert [reread.get(i) for i in range(2, 6)] == [
            None if r == read else r for r in reasons[:4]
        ]


def test_users_have_the_attributes_that_the_mapping_names(
    spark: SparkSession, tmp_path: Path
) -> None:
    attributes = """
[sources.log.tables.users]
attributes = { income = "price", age_band = "trim(qty)", segment = "nullif(kind, '?')" }
"""
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: f"""
        l1,o1,ann,i1,b2b,40-49, a=b ,EUR,2025-01-01T10:00:00
        l2,o1,bob,i1,?,,,EUR,2025-01-01T10:00:00
        l3,o1,cat,i1,?,,{"x" * 64},EUR,2025-01-01T10:00:00
        l4,o1,dan,i1,?,,{"x" * 65},EUR,2025-01-01T10:00:00
        """
        },
        MAPPING.replace("[sources.log.tables.users]", attributes),
    )
    kept = clean(shop.judged("users"), table_named("users")).collect()
    assert sorted(row.attributes or [] for row in kept) == [
        [],
        ["age_band=40-49", "income=a=b", "segment=b2b"],
        ["income=" + "x" * 64],
    ]
    assert None in {row.attributes and tuple(row.attributes) for row in kept}
    assert shop.reasons("users") == {5: "attributes: a value of more than 64 characters"}


def test_money_time_and_user_come_out_in_their_units(spark: SparkSession, tmp_path: Path) -> None:
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: """
        l1,o1,ann,i1,purchase,3,2.55,EUR,2025-01-01T10:00:00
        l2,o1,ann,i1,purchase,3,0.03,USD,2025-01-01T10:00:00+00:00
        l3,o1,ann,i1,purchase,3,0.03,USD,2025-01-02T00:30:00
        """
        },
    )
    kept = clean(shop.judged(), table_named("orders"))
    assert rows_of(kept, F.col("occurred_at").cast("string"), "amount_minor") == [
        ("2025-01-01 09:00:00", 765),  # Berlin is an hour ahead in winter
        ("2025-01-01 10:00:00", 5),  # 3 * 0.03 * 0.5 = 4.5 cents; it says its own offset
        ("2025-01-01 23:30:00", 5),
    ]
    expected = hmac.new(KEY.key, b"ann", hashlib.sha256).hexdigest()[:32]
    assert {r[0] for r in rows_of(kept, "user_key")} == {expected}


def test_a_retry_is_a_duplicate_and_other_content_a_conflict(
    spark: SparkSession, tmp_path: Path
) -> None:
    line = "l1,o1,ann,i1,purchase,2,2.55,EUR,2025-01-01T10:00:00"
    later, much_later = DAY + timedelta(days=DEDUP_DAYS), DAY + timedelta(days=2 * DEDUP_DAYS + 1)
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: f"{line}\n{line}\nl2,o1,,i1,purchase,2,1,EUR,2025-01-01T10:00:00",
            # a bad row does not make its corrected retry a duplicate
            later: f"{line}\n{line.replace('2.55', '3.55')}\nl2,o1,bob,i1,purchase,2,1,EUR,2025-01-01T10:00:00",
            # nobody looks back as far as this
            much_later: line,
        },
    )
    got = {(r.landed_on, r.line): r.verdict for r in shop.judged().collect()}
    assert got == {
        (DAY, 2): "clean",
        (DAY, 3): "duplicate",
        (DAY, 4): "quarantined",
        (later, 2): "duplicate",
        (later, 3): "quarantined",
        (later, 4): "clean",
        (much_later, 2): "clean",
    }


def test_a_day_cleaned_alone_comes_out_as_among_others(spark: SparkSession, tmp_path: Path) -> None:
    line = "l1,o1,ann,i1,purchase,2,2.55,EUR,2025-01-01T10:00:00"
    days = [DAY + timedelta(days=n) for n in (0, 3, 6, 9)]
    shop = Shop(
        spark,
        tmp_path,
        {
            day: f"{line}\nm{i},o1,ann,i1,purchase,1,1,EUR,2025-01-01T10:00:00"
            for i, day in enumerate(days)
        },
    )
    together = rows_of(shop.judged(), "landed_on", "line", "verdict")
    alone = sorted(
        (
            row
            for day in days
            for row in rows_of(shop.judged(days=[day]), "landed_on", "line", "verdict")
        ),
        key=str,
    )
    assert together == alone


def test_a_dimension_keeps_the_newest_of_a_day(spark: SparkSession, tmp_path: Path) -> None:
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: """
        a,o,ann,i,purchase,1,1,DE,2025-01-01T10:00:00
        b,o,ann,i,purchase,1,1,FR,2025-01-01T12:00:00
        c,o,ann,i,purchase,1,1,FR,2025-01-01T11:00:00
        d,o,bob,i,purchase,1,1,DE,2025-01-01T10:00:00
        """
        },
    )
    judged = shop.judged("users")
    assert rows_of(clean(judged, table_named("users")), "country") == [("DE",), ("FR",)]
    assert {r.line: r.verdict for r in judged.collect()} == {
        2: "quarantined",
        3: "clean",
        4: "duplicate",
        5: "clean",
    }
    assert shop.reasons("users") == {2: "superseded on the same day"}


def test_counts_reconcile_on_seeded_random_dirt(spark: SparkSession, tmp_path: Path) -> None:
    import random

    rng = random.Random(3)

    def line() -> str:
        cells = [
            f"l{rng.randint(1, 30)}",
            "o1",
            rng.choice(["ann", "bob", ""]),
            "i1",
            rng.choice(["purchase", "purchase", "gift"]),
            rng.choice(["1", "2", "-3", "x"]),
            rng.choice(["1", "2.5", "1.999"]),
            "EUR",
            "2025-01-01T10:00:00",
        ]
        return ",".join(cells[: rng.choice([9, 9, 9, 9, 5])])

    days = {DAY + timedelta(days=n): "\n".join(line() for _ in range(60)) for n in range(4)}
    shop = Shop(spark, tmp_path, days)
    for table in ("orders", "users"):
        counts = reconciliation(shop.judged(table), table_named(table)).collect()
        assert {r.landed_on: r.n_in for r in counts} == dict.fromkeys(days, 60)
        assert all(r.n_in == r.n_clean + r.n_duplicate + r.n_quarantined for r in counts)
        assert sum(r.n_duplicate for r in counts) > 0


def test_an_expression_over_no_column_is_named(spark: SparkSession, tmp_path: Path) -> None:
    wrong = MAPPING.replace('item_id = "item"', 'item_id = "thing"')
    shop = Shop(spark, tmp_path, {DAY: ""}, wrong)
    with pytest.raises(ContractError, match="sources.log.tables.orders.item_id: thing: no column"):
        shop.judged()


def test_line_totals_need_no_price_of_a_unit(spark: SparkSession, tmp_path: Path) -> None:
    totals = MAPPING.replace('unit_price = "price"', 'amount = "price"')
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: """
        l1,o1,ann,i1,purchase,3,10.00,EUR,2025-01-01T10:00:00
        l2,o1,ann,i1,purchase,3,10.001,EUR,2025-01-01T11:00:00
        l3,o1,ann,i1,purchase,3,,EUR,2025-01-01T12:00:00
        """
        },
        totals,
    )
    assert shop.reasons() == {3: "amount: finer than a minor unit", 4: "amount: missing"}
    kept = clean(shop.judged(), table_named("orders"))
    assert rows_of(kept, "quantity", "amount_minor") == [(3, 1000)]


def test_times_of_signing_up_and_of_edges_have_bounds_as_all_have(
    spark: SparkSession, tmp_path: Path
) -> None:
    users = MAPPING.replace('country = "cur"', 'signed_up_at = "item"')
    written = [
        "0001-01-01 00:00:00",
        "1900-01-01",
        "2099-01-01",
        "2025",
        "12:30",
        "",
        "2024-05-01",
        "1970-01-01T00:00:00Z",
        "1970-01-01 19:00:00-05",
    ]
    lines = [f"l{i},o,u{i},{at},p,1,1,EUR,2025-01-01T10:00:00" for i, at in enumerate(written)]
    shop = Shop(spark, tmp_path, {DAY: "\n".join(lines)}, users)
    early, late, none = (
        f"signed_up_at: {what}"
        for what in ("before 1970", "more than a day after it landed", "not a time")
    )
    no_time = "signed_up_at: 1970-01-01 is no time"
    assert shop.reasons("users") == {2: early, 3: early, 4: late, 5: none, 6: none, 9: no_time}
    edges = MAPPING[: MAPPING.index("[sources.log.tables.orders]")] + (
        '[sources.log.tables.follows]\nfollow_id = "id"\nuser_id = "user"\nfollowed_id = "order"\n'
        'valid_from = "item"\n'
    )
    shop = Shop(spark, tmp_path, {DAY: "\n".join(lines)}, edges)
    reasons = {
        n: why.replace("signed_up_at", "valid_from") for n, why in shop.reasons("follows").items()
    }
    assert reasons == {n: why.replace("signed_up_at", "valid_from") for n, why in
                       {2: early, 3: early, 4: late, 5: none, 6: none}.items()}  # fmt: skip
