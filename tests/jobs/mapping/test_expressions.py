"""Expressions of a mapping: refused before anything is read, or computed cell by cell."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import UsageError
from jobs.cleaning.mapping_analysis import check_expressions
from jobs.mapping.clock_words import CLOCK_WORD
from jobs.mapping.expressions import Expression, day_of, evaluated, examined, refusal
from jobs.mapping.sources import SourceMapping, mapping_of


def over(spark: SparkSession, *cells: str | None) -> DataFrame:
    """Rows with a raw column `a`; the last one could not be decoded."""
    rows = [(cell, None) for cell in cells] + [(None, "not valid JSON")]
    return spark.createDataFrame(rows, "a string, problem string").select(
        "a", F.struct("problem").alias("_landed")
    )


def computed(spark: SparkSession, text: str, *cells: str | None) -> list[Any]:
    """The expression's values over the cells; for those that it cannot be computed of, why."""
    rows = evaluated(over(spark, *cells), [Expression("quantity", text, "value")], "here")
    *rows_but_one, undecodable = rows.collect()
    assert undecodable._failed is None
    return [row.value if row._failed is None else row._failed for row in rows_but_one]


def test_a_cell_that_an_expression_cannot_be_computed_of_costs_its_own_row(
    spark: SparkSession,
) -> None:
    bad = "quantity: cast(a as bigint) cannot be computed"
    assert computed(spark, "cast(a as bigint)", "17", "jane@example.com", None) == [17, bad, None]
    bad = "quantity: to_date(a) cannot be computed"
    assert computed(spark, "to_date(a)", "2025-01-31", "soon") == [date(2025, 1, 31), bad]
    bad = "quantity: 10 / cast(a as int) cannot be computed"
    assert computed(spark, "10 / cast(a as int)", "4", "0") == [2.5, bad]
    bad = "quantity: split(a, ',')[1] -- the second cannot be computed"
    assert computed(spark, "split(a, ',')[1]\n -- the second", "x,y", "x") == ["y", bad]
    assert computed(spark, "a", "x", "", None) == ["x", "", None]


def test_a_value_keeps_its_type(spark: SparkSession) -> None:
    assert computed(spark, "timestamp_micros(cast(a as bigint))", "1738281600123456") == [
        datetime(2025, 1, 31, 0, 0, 0, 123456)
    ]
    assert computed(spark, "cast(a as decimal(18,6))", "0.100000") == [Decimal("0.100000")]
    assert computed(spark, "cast(a as double)", "0.1") == [0.1]
    assert computed(spark, "cast(a as int) > 3", "4", "3") == [True, False]


def test_bytes_that_are_no_text_are_no_value(spark: SparkSession) -> None:
    """Spark would make one and the same sign of all of them, and one user of two."""
    for text in (
        "cast(unbase64(a) as string)",
        "concat('x', unbase64(a))",
        "concat_ws('-', unbase64(a), 'x')",
    ):
        bad = f"quantity: {text} cannot be computed"
        assert computed(spark, text, "//79", "/v/6") == [bad, bad]
    assert computed(spark, "hex(unbase64(a))", "//79", "/v/6") == ["FFFEFD", "FEFFFA"]
    assert computed(spark, "cast(unbase64(a) as string)", "w7w=") == ["ü"]


def test_what_gives_bytes_is_refused_with_what_to_write(spark: SparkSession) -> None:
    wrong = mapping(
        """
        [sources.log]
        files = "{day}.csv"
        format = "csv"
        columns = ["who", "at", "x"]
        [sources.log.tables.users]
        user_id = "unbase64(who)"
        occurred_at = "at"
        country = "encode(x, 'utf-8')"
        attributes = { a = "unhex(x)", b = "to_binary(x, 'hex')", c = "cast(x as binary)" }
        """
    )
    with pytest.raises(UsageError) as error:
        check_expressions(spark, wrong)
    problem = ": expected a text, such as hex(…) or base64(…) of it, found one that gives binary"
    assert str(error.value).splitlines()[1:] == [
        f"  sources.log.tables.users.user_id: unbase64(who){problem}",
        f"  sources.log.tables.users.country: encode(x, 'utf-8'){problem}",
        f"  sources.log.tables.users.attributes.a: unhex(x){problem}",
        f"  sources.log.tables.users.attributes.b: to_binary(x, 'hex'){problem}",
        f"  sources.log.tables.users.attributes.c: cast(x as binary){problem}",
    ]


