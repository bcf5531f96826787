"""Numbers, amounts and ids: what is read, and that it is exact."""

from __future__ import annotations

import sys
import unicodedata
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from random import Random

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.source_tables.orders import ORDERS
from contracts.sources import MAX_AMOUNT_MINOR
from jobs.cleaning.fields import NO_MONEY, Amount, Context, text_id
from jobs.cleaning.rules import rules
from jobs.mapping.sources import Money
from jobs.values.trimming import trimmed_fields
from jobs.values.unicode_composition import composed, composed_escapes
from jobs.values.user_key import INVISIBLE, UserKey, canonical_id

KEY = UserKey(b"a key for the tests alone")


def with_texts(rows: DataFrame) -> DataFrame:
    names = [name.removeprefix("in_") for name in rows.columns if name.startswith("in_")]
    return rows.select("*", *trimmed_fields(names))


def plain(spark: SparkSession, texts: list[str], **given: str) -> list[Decimal | None]:
    context = Context(KEY, NO_MONEY, **given)  # type: ignore[arg-type]
    rows = with_texts(spark.createDataFrame(list(enumerate(texts)), "i int, in_n string"))
    read = rows.select("i", context.number("n").try_cast("decimal(25,12)").alias("n"))
    return [row.n for row in read.orderBy("i").collect()]


def test_numbers_are_digits_with_a_point_and_perhaps_an_exponent(spark: SparkSession) -> None:
    good = ["2.55", " 2.55\t", "+2.550", "255e-2", "2.55E+0", "0002.55"]
    assert plain(spark, good) == [Decimal("2.55")] * len(good)
    assert plain(spark, [".5", "5.", "-0.00"]) == [Decimal("0.5"), Decimal(5), Decimal(0)]
    bad = ["٣", "３", "NaN", "Infinity", "-inf", "1,234.56", "12,50", "$2.55", "0x1F", "1_000", "1e",
           "1e9999", "--1", "1 000", "", ".", "−1", "1f", "1d"]  # fmt: skip
    assert plain(spark, bad) == [None] * len(bad)


def test_a_source_says_how_its_numbers_are_written(spark: SparkSession) -> None:
    german = {"decimal": ",", "thousands": "."}
    texts = [
        "2,55",
        "1.234,5",
        "1.234.567",
        "€ 2,55",
        "2,55 €",
        "-€2,55",
        "1.234",
        "1.5",
        "1.23.4",
        "2.55",
    ]
    assert plain(spark, texts, **german) == [
        Decimal("2.55"), Decimal("1234.5"), Decimal(1234567), Decimal("2.55"), Decimal("2.55"),
        Decimal("-2.55"), Decimal(1234), None, None, None,
    ]  # fmt: skip
    assert plain(spark, [",5", "-€ ,50", "5,", "1.234,", ".5", "5.", ","], **german) == [
        Decimal("0.5"), Decimal("-0.5"), Decimal(5), Decimal(1234), None, None, None,
    ]  # fmt: skip
    assert plain(spark, ["$.99", "5.", "1,234."], thousands=",") == [
        Decimal("0.99"), Decimal(5), Decimal(1234),
    ]  # fmt: skip
    assert plain(spark, ["2,55", "2.55", "1.234,5"], decimal=",") == [Decimal("2.55"), None, None]
    american = ["$2.55", "1,234.50", "12,34,567.00", "1,23", "₹ 1,234", "1e3"]
    assert plain(spark, american, thousands=",") == [
        Decimal("2.55"), Decimal("1234.5"), Decimal(1234567), None, Decimal(1234), Decimal(1000),
    ]  # fmt: skip
    spaced = ["1 234,5", "1\u00a0234,5", "1\u202f234,5 €", "1\u2009234,5", "12 34,5"]
    assert plain(spark, spaced, decimal=",", thousands=" ") == [Decimal("1234.5")] * 4 + [None]
    assert plain(spark, ["1'234.5", "1’234.5"], thousands="'") == [Decimal("1234.5")] * 2


