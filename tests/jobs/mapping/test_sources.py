from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from contracts.clean_tables import CLEAN_TABLES
from contracts.content_specs import ContentHead
from contracts.errors import UsageError
from contracts.mapping import SOURCE_SETTINGS
from jobs.cleaning.fields import Context
from jobs.mapping.content_heads import heads_of
from jobs.mapping.sources import Source, read_mapping
from jobs.values.text import TextRules
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY
from tests.jobs.mapping.mappings import GOOD, written


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "infra/sources").glob("*.toml")), ids=lambda p: p.name
)
def test_shipped_mappings_are_valid(path: Path) -> None:
    assert read_mapping(path).mapped_tables


def test_a_mapping_says_what_feeds_what(tmp_path: Path) -> None:
    mapping = read_mapping(written(tmp_path, GOOD))
    ((source, table),) = mapping.feeding("posts")
    assert source.daily
    assert table.fields["post_id"] == "id"
    assert mapping.mapped_tables == {"posts"}


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [sources.Log]
        files = "all.csv"
        format = "xml"
        columns = ["a"]
        timezone = "Mars/Base"
        tables.orders = { order_id = "a", colour = "a", quantity = 3 }
        """,
    )
    with pytest.raises(UsageError) as error:
        read_mapping(path)
    assert str(error.value) == "\n".join(
        [
            f"{path} is not a valid mapping:",
            "  sources.Log: expected lower-case letters, digits and underscores",
            "  sources.Log.format: expected one of csv, jsonl, json, parquet, xlsx, found 'xml'",
            "  sources.Log.timezone: expected a time zone such as Europe/Berlin, found 'Mars/Base'",
            "  sources.Log.landed_on: files has no {day}, so an expression must say on which day a row "
            'landed, such as "to_date(time)"',
            "  sources.Log.tables.orders.colour: unknown; expected one of amount, currency, each, "
            "item_id, kind, line_id, occurred_at, order_id, quantity, reject, undoes_order_id, unit_price, "
            "user_id, where",
            "  sources.Log.tables.orders.quantity: expected a Spark SQL expression in quotes, found 3",
            "  sources.Log.tables.orders.line_id: missing (the order line; rows with the same id are "
            "retries of one another)",
            "  sources.Log.tables.orders.user_id: missing (the user, as the source names them; leaves "
            "this stage as `user_key` only)",
            "  sources.Log.tables.orders.item_id: missing (what was ordered)",
            "  sources.Log.tables.orders.currency: missing (ISO code; needs a rate under `[money]`)",
            "  sources.Log.tables.orders.occurred_at: missing (when it happened)",
            "  sources.Log.tables.orders: expected exactly one of unit_price and amount, found neither",
        ]
    )


def test_orders_need_money(tmp_path: Path) -> None:
    text = (REPOSITORY / "infra/sources/online_retail.toml").read_text()
    without = text.replace('[money]\nreporting_currency = "GBP"\n', "")
    with pytest.raises(UsageError, match="sources.invoices.tables.orders needs \\[money\\]"):
        read_mapping(written(tmp_path, without))


def test_limits_of_bots_and_rules_of_text_are_read_and_checked(tmp_path) -> None:
    path = tmp_path / "m.toml"
    source = """