def test_what_two_expressions_share_is_caught_in_each(spark: SparkSession) -> None:
    both = [Expression(f"f{i}", f"cast(a as bigint) + {i}", f"v{i}") for i in range(3)]
    rows = evaluated(over(spark, "1", "x"), both, "here").collect()
    assert [row._failed for row in rows] == [
        None, "f0: cast(a as bigint) + 0 cannot be computed", None
    ]  # fmt: skip


def test_a_text_that_is_taken_for_a_condition_costs_its_own_row(spark: SparkSession) -> None:
    for text, yes, no in (
        ("a = true", True, False),
        ("not a", False, True),
        ("a in (true)", True, False),
        ("(a = 'true') = a", True, True),
        ("a <> false", True, False),
    ):
        bad = f"quantity: {text} cannot be computed"
        assert computed(spark, text, "true", "maybe", "false", None)[:3] == [yes, bad, no], text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rand() < 0.5", "rand() gives something else each time, so that a night that is run again "
         "would differ"),
        ("uuid()", "uuid() gives something else each time, so that a night that is run again would "
         "differ; make an id of columns, such as sha2(concat_ws('-', id, at), 256)"),
        ("user", "no column user: Spark's own user says where it is computed, not what the row holds"),
        ("Current_Date", "no column Current_Date: Spark's own current_date asks the clock; use a time "
         "that stands in the row"),
        ("unix_timestamp( )", "unix_timestamp() asks the clock; use a time that stands in the row"),
        ("sum(a) over (order by a)", "looks at other rows (over); an expression sees one row"),
        ("(select max(a))", "asks a query (select); an expression sees one row"),
        ("reflect('java.lang.System', 'exit')", "reflect() calls code outside Spark SQL"),
        ("`rand` ()", "rand() gives something else each time, so that a night that is run again would "
         "differ"),
        ("`Now`()", "now() asks the clock; use a time that stands in the row"),
        ("`unix_timestamp`()", "unix_timestamp() asks the clock; use a time that stands in the row"),
        ("`user`", "no column `user`: Spark's own user says where it is computed, not what the row "
         "holds"),
        ("date'today'", f"date'today' {CLOCK_WORD}"),
        ("Timestamp ' now '", f"Timestamp' now ' {CLOCK_WORD}"),
        ('date"Yesterday"', f'date"Yesterday" {CLOCK_WORD}'),
        ("coalesce(to_date(a), date r'tomorrow Europe/Berlin')",
         f"dater'tomorrow Europe/Berlin' {CLOCK_WORD}"),
        ("timestamp_ntz'epoch'", f"timestamp_ntz'epoch' {CLOCK_WORD}"),
    ],
)  # fmt: skip
def test_what_is_not_a_function_of_the_row_is_refused(text: str, why: str) -> None:
    assert refusal(text, ["a", "b"]) == why


@pytest.mark.parametrize(
    "text",
    ["a.user", "a.`user`", "'rand()'", "a -- rand()", "unix_timestamp(a)", "randy", '"now()"',
     "date'2025-01-31'", "a = 'today'", "`rand`"],
)  # fmt: skip
def test_names_and_strings_are_no_calls(text: str) -> None:
    assert refusal(text, ["a"]) is None
    assert refusal("user", ["User"]) is None
    assert refusal("`user`", ["user"]) is None