def test_a_number_that_an_expression_made_is_read_as_one(spark: SparkSession) -> None:
    context = Context(KEY, NO_MONEY, decimal=",", thousands=".")
    rows = spark.sql("select cast(1.5 as double) as in_a, 1.5 as in_b, 2 as in_c, '1,5' as in_d")
    rows = with_texts(rows)
    read = rows.select(*(context.number(name).try_cast("double") for name in "abcd"))
    assert tuple(read.collect()[0]) == (1.5, 1.5, 2.0, 1.5)


def test_a_whole_number_may_have_zeros_after_its_point(spark: SparkSession) -> None:
    texts = ["1", "1.0", "1.000", "1e3", "1.5", "x", "1.0000000000000002", "99999999999999"]
    rows = with_texts(spark.createDataFrame(list(enumerate(texts)), "i int, in_n string"))
    read = rows.select("i", Context(KEY, NO_MONEY).whole("n").alias("n")).orderBy("i").collect()
    assert [row.n for row in read] == [1, 1, 1, 1000, None, None, 1, 10**13]


def test_a_number_that_is_far_too_large_is_told_so(spark: SparkSession) -> None:
    """It is a whole number, which the reason must not deny."""
    texts = ["9" * 20, "1e999", "-1e30", "4294967301", "1.5"]
    rows = with_texts(spark.createDataFrame(list(enumerate(texts)), "i int, in_quantity string"))
    given = Context(KEY, NO_MONEY)
    rows = rows.select("*", given.whole("quantity").alias("quantity"))
    checks = [c for c in rules(ORDERS, given).checks if c.reason.startswith("quantity: ")]
    reason = F.coalesce(*(F.when(c.fails, F.lit(c.reason)) for c in checks))
    verdicts = rows.select("i", reason.alias("why"), given.stars("quantity").alias("stars"))
    above, none = "quantity: above 1,000,000,000", "quantity: not a whole number"
    assert [(row.why, row.stars) for row in verdicts.orderBy("i").collect()] == [
        (above, 6), (above, 6), ("quantity: not above 0", 0), (above, 6), (none, None),
    ]  # fmt: skip


def test_true_and_false_are_read_however_they_are_written(spark: SparkSession) -> None:
    texts = ["true", "TRUE", "t", "yes", "1", "1.0", "false", "F", "no", "0", "0.0", "2", "maybe"]
    rows = with_texts(spark.createDataFrame(list(enumerate(texts)), "i int, in_ok string"))
    read = rows.select("i", Context(KEY, NO_MONEY).truth("ok").alias("ok")).orderBy("i").collect()
    assert [row.ok for row in read] == [True] * 6 + [False] * 5 + [None] * 2


@pytest.mark.parametrize("scale", [(0, 10), (1, 10), (0, 5), (0, 100), (1, 5), (-2, 2)])
def test_stars_of_another_scale_are_spread_evenly(
    spark: SparkSession, scale: tuple[int, int]
) -> None:
    low, high = scale
    texts = [str(Decimal(n) / 4) for n in range(4 * low - 4, 4 * high + 5)]
    rows = with_texts(spark.createDataFrame([(t,) for t in texts], "in_stars string"))
    context = Context(KEY, NO_MONEY, stars_scale=scale)
    got = dict(rows.select("in_stars", context.stars("stars")).collect())

    def expected(text: str) -> int | None:
        share = Fraction(Fraction(text) - low, high - low)
        return int(1 + 4 * share + Fraction(1, 2)) if 0 <= share <= 1 else None

    assert got == {text: expected(text) for text in texts}


def amounts(
    spark: SparkSession, money: Money, rows: list[tuple[str, str, int]]
) -> list[tuple[int | None, str | None]]:
    """Price, currency and quantity to minor units, and what is wrong."""
    amount = Amount("unit_price", Context(KEY, money), times="quantity")
    frame = spark.createDataFrame(
        [(i, *row) for i, row in enumerate(rows)],
        "i int, in_unit_price string, in_currency string, quantity bigint",
    )
    derived = with_texts(frame).select("*", *(column.alias(name) for name, column in amount.derive))
    reason = F.coalesce(*(F.when(c.fails, F.lit(c.reason)) for c in amount.checks))
    shown = derived.select("i", "amount_minor", reason.alias("reason")).orderBy("i").collect()
    return [(None if row.reason else row.amount_minor, row.reason) for row in shown]