[sources.posts]
files = "{day}.csv"
format = "csv"
columns = ["a", "b", "c"]
[sources.posts.tables.posts]
post_id = "a"
user_id = "b"
occurred_at = "c"
"""
    path.write_text("[bots]\nposts = 7\n[text]\nurls = 'drop'\n" + source)
    mapping = read_mapping(path)
    assert mapping.bots == {"engagements": 1000, "posts": 7, "follows": 500, "reviews": 200}
    assert mapping.text == TextRules(urls="drop")
    path.write_text("[bots]\nposts = 0\norders = 5\n[text]\nurls = 1\n" + source)
    with pytest.raises(UsageError) as error:
        read_mapping(path)
    assert str(error.value).splitlines()[1:] == [
        "  text.urls: expected one of mask, drop, keep, found 1",
        "  bots.orders: unknown; expected one of engagements, follows, posts, reviews",
        "  bots.posts: expected a whole number of rows, 1 or more, found 0",
    ]


def test_the_mappings_that_are_shipped_are_valid() -> None:
    shipped = {path.stem: read_mapping(path) for path in (REPOSITORY / "infra/sources").iterdir()}
    assert set(shipped) == {"market", "online_retail", "ciao"}
    assert shipped["market"].mapped_tables == {table.name for table in CLEAN_TABLES}


def test_settings_have_the_defaults_that_are_documented() -> None:
    documented = {setting.name: setting.default for setting in SOURCE_SETTINGS}
    fields = {field.name: field.default for field in dataclasses.fields(Source)}
    assert {name: fields[name] for name in documented} == {
        name: dataclasses.MISSING if name in ("files", "format", "columns", "tables") else default
        for name, default in documented.items()
    }


@pytest.mark.parametrize("text", ["a = [" * 5000, "a = 1" + "0" * 5000, "a =", "\xff"])
def test_what_is_no_toml_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=f"^{re.escape(str(path))}: not a TOML file: "):
        read_mapping(path)


def test_a_folder_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_mapping(tmp_path)


SHOP = """
[money]
reporting_currency = "IDR"
rates = { BTC = "1700000000", EUR = 17500 }
[sources.log]
files = "{day}.csv"
format = "csv"
columns = ["a"]
time_format = ["dd.MM.yyyy", "epoch_millis"]
decimal = ","
thousands = "."
stars_scale = [0, 10]
[sources.log.tables.orders]
line_id = "a"
order_id = "a"
user_id = "a"
item_id = "a"
quantity = "a"
amount = "a"
currency = "a"
occurred_at = "a"
[sources.log.tables.reviews]
review_id = "a"
user_id = "a"
item_id = "a"
stars = "a"
occurred_at = "a"
stars_scale = [0, 100]
"""


def test_a_source_says_how_its_values_are_written(tmp_path: Path) -> None:
    mapping = read_mapping(written(tmp_path, SHOP))
    (source,) = mapping.sources
    given, of_reviews = (
        Context.of(UserKey(b"a key for the tests alone"), mapping, source, table)
        for table in ("orders", "reviews")
    )
    assert given.time_format == ("dd.MM.yyyy", "epoch_millis")
    assert (given.decimal, given.thousands, given.line_totals) == (",", ".", True)
    assert (given.stars_scale, of_reviews.stars_scale) == ((0, 10), (0, 100))
    assert mapping.money is not None
    # what one unit is worth in minor units, of which a rupiah has 100: 17 * 10**10
    assert mapping.money.factors == {
        "BTC": (17, -10),
        "EUR": (175, -4),
        "IDR": (1, -2),
    }


@pytest.mark.parametrize(
    ("money", "digits"),
    [
        ('"EUR"', 2),
        ('"JPY"', 0),
        ('"KWD"', 3),
        ('"CLF"', 4),
        ('"JPY"\ndigits = 2', 2),
        ('"KWD"\ndigits = 0', 0),
    ],
)
def test_minor_units_are_those_of_the_currency(tmp_path: Path, money: str, digits: int) -> None:
    shop = SHOP.replace('"IDR"', money).replace('rates = { BTC = "1700000000", EUR = 17500 }', "")
    mapping = read_mapping(written(tmp_path, shop))
    assert mapping.money is not None
    assert mapping.money.digits == digits


def test_what_cannot_be_read_exactly_or_either_way_is_refused(tmp_path: Path) -> None:
    wrong = (
        SHOP.replace('"1700000000"', '"1e19"')
        .replace("17500", "0.9216589861751152")
        .replace('decimal = ","', 'decimal = "."')
        .replace('["dd.MM.yyyy", "epoch_millis"]', '["HH:mm"]')
        .replace("[0, 100]", "[10, 0]")
        .replace('amount = "a"', 'amount = "a"\nunit_price = "a"')
    )
    path = written(tmp_path, wrong)
    with pytest.raises(UsageError) as error:
        read_mapping(path)
    assert str(error.value) == "\n".join(
        [
            f"{path} is not a valid mapping:",
            "  sources.log.time_format: expected a list of iso, epoch_seconds, epoch_millis, "
            "epoch_micros and patterns with y, M and d, offsets as X or Z and no days of the week, "
            "such as [\"dd.MM.yyyy HH:mm\"], found ['HH:mm']",
            "  sources.log.thousands: '.' stands before the decimals already; say decimal as well",
            "  sources.log.tables.orders: expected exactly one of unit_price and amount, found both",
            "  sources.log.tables.reviews.stars_scale: expected two whole numbers, the lower one "
            "first, such as [0, 10], found [10, 0]",
            "  money.rates.BTC: expected at most 12 digits, between 0.000000000001 and "
            "1000000000000000000, found 1E+19",
            "  money.rates.EUR: expected at most 12 digits, between 0.000000000001 and "
            "1000000000000000000, found 0.9216589861751152",
        ]
    )


LABELLED = GOOD.replace("[sources.log.tables.posts]", "[sources.log.tables.posts]\n{labels}")


@pytest.mark.parametrize(
    ("labels", "heads"),
    [
        ("", ()),
        ('labels = { sentiment = "user" }', (ContentHead("sentiment", "labels"),)),
        (
            'labels = { topic = "user", irony = "id" }',
            (ContentHead("irony", "labels"), ContentHead("topic", "labels")),
        ),
    ],
)
def test_what_the_labels_of_a_mapping_say_is_asked_of_texts(
    labels: str, heads: tuple[ContentHead, ...], tmp_path: Path
) -> None:
    assert LABELLED != GOOD
    assert heads_of(read_mapping(written(tmp_path, LABELLED.replace("{labels}", labels)))) == heads


REVIEWS = """
[sources.reviews]
files = "r/{day}.csv"
format = "csv"
columns = ["id", "user", "item", "stars", "text", "time"]
[sources.reviews.tables.reviews]
review_id = "id"
user_id = "user"
item_id = "item"
stars = "stars"
occurred_at = "time"
"""


def test_stars_teach_sentiment_where_reviews_have_texts_and_nobody_labels_it(
    tmp_path: Path,
) -> None:
    worded = REVIEWS + 'text = "text"\n'
    assert heads_of(read_mapping(written(tmp_path, REVIEWS))) == ()
    by_stars = (ContentHead("sentiment", "stars"),)
    assert heads_of(read_mapping(written(tmp_path, worded))) == by_stars
    labelled = worded + 'labels = { sentiment = "text" }\n'
    assert heads_of(read_mapping(written(tmp_path, labelled))) == (
        ContentHead("sentiment", "labels"),
    )