def test_a_word_of_the_clock_is_refused_where_it_is_read_as_a_time(spark: SparkSession) -> None:
    rows = over(spark)
    for word, text in (
        ("'now'", "cast('now' as timestamp)"),
        ("'today'", "try_cast('today' as date)"),
        ("'today'", "'today'::date"),
        ("'yesterday'", "to_date('yesterday')"),
        ("'now'", "`try_to_timestamp`('now')"),
        ("' Now UTC'", "date(' Now UTC')"),
        ("'today'", "date_add('today', 1)"),
        ("'now'", "date_trunc('day', 'now')"),
        ("'now'", "'now' - interval 1 day"),
        ("'today'", "to_date(a) = 'today'"),
        ("'tomorrow'", "to_date(a) between date'2025-01-31' and 'tomorrow'"),
    ):
        problems = examined(rows, [Expression("where", text)])
        assert problems == [f"where: {text}: {word} {CLOCK_WORD}"]
    for text in (
        "a = 'today'",
        "a in ('now', 'later')",
        "case a when 'now' then 'today' else 'epoch' end",
        "concat(a, 'today')",
        "array_contains(split(a, ','), 'today')",
        "map('now', 1, 'later', 2)[a]",
        "to_date(a, 'yyyy')",
        "cast(a as date)",
    ):
        (type_,) = examined(rows, [Expression("where", text)])
        assert not isinstance(type_, str), text


def test_a_word_of_the_clock_in_a_cell_is_no_day(spark: SparkSession) -> None:
    cells = ("today", "now", " yesterday ", "tomorrow UTC", "epoch")
    for text in ("cast(a as date)", "to_date(a)", "cast(a as timestamp)", "to_timestamp(a)"):
        bad = f"quantity: {text} cannot be computed"
        assert computed(spark, text, *cells) == [bad] * len(cells)
    rows = over(spark, *cells).select(day_of("a").alias("day"))
    assert {row.day for row in rows.collect()} == {None}


def mapping(text: str) -> SourceMapping:
    problems: list[str] = []
    read = mapping_of(tomllib.loads(text), "m", problems)
    assert read is not None, problems
    return read


def test_all_wrong_expressions_are_told_at_once_with_what_to_write(spark: SparkSession) -> None:
    wrong = mapping(
        """
        [money]
        reporting_currency = "EUR"
        [sources.log]
        files = "all.csv"
        format = "csv"
        columns = ["id", "total", "n", "at"]
        landed_on = "cast(n as int)"
        [sources.log.tables.orders]
        line_id = "id"
        order_id = "user"
        user_id = "who"
        item_id = "explode(split(id, ','))"
        quantity = "sum(n)"
        unit_price = "total / n"
        currency = "'EUR"
        occurred_at = "array(at)"
        where = "n"
        reject = [{ reason = "odd", when = "trunk(n)" }]
        [sources.again]
        files = "{day}.csv"
        format = "csv"
        columns = ["id"]
        [sources.again.tables.users]
        user_id = "id"
        occurred_at = "now()"
        attributes = { x = "y" }
        """
    )
    with pytest.raises(UsageError) as error:
        check_expressions(spark, wrong)
    assert str(error.value).splitlines() == [
        "the mapping has expressions that are wrong:",
        "  sources.log.landed_on: cast(n as int): expected a day or a time, found one that gives int",
        "  sources.log.tables.orders.order_id: user: no column user: Spark's own user says where it is "
        "computed, not what the row holds; a constant needs inner quotes: order_id = \"'user'\"",
        "  sources.log.tables.orders.user_id: who: no column who; the source's columns are id, total, "
        "n, at, line_number, file_name; a constant needs inner quotes: user_id = \"'who'\"",
        "  sources.log.tables.orders.item_id: explode(split(id, ',')): makes several rows of one; an "
        "expression gives one value; where a row holds several facts, say of its table each = "
        '"split(id, \',\')" and item_id = "each"',
        "  sources.log.tables.orders.quantity: sum(n): counts or looks at several rows; an expression "
        "sees one row",
        '  sources.log.tables.orders.unit_price: total / n: Cannot resolve "(total / n)" due to data '
        'type mismatch: the binary operator requires the input type ("DOUBLE" or "DECIMAL"), not '
        '"STRING". Every raw column is text: convert it first, such as try_cast(total as '
        "decimal(18, 6))",
        "  sources.log.tables.orders.currency: 'EUR: not an expression of Spark SQL, near '''; a "
        "column whose name is a keyword or has other signs than letters, digits and underscores needs "
        "backticks",
        "  sources.log.tables.orders.occurred_at: array(at): expected one value, found one that gives "
        "array<string>",
        "  sources.log.tables.orders.where: n: expected a condition, which is true or false, found one "
        "that gives string",
        "  sources.log.tables.orders.reject[0]: trunk(n): no function trunk",
        "  sources.again.tables.users.occurred_at: now(): now() asks the clock; use a time that stands "
        "in the row",
        "  sources.again.tables.users.attributes.x: y: no column y; the source's columns are id, "
        "line_number, file_name; a constant needs inner quotes: x = \"'y'\"",
    ]


