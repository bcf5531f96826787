from __future__ import annotations

import copy
import dataclasses
import random
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from contracts.clean_tables import CLEAN_TABLES
from contracts.mapping import SOURCE_SETTINGS
from contracts.table import CallError, ContractError
from jobs.clean_fields import Context
from jobs.raw_folder import missing_days, raw_files
from jobs.sources import Source, mapping_of, read_mapping
from jobs.text import TextRules
from jobs.user_key import UserKey
from tests.conftest import REPOSITORY

GOOD = """
[sources.log]
files = "log/{day}.jsonl"
format = "jsonl"
columns = ["id", "user", "text", "time"]
missing = "empty"
[sources.log.tables.posts]
post_id = "id"
user_id = "user"
occurred_at = "time"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text)
    return path


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
    with pytest.raises(CallError) as error:
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
    with pytest.raises(CallError, match="sources.invoices.tables.orders needs \\[money\\]"):
        read_mapping(written(tmp_path, without))


def test_files_are_found_by_day_and_gaps_are_seen(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD)).sources
    (tmp_path / "log").mkdir()
    for day in ("2025-01-01", "2025-01-03"):
        (tmp_path / f"log/{day}.jsonl").write_text("")
    files = raw_files(source, tmp_path)
    assert [(f.name, f.landed_on) for f in files] == [
        ("log/2025-01-01.jsonl", date(2025, 1, 1)),
        ("log/2025-01-03.jsonl", date(2025, 1, 3)),
    ]
    assert missing_days(source, files, date(2025, 1, 6)) == (
        date(2025, 1, 2),
        date(2025, 1, 4),
        date(2025, 1, 5),
    )


def test_a_day_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD)).sources
    (tmp_path / "log").mkdir()
    (tmp_path / "log/2025-02-30.jsonl").write_text("")
    with pytest.raises(ContractError, match="log: log/2025-02-30.jsonl names no day that exists"):
        raw_files(source, tmp_path)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD)).sources
    with pytest.raises(ContractError, match="log: no file matches"):
        raw_files(source, tmp_path)


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
    made = read_mapping(path)
    assert made.bots == {"engagements": 1000, "posts": 7, "follows": 500, "reviews": 200}
    assert made.text == TextRules(urls="drop")
    path.write_text("[bots]\nposts = 0\norders = 5\n[text]\nurls = 1\n" + source)
    with pytest.raises(CallError) as error:
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


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("sources = 3", ["sources: expected at least one [sources.NAME], found 3"]),
        ("name = 3", ["name: expected a text, found 3"]),
        ("money = []", ["money: expected a table [money], found []"]),
        ("text = 'x'\nbots = 1", [
            "text: expected a table [text], found 'x'", "bots: expected a table [bots], found 1",
        ]),
        ("money.reporting_currency = 'EUR'\nmoney.digits = 2.0\nmoney.rates = []", [
            "money.digits: expected 0 to 4, found 2.0",
            "money.rates: expected a table such as { USD = \"0.92\" }, found []",
        ]),
        ("sources.a = 3", ["sources.a: expected a table, found 3"]),
    ],
)  # fmt: skip
def test_what_is_of_another_type_is_told(written: str, told: list[str]) -> None:
    problems: list[str] = []
    assert mapping_of(tomllib.loads(written), "m", problems) is None
    assert [p for p in problems if not p.startswith("sources: missing")] == told


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("quote = 1", "quote: expected one character, or nothing, found 1"),
        ("quote = '::'", "quote: expected one character, or nothing, found '::'"),
        ("separator = ''", "separator: expected a text such as \";\" or \"::\" without quotes and line "
         "ends, or \"whitespace\", found ''"),
        ("encoding = 'hex'", "encoding: expected a text encoding such as latin-1 or utf-16, found 'hex'"),
        ("encoding = 'rot13'", "encoding: expected a text encoding such as latin-1 or utf-16, found 'rot13'"),
        ("encoding = 'unicode_escape'", "encoding: expected a text encoding such as latin-1 or utf-16, found "
         "'unicode_escape'"),
        ("null_values = 'NULL'", "null_values: expected a list of texts such as [\"\", \"NULL\"], found 'NULL'"),
        ("missing_key = 'empty'", "missing_key: expected one of stop, null, found 'empty'"),
        ("header = 'no'", "header: expected true or false, found 'no'"),
        ("encoding = []", "encoding: expected a text encoding such as latin-1 or utf-16, found []"),
        ("encoding = 'undefined'", "encoding: expected a text encoding such as latin-1 or utf-16, found "
         "'undefined'"),
        ("timezone = {}", "timezone: expected a time zone such as Europe/Berlin, found {}"),
        ("missing = ['empty']", "missing: expected one of empty, stop, found ['empty']"),
        ("lands_after_days = true", "lands_after_days: expected 0 to 365, found True"),
        ("lands_after_days = 0x" + "f" * 5000, "lands_after_days: expected 0 to 365, found a very "
         "large number"),
        ("max_undecodable_share = nan", "max_undecodable_share: expected 0 to 1, found nan"),
        ("tables.items = 'x'", "tables.items: expected a table, found 'x'"),
        ("landed_on = 'a'", "landed_on: the {day} in files says it already"),
    ],
)  # fmt: skip
def test_a_setting_of_another_type_or_out_of_range_is_told(setting: str, told: str) -> None:
    assert told_of(f"{setting}\ntables.users = {{ user_id = 'a', occurred_at = 'b' }}") == [
        f"sources.log.{told}"
    ]


def told_of(settings: str, spec: str = "") -> list[str]:
    """What is wrong with a daily CSV source that has these settings."""
    problems: list[str] = []
    source = f"""
        [sources.log]
        files = "{{day}}.csv"
        format = "csv"
        columns = ["a", "b"]
        {settings}
        """
    mapping_of(tomllib.loads(source + spec), "m", problems)
    return problems


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("tables = []", "tables: expected at least one [sources.NAME.tables.TABLE], found []"),
        ("tables.users = { user_id = 'a', occurred_at = 'b', reject = 'x' }", "tables.users.reject: "
         "expected a list such as [{ reason = \"a test\", when = \"user = 'test'\" }], found 'x'"),
        ("tables.users = { user_id = 'a', occurred_at = 'b', reject = [3] }", "tables.users.reject: "
         "expected a list such as [{ reason = \"a test\", when = \"user = 'test'\" }], found [3]"),
        ("tables.users = { user_id = 'a', occurred_at = ' ' }", "tables.users.occurred_at: expected "
         "a Spark SQL expression in quotes, found ' '"),
        ("tables.users = { user_id = 'a', occurred_at = 'b', where = 1 }", "tables.users.where: "
         "expected a Spark SQL expression in quotes, found 1"),
    ],
)  # fmt: skip
def test_a_table_of_another_type_is_told(table: str, told: str) -> None:
    assert told_of(table) == [f"sources.log.{told}"]


def test_attributes_are_named_expressions_of_users() -> None:
    assert told_of(
        """
        tables.users = { user_id = 'a', occurred_at = 'b', attributes = { Income = "a" } }
        tables.items = { item_id = 'a', occurred_at = 'b', attributes = { income = "a" } }
        """
    ) == [
        "sources.log.tables.users.attributes: expected a table of expressions such as { income = "
        '"band" }, with names of lower-case letters, digits and underscores, at most 16, found '
        "{'Income': 'a'}",
        "sources.log.tables.items.attributes: unknown; expected one of category_id, each, item_id, "
        "occurred_at, reject, title, where",
    ]


@pytest.mark.parametrize("columns", ["'a'", "[]", "[1]", "['']", "{}"])
def test_columns_are_a_list_of_names(columns: str) -> None:
    problems: list[str] = []
    mapping_of(
        tomllib.loads(GOOD.replace('["id", "user", "text", "time"]', columns)), "m", problems
    )
    (told,) = problems
    assert told.startswith(
        'sources.log.columns: expected a list of names such as ["id", "time"], found '
    )


def test_columns_that_differ_by_case_alone_are_refused() -> None:
    problems: list[str] = []
    mapping_of(tomllib.loads(GOOD.replace('"text"', '"ID"')), "m", problems)
    assert problems == [
        "sources.log.columns: id, ID: expressions cannot tell them apart, for case does not count"
    ]


@pytest.mark.parametrize(
    "files",
    ["../{day}.jsonl", "/x/{day}.jsonl", "a/../{day}.jsonl", "**/{day}.jsonl", "{day}/{day}"],
)
def test_raw_files_lie_under_the_raw_folder(files: str) -> None:
    problems: list[str] = []
    mapping_of(tomllib.loads(GOOD.replace("log/{day}.jsonl", files)), "m", problems)
    assert problems == [
        "sources.log.files: expected a path under the raw folder such as orders/{day}.csv, without "
        f".. or **, found {files!r}"
    ]


def test_a_setting_that_would_do_nothing_is_refused() -> None:
    problems: list[str] = []
    settings = 'format = "jsonl"\nseparator = ";"\nheader = true'
    mapping_of(tomllib.loads(GOOD.replace('format = "jsonl"', settings)), "m", problems)
    assert problems == [
        "sources.log.separator: only for format csv",
        "sources.log.header: only for format csv or xlsx",
    ]


def test_a_name_of_a_file_may_hold_what_globs_take_for_a_pattern(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD.replace("log/", "log[1]/"))).sources
    (tmp_path / "log[1]").mkdir()
    (tmp_path / "log[1]/2025-01-01.jsonl").write_text("")
    assert [file.name for file in raw_files(source, tmp_path)] == ["log[1]/2025-01-01.jsonl"]


def test_settings_have_the_defaults_that_are_documented() -> None:
    documented = {setting.name: setting.default for setting in SOURCE_SETTINGS}
    fields = {field.name: field.default for field in dataclasses.fields(Source)}
    assert {name: fields[name] for name in documented} == {
        name: dataclasses.MISSING if name in ("files", "format", "columns", "tables") else default
        for name, default in documented.items()
    }


ODD = (
    0, -1, 2**70, int("f" * 5000, 16), 0.5, float("nan"), float("inf"), True, False, "", " ", "x",
    "\x00", "a" * 10_000, "{day}", "\n", [], [[]], [1], ["x"], [{}], [{"reason": "x"}], {}, {"x": 1},
    {"": {}}, {"x": {"x": {}}}, {"users": {}}, date(2025, 1, 1), time(1, 2), datetime(2025, 1, 1),
)  # fmt: skip


def places_of(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Where in a parsed file values stand, the file itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    for key, below in inner:
        yield (*path, key)
        if isinstance(below, dict | list):
            yield from places_of(below, (*path, key))


def test_whatever_stands_wherever_in_a_mapping_it_is_read_or_told() -> None:
    rng = random.Random(5)
    shipped = [tomllib.loads(p.read_text()) for p in (REPOSITORY / "infra/sources").glob("*.toml")]
    n_told = 0
    for _ in range(6000):
        raw = copy.deepcopy(rng.choice(shipped))
        for _ in range(rng.randint(1, 3)):
            *path, last = rng.choice(list(places_of(raw)))
            at: Any = raw
            for key in path:
                at = at[key]
            match rng.randrange(4):
                case 0 if isinstance(at, dict):
                    del at[last]
                case 1 if isinstance(at, dict):
                    at[rng.choice(["", "x", "where", "reject", "text", "timezone", "rates"])] = (
                        copy.deepcopy(rng.choice(ODD))
                    )
                case _:
                    at[last] = copy.deepcopy(rng.choice(ODD))
        problems: list[str] = []
        made = mapping_of(raw, "m", problems)
        assert (made is None) == bool(problems)
        assert all(problem.splitlines() == [problem] for problem in problems), problems
        n_told += bool(problems)
    assert n_told > 4000


@pytest.mark.parametrize("text", ["a = [" * 5000, "a = 1" + "0" * 5000, "a =", "\xff"])
def test_what_is_no_toml_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CallError, match="not a TOML file"):
        read_mapping(path)


def test_a_folder_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="cannot be read: Is a directory"):
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
    given = Context.of(UserKey(b"a key for the tests alone"), mapping, source)
    assert given.time_format == ("dd.MM.yyyy", "epoch_millis")
    assert (given.decimal, given.thousands, given.line_totals) == (",", ".", True)
    assert given.stars_scale == (0, 100)
    assert mapping.money is not None
    # what one unit is worth in minor units, of which a rupiah has 100: 17 * 10**10
    assert mapping.money.factors == {
        "BTC": (17, -10),
        "EUR": (175, -4),
        "IDR": (1, -2),
    }


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
    with pytest.raises(CallError) as error:
        read_mapping(path)
    assert str(error.value) == "\n".join(
        [
            f"{path} is not a valid mapping:",
            "  sources.log.time_format: expected a list of iso, epoch_seconds, epoch_millis, "
            'epoch_micros and patterns with y, M and d, such as ["dd.MM.yyyy HH:mm"], found '
            "['HH:mm']",
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