def test_amounts_equal_fractions_on_seeded_random_ones(spark: SparkSession) -> None:
    random = Random(7)

    def digits(n: int) -> str:
        return str(random.randrange(1, 10 ** random.randint(1, n)))

    rates = {"EUR": Decimal(1)} | {
        f"C{i:02}": Decimal(f"{digits(12)}e{random.randint(-11, 0)}") for i in range(40)
    }
    for n in (0, 2, 4):
        money = Money("EUR", n, rates)
        rows = []
        for _ in range(600):
            price = Decimal(f"{digits(13)}e-{random.randint(0, 12)}")
            quantity = int(digits(9))
            rows.append((f"{price:f}", random.choice(sorted(rates)), quantity))
        # half a minor unit, exactly
        rows += [("0.5", code, 1) for code in rates]
        for row, (got, reason) in zip(rows, amounts(spark, money, rows), strict=True):
            price, code, quantity = row
            line = Fraction(price) * quantity
            value = line * Fraction(rates[code]) * 10**n
            rounded = int(value + Fraction(1, 2))
            if line >= 10**13 or rounded > MAX_AMOUNT_MINOR:
                assert reason == "unit_price: too large", row
            elif code == "EUR" and abs(value - rounded) > Fraction(1, 10**6):
                assert reason == "unit_price: finer than a minor unit", row
            else:
                assert got == rounded, row


def test_each_row_of_an_odd_price_list_is_exact_or_says_why_not(spark: SparkSession) -> None:
    rates = {"EUR": "1", "USD": "0.92", "JPY": "0.0062", "BTC": "0.000000000001", "KWD": "3.0"}
    money = Money("EUR", 2, {code: Decimal(rate) for code, rate in rates.items()})
    finer, none = "unit_price: finer than a minor unit", "unit_price: not a number"
    cases: dict[tuple[str, str, int], int | str] = {
        ("0.005", "USD", 1): 0,  # 0.46 cents
        ("1e-7", "EUR", 1): finer,
        ("-0.00", "EUR", 1): 0,
        ("1,234.56", "EUR", 1): none,
        ("12,50", "EUR", 1): none,
        ("1e3", "EUR", 1): 100_000,
        ("٣", "EUR", 1): none,
        ("2.5549999999", "EUR", 1): finer,
        ("100", "BTC", 1): 0,
        ("1", "JPY", 3): 2,  # 1.86 cents: of three, not of each
        ("1.235", "KWD", 1): 371,  # 370.5 cents
        ("9999999999", "EUR", 9_999_999_999): "unit_price: too large",
        ("NaN", "EUR", 1): none,
        ("Infinity", "EUR", 1): none,
        ("2.5500000000000003", "EUR", 1): 255,  # what floats make of 0.85 times three
        ("0.0000004", "EUR", 1_000_000): 40,
        ("50000000000000000", "EUR", 1): "unit_price: too large",
        ("999999999999.99", "EUR", 1): 99_999_999_999_999,
        ("1000000000000.01", "EUR", 1): "unit_price: too large",
        ("-1", "EUR", 1): "unit_price: below 0",
        ("1", "XYZ", 1): "currency: no rate for it",
        ("", "EUR", 1): "unit_price: missing",
    }
    got = amounts(spark, money, list(cases))
    assert dict(zip(cases, (v if r is None else r for v, r in got), strict=True)) == cases


def test_rates_in_the_billions_are_exact(spark: SparkSession) -> None:
    money = Money(
        "IDR", 2, {"IDR": Decimal(1), "BTC": Decimal("1700000000"), "EUR": Decimal(17500)}
    )
    rows = [("0.5", "BTC", 1), ("2.55", "EUR", 1), ("0.000000000001", "BTC", 3)]
    half_up = (Decimal("0.0051") * 100).quantize(Decimal(1), ROUND_HALF_UP)
    assert amounts(spark, money, rows) == [
        (85_000_000_000, None),
        (4_462_500, None),
        (int(half_up), None),
    ]