def test_a_bare_word_that_no_column_has_is_told_to_be_a_constant_without_quotes(
    spark: SparkSession,
) -> None:
    def why(place: str, text: str) -> str:
        (problem,) = examined(over(spark, "x"), [Expression(place, text)])
        assert isinstance(problem, str)
        return problem.removeprefix(f"{place}: {text}: ")

    none = "no column {}; the source's columns are a"
    keyword = (
        "not an expression of Spark SQL, near {}; a column whose name is a keyword or has other "
        "signs than letters, digits and underscores needs backticks"
    )
    constant = "; a constant needs inner quotes: {}"
    for place, text, expected in (
        ("currency", "EUR", none.format("EUR") + constant.format("currency = \"'EUR'\"")),
        ("verb", "like", none.format("like") + constant.format("verb = \"'like'\"")),
        (
            "country",
            "North Rhine Westphalia",
            keyword.format("'Westphalia'")
            + constant.format("country = \"'North Rhine Westphalia'\""),
        ),
        ("country", "de-DE", none.format("de") + constant.format("country = \"'de-DE'\"")),
        ("attributes.by", "web app", none.format("web") + constant.format("by = \"'web app'\"")),
        ("kind", "if(a = x, 'a', 'b')", none.format("x") + "; a text needs quotes: 'x'"),
        ("where", "purchase", none.format("purchase") + "; a text needs quotes: 'purchase'"),
        ("country", "upper(`a b`)", none.format("a b")),
        ("quantity", "a +", keyword.format("end of input")),
    ):
        assert why(place, text) == expected, text


def test_what_makes_several_rows_of_one_is_told_to_be_each(spark: SparkSession) -> None:
    several = "makes several rows of one; an expression gives one value"
    facts = f"{several}; where a row holds several facts, say of its table each = "
    rows = over(spark, "x").withColumn("lines", F.lit("[]"))
    for place, text, expected in (
        ("item_id", "explode(lines)", facts + '"lines" and item_id = "each"'),
        ("attributes.by", "POSEXPLODE( lines )", facts + '"lines" and by = "each"'),
        (
            "item_id",
            "explode_outer(from_json(lines, 'array<string>'))",
            facts + '"from_json(lines, \'array<string>\')" and item_id = "each"',
        ),
        ("item_id", "upper(explode(split(a, ',')))", facts + '"…"'),
        ("where", "explode(split(a, ',')) = 'x'", facts + '"…"'),
        ("item_id", "stack(2, a, 'x')", facts + '"…"'),
        ("each", "explode(lines)", f'{several}; it needs the array alone: each = "lines"'),
        ("landed_on", "explode(split(a, ','))", several),
    ):
        problems = examined(rows, [Expression(place, text)])
        assert problems == [f"{place}: {text}: {expected}"]
    with_each = rows.withColumn("each", F.lit("x"))
    assert examined(with_each, [Expression("item_id", "explode(split(each, ','))")]) == [
        f"item_id: explode(split(each, ',')): {several}; what its table has several of is its each, one "
        "array alone"
    ]


def test_a_misspelt_column_is_told_with_the_one_that_is_like_it(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [], "total string, customer struct<id: string, name: string>, `buyer.id` string"
    )
    assert examined(
        rows,
        [
            Expression("amount", "Totl"),
            Expression("country", "upper(customer.nam)"),
            Expression("user_id", "buyer.id"),
        ],
    ) == [
        "amount: Totl: no column Totl; the source's columns are total, customer, buyer.id; is it "
        "total?",
        "country: upper(customer.nam): no nam in a column that has id, name; is it name?",
        "user_id: buyer.id: no column buyer.id; the source's columns are total, customer, buyer.id; "
        "is it `buyer.id`?",
    ]
