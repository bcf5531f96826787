"""Raw rows of several facts: each element is judged, and nothing is lost."""

from __future__ import annotations

import io
import json
import random
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from rich.console import Console

from contracts.clean_tables import clean_table_named
from contracts.errors import ContractError, UsageError
from flows.cli.mapping_check_page import page
from flows.mapping_check.result import Checked, as_json
from jobs.cleaning import erased_rows
from jobs.cleaning.elements import type_of_elements
from jobs.cleaning.fields import NO_MONEY, Context
from jobs.cleaning.mapping_analysis import check_expressions
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import verdicts
from jobs.landing.landing import landed
from jobs.mapping.element_keys import SeenKeys
from jobs.mapping.sources import RawFile
from jobs.values.user_key import UserKey
from tests.flows.mapping_check.test_trial import checked
from tests.jobs.mapping.test_expressions import mapping

DAY = date(2025, 1, 1)


NESTED = """
[money]
reporting_currency = "EUR"
[sources.shop]
files = "{day}.jsonl"
format = "jsonl"
columns = ["id", "type", "customer.id", "created", "lines"]
[sources.shop.tables.orders]
each = "lines"
line_id = "concat_ws('-', id, each.id)"
order_id = "id"
user_id = "`customer.id`"
item_id = "each.sku"
quantity = "each.qty"
unit_price = "each.price.amount"
currency = "each.price.currency"
occurred_at = "created"
[sources.shop.tables.users]
user_id = "`customer.id`"
occurred_at = "created"
"""


def line(n: int, sku: str | None = "x", qty: object = 1, amount: object = "2.50") -> dict:
    return {"id": n, "sku": sku, "qty": qty, "price": {"amount": amount, "currency": "EUR"}}


def order(id_: str, lines: object, type_: str = "order") -> str:
    return json.dumps(
        {"id": id_, "type": type_, "customer": {"id": "ann"}, "created": "2025-01-01T10:00:00",
         "lines": lines}
    )  # fmt: skip


def tried(spark: SparkSession, folder: Path, rows: list[str], toml: str = NESTED) -> Checked:
    (folder / "m.toml").write_text(toml)
    (folder / f"{DAY}.jsonl").write_text("\n".join(rows) + "\n")
    return checked(spark, folder / "m.toml", folder, folder / "t", date(2025, 1, 2))


def test_each_element_of_a_row_is_a_fact_and_no_row_is_lost(
    spark: SparkSession, tmp_path: Path
) -> None:
    result = tried(
        spark,
        tmp_path,
        [
            order("o1", [line(1), line(2, sku=None), line(3, qty="two"), line(4, amount=2.5)]),
            order("o2", [line(1)]),
            order("o2", [line(1)]),  # a retry
            order("o3", []),
            order("o4", None),
            order("o5", {"id": 1}),
            order("o6", [line(1), None]),
            order("o7", "none"),
            "{",
            order("o8", [line(1), "gift", line(3), 7, [line(5)], json.dumps(line(6))]),
        ],
    )
    orders, users = result.tables
    assert (orders.rows_in, orders.clean, orders.duplicate) == (19, 7, 1)
    assert {reason.text: reason.rows for reason in orders.reasons} == {
        "each: empty": 1,
        "each: missing": 1,
        "each: no object, as expressions expect": 4,
        "each: not a JSON array": 2,
        "item_id: missing": 1,
        "not valid JSON": 1,
        "quantity: not a whole number": 1,
    }
    samples = {
        reason.text: [(sample.place, sample.fields.split(" | ")[-1]) for sample in reason.samples]
        for reason in orders.reasons
    }
    assert samples["item_id: missing"] == [
        ("2025-01-01.jsonl:1, element 2",
         '{"aa": 9, "aaa": aaaa, "aaa": 9, "aaaaa": {"aaaaaa": "9.99", "aaaaaaaa": "aaa"}}'),
    ]  # fmt: skip
    assert samples["each: no object, as expressions expect"] == [
        ("2025-01-01.jsonl:7, element 2", "aaaa"),
        ("2025-01-01.jsonl:10, element 2", '"aaaa"'),
    ]
    assert users.rows_in == 10


def test_an_expression_may_give_the_array_and_where_says_which_rows_are_meant(
    spark: SparkSession, tmp_path: Path
) -> None:
    parsed = NESTED.replace(
        'each = "lines"',
        "each = \"from_json(lines, 'array<struct<id int, sku string, qty string, price "
        "struct<amount string, currency string>>>')\"\n"
        "where = \"type = 'order' and coalesce(each.sku, '') <> 'gift'\"",
    )
    result = tried(
        spark,
        tmp_path,
        [
            order("o1", [line(1, amount=2.25), line(2, sku="gift"), line(3, qty=2)]),
            order("o2", None, "login"),
            order("o3", [], "order"),
        ],
        parsed,
    )
    assert [reason.text for reason in result.tables[0].reasons] == ["each: empty"], result.tables
    assert (result.tables[0].rows_in, result.tables[0].clean) == (3, 2)