def test_ids_lose_what_cannot_be_seen_at_their_ends(spark: SparkSession) -> None:
    texts = [
        "u1",
        "u1 ",
        "\tu1",
        "u1\u00a0",
        "u1\u200b",
        "\ufeffu1",
        "u1\u0000",
        "\u3000u1\u2060\u200d",
        "\u3164u1\u115f\u1160\uffa0",
        "u1\u2800",
        "\u180bu1\u180e\ufe0f\U000e0100",
        "\U000e0001u1\U000e0041\U000e007f",
    ]
    empty = ["", " ", "\t", "\u00a0", "\u200b\ufeff", "\u3164\u2800", "\U000e0020"]
    inside = ["a\u200db", "a b", "u\u00a01", "u\u31641", "\U0001f600", "u" + " " * 200_000 + "1"]
    written = texts + empty + inside
    rows = with_texts(spark.createDataFrame(list(enumerate(written)), "i int, in_id string"))
    got = [row.id for row in rows.select("i", text_id("id").alias("id")).orderBy("i").collect()]
    assert got == ["u1"] * len(texts) + [None] * len(empty) + inside
    assert [canonical_id(text) or None for text in written] == got
    assert canonical_id(unicodedata.normalize("NFD", " José")) == "José"
    ends = [f"{c}é{c}" for c in INVISIBLE] + [chr(p) for p in range(0xA1, 0x3000, 7)]
    rows = with_texts(spark.createDataFrame(list(enumerate(ends)), "i int, in_id string"))
    got = [
        row.id or "" for row in rows.select("i", text_id("id").alias("id")).orderBy("i").collect()
    ]
    assert got == [text.strip(INVISIBLE) for text in ends]


def test_what_unicode_says_is_not_seen_is_invisible() -> None:
    number_signs = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    unseen = {
        chr(point)
        for point in {*range(sys.maxunicode + 1)} - number_signs
        if unicodedata.category(chr(point)) in ("Cc", "Cf", "Zs", "Zl", "Zp")
    }
    drawn_as_nothing = {"\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u3164", "\uffa0"}
    selectors = {*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0))}
    mongolian = {*map(chr, range(0x180B, 0x1810))}
    assert unseen | drawn_as_nothing | selectors | mongolian | {"\u2800"} <= set(INVISIBLE)
    seen = {c for c in INVISIBLE if unicodedata.category(c)[0] in "LNPS"}
    assert seen == {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}


def test_two_ways_to_write_the_same_letters_are_one() -> None:
    apart, together = unicodedata.normalize("NFD", "José"), "José"
    rows = [[apart, None, "a"], None, [], [together, "b", None]]
    cells = pa.array(rows, pa.list_(pa.string()))
    assert composed(cells).to_pylist() == [[together, None, "a"], None, [], [together, "b", None]]
    ascii_only = pa.array([["a", None], None], pa.list_(pa.string()))
    assert composed(ascii_only) is ascii_only
    assert composed(pa.array([None, None], pa.list_(pa.string()))).to_pylist() == [None, None]


def test_letters_that_json_escapes_are_composed_as_well() -> None:
    r"""An array in a cell of CSV, as Python and PHP write it, has `Jose\u0301` for an id."""
    cases = {
        r'{"u": "Jose\u0301"}': r'{"u": "Jos\u00e9"}',
        r"\u0065\u0301": r"\u00e9",
        r"a\u0302\u0301": r"\u1ea5",
        "\u00ea\\u0301": r"\u1ebf",
        r"\u1112\u1161\u11ab": r"\ud55c",
        r"\ud83d\ude00e\u0301": r"\ud83d\ude00\u00e9",
        r"\ud83de\u0301": r"\ud83d\u00e9",
    }
    assert [composed_escapes(text) for text in cases] == list(cases.values())
    as_they_are = [r"Jose\\u0301", r'"\u0301"', r"\n\u0301", r"Jos\u00e9", r"C:\users\u", "\\"]
    assert [composed_escapes(text) for text in as_they_are] == as_they_are
    cells = pa.array([[r"e\u0301", None, "e\u0301"], None, ["a"]], pa.list_(pa.string()))
    assert composed(cells).to_pylist() == [[r"\u00e9", None, "\u00e9"], None, ["a"]]