def test_elements_without_an_id_are_told_apart_by_their_place(
    spark: SparkSession, tmp_path: Path
) -> None:
    toml = NESTED.replace("concat_ws('-', id, each.id)", "concat_ws('-', id, element_number)")
    result = tried(spark, tmp_path, [order("o1", [line(1), line(1)]), order("o2", [line(1)])], toml)
    orders, _ = result.tables
    assert (orders.rows_in, orders.clean, orders.duplicate) == (3, 3, 0)


@pytest.mark.slow
def test_what_means_nothing_in_a_cell_means_nothing_in_an_element(
    spark: SparkSession, tmp_path: Path
) -> None:
    """By default and as a source says, however deep it lies, and in lists of texts."""
    rows = [
        order(
            "o1", [line(1, sku="N/A"), line(2, qty=" NULL\t\u00a0"), line(3, amount="nan"), line(4)]
        ),
        order("o2", [line(5, sku="null."), line(6, amount=""), line(7, sku="-")]),
    ]
    of_texts = [
        json.loads(row) | {"friends": ["bob", "NULL", " nan ", None, "-"]} for row in rows[:1]
    ]
    toml = NESTED.replace('"lines"]', '"lines", "friends"]').replace(
        '[sources.shop.tables.users]\nuser_id = "`customer.id`"',
        '[sources.shop.tables.users]\neach = "friends"\nuser_id = "each"',
    )
    result = tried(spark, tmp_path, [*map(json.dumps, of_texts), *rows[1:]], toml)
    orders, users = result.tables
    assert (orders.rows_in, orders.clean) == (7, 3)
    assert {reason.text: reason.rows for reason in orders.reasons} == {
        "item_id: missing": 1,
        "quantity: missing": 1,
        "unit_price: missing": 2,
    }
    assert (users.rows_in, users.clean) == (6, 2)
    assert {reason.text: reason.rows for reason in users.reasons} == {
        "each: missing": 1,
        "user_id: missing": 3,
    }
    (tmp_path / f"{DAY}.jsonl").unlink()
    said = NESTED.replace('"jsonl"', '"jsonl"\nnull_values = ["", "-"]')
    result = tried(spark, tmp_path, rows[1:], said)
    assert [(reason.text, reason.rows) for reason in result.tables[0].reasons] == [
        ("item_id: missing", 1), ("unit_price: missing", 1)
    ]  # fmt: skip


def renamed(rows: list[str]) -> list[str]:
    """The rows, with quantities and amounts under other keys."""
    return [row.replace('"qty"', '"quantity"').replace('"amount"', '"amuont"') for row in rows]


def test_a_key_that_no_element_has_stops_the_run_with_those_that_are_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = renamed([order("o1", [line(1), "gift"]), order("o2", [line(2)])])
    with pytest.raises(ContractError) as error:
        tried(spark, tmp_path, rows)
    assert str(error.value) == (
        "source shop cannot be landed:\n"
        "  2025-01-01.jsonl: no element of lines has the key price.amount (is it price.amuont?), qty; "
        "the keys there are id, price, price.amuont, price.currency, quantity, sku; if elements may "
        'lack it, say missing_key = "null" in the mapping'
    )
    (tmp_path / f"{DAY}.jsonl").unlink()
    nulls = NESTED.replace('"jsonl"', '"jsonl"\nmissing_key = "null"')
    result = tried(spark, tmp_path, rows, nulls)
    assert result.absent_keys == (
        "shop: no element of lines has the key price.amount (is it price.amuont?), qty; the keys "
        "there are id, price, price.amuont, price.currency, quantity, sku",
    )
    assert as_json(result)["keys_of_no_element"] == list(result.absent_keys)
    assert [(reason.text, reason.rows) for reason in result.tables[0].reasons] == [
        ("quantity: missing", 2), ("each: no object, as expressions expect", 1)
    ]  # fmt: skip
    out = Console(width=400, record=True, file=io.StringIO())
    page(out, result)
    assert f"  {result.absent_keys[0]}" in out.export_text().splitlines()


def test_keys_of_elements_are_seen_wherever_they_first_are() -> None:
    seen = SeenKeys([("sku",), ("price", "amount")])
    seen.note("no array")
    seen.note([])
    assert not seen.are_absent
    seen.note([{"SKU": 1}, None, "x", {"sku": None}])
    assert seen.are_absent
    seen.note([{"price": "2.50"}, {"price": {"amount": None}}])
    assert (seen.are_absent, seen.unseen) == (False, set())


def test_keys_of_elements_that_may_be_people_are_told_by_their_shape() -> None:
    seen = SeenKeys([("sku",)])
    seen.note([{"Ann Miller": 1, "id": 2}, {"Bob": 1, "id": 3}, {"id": 4}])
    assert seen.absent_message("lines") == (
        "no element of lines has the key sku; the keys there are aaa aaaaaa, aaa, id"
    )


def test_keys_of_an_array_that_an_expression_makes_are_known_before_anything_is_read(
    spark: SparkSession,
) -> None:
    parsed = NESTED.replace(
        'each = "lines"',
        "each = \"from_json(lines, 'array<struct<id int, sku string, quantity int, Price "
        "struct<amount string, currency string>>>')\"",
    ).replace("each.price.currency", "each.price.curency")
    with pytest.raises(UsageError) as error:
        check_expressions(spark, mapping(parsed))
    assert str(error.value).splitlines()[1:] == [
        "  sources.shop.tables.orders.quantity: each.qty: no qty in a column that has id, sku, "
        "quantity, Price",
        "  sources.shop.tables.orders.currency: each.price.curency: no curency in a column that has "
        "amount, currency; is it currency?",
    ]


def test_quarantined_elements_of_a_row_share_no_partition_of_a_window(
    spark: SparkSession, tmp_path: Path
) -> None:
    """A row of a million bad elements would be sorted by one task."""
    rows = [order(f"o{n}", [line(i, sku=None) for i in range(5)]) for n in range(2)]
    (tmp_path / f"{DAY}.jsonl").write_text("\n".join(rows) + "\n")
    of = mapping(NESTED)
    judged = verdicts(
        landed(spark, of.sources[0], [RawFile(tmp_path / f"{DAY}.jsonl", "x", DAY)]),
        of.feeding("orders"),
        lambda source: rules_of(
            clean_table_named("orders"),
            Context(UserKey(b"a key for the tests"), of.money or NO_MONEY),
        ),
        [DAY],
        0,
    )
    assert judged.where("verdict = 'quarantined'").count() == 10
    assert judged.select("_id").distinct().count() == 10


def test_keys_of_elements_are_those_that_expressions_name() -> None:
    texts = ["each.sku", "upper(Each.`unit price`)", "each.price.amount", "x.each.no", "'each.no'"]
    assert type_of_elements(texts) == T.StructType(
        [
            T.StructField("sku", T.StringType()),
            T.StructField("unit price", T.StringType()),
            T.StructField("price", T.StructType([T.StructField("amount", T.StringType())])),
        ]
    )
    assert type_of_elements(["lower(each)"]) == T.StringType()


def test_what_is_no_array_is_told_beside_other_mistakes(spark: SparkSession) -> None:
    wrong = mapping(NESTED.replace('"lines"\nline_id', '"size(split(lines, \',\'))"\nline_id')
                    .replace('"each.sku"', '"nothing"'))  # fmt: skip
    with pytest.raises(UsageError) as error:
        check_expressions(spark, wrong)
    assert str(error.value).splitlines()[1:] == [
        "  sources.shop.tables.orders.each: size(split(lines, ',')): expected an array, or a text "
        "that is one in JSON, found one that gives int",
        "  sources.shop.tables.orders.item_id: nothing: no column nothing; the source's columns "
        "are id, type, customer.id, created, lines, line_number, file_name, each, element_number; a "
        "constant needs inner quotes: item_id = \"'nothing'\"",
    ]


def test_elements_are_taken_out_of_an_array_and_the_others_stay_as_they_are_written() -> None:
    assert erased_rows.without_elements('[1.50, {"a": "], \\"x"} ,[2]]', [2]) == "[1.50, null ,[2]]"
    for no_array in (None, "", "[1, 2", "[1] x", '{"a": [1]}', "[1,,2]", "[]", "[,]"):
        assert erased_rows.without_elements(no_array, [1]) is None, no_array
    draws = random.Random(5)

    def value(depth: int) -> object:
        kind = draws.randrange(6 if depth else 4)
        if kind == 4:
            return [value(depth - 1) for _ in range(draws.randrange(4))]
        if kind == 5:
            return {draws.choice('ab]"'): value(depth - 1) for _ in range(draws.randrange(3))}
        return (draws.choice(['a"b', "x]y", "{", ",", "\\", "é\n", "it's"]), 7, None, 1.5)[kind]

    for _ in range(500):
        values = [value(3) for _ in range(draws.randrange(1, 6))]
        indent = draws.choice([None, 1])
        text = json.dumps(values, indent=indent, ensure_ascii=draws.random() < 0.5)
        gone = draws.sample(range(len(values)), draws.randrange(1, len(values) + 1))
        left = [None if i in gone else v for i, v in enumerate(values)]
        others = erased_rows.without_elements(text, [i + 1 for i in gone])
        assert others is not None, text
        assert json.loads(others) == left, text
        assert erased_rows.without_elements(text, [len(values) + 1]) is None


def test_what_is_said_of_rows_that_were_erased_is_read_as_earlier_versions_wrote_it(
    spark: SparkSession,
) -> None:
    said = ["erased: orders, users", "erased: orders 3, users", "erased: ", "not valid JSON", None]
    rows = spark.createDataFrame([(text,) for text in said], "problem string")
    n = [erased_rows.n_rows(F.col("problem"), name) for name in ("orders", "users", "posts")]
    assert [tuple(row) for row in rows.select(*n).collect()] == [
        (1, 1, None), (3, 1, None), *3 * [(None, None, None)]
    ]  # fmt: skip
