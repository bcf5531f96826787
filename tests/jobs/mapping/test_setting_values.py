"""Values of a mapping that are of another type or out of range: told, whatever they are."""

from __future__ import annotations

import copy
import random
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import pytest

from jobs.mapping.sources import mapping_of
from tests.conftest import REPOSITORY
from tests.jobs.mapping.mappings import GOOD


@pytest.mark.parametrize(
    ("written", "expected"),
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
def test_what_is_of_another_type_is_told(written: str, expected: list[str]) -> None:
    problems: list[str] = []
    assert mapping_of(tomllib.loads(written), "m", problems) is None
    assert [p for p in problems if not p.startswith("sources: missing")] == expected


@pytest.mark.parametrize(
    ("setting", "problem"),
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
def test_a_setting_of_another_type_or_out_of_range_is_told(setting: str, problem: str) -> None:
    assert problems_of(f"{setting}\ntables.users = {{ user_id = 'a', occurred_at = 'b' }}") == [
        f"sources.log.{problem}"
    ]


def problems_of(settings: str, spec: str = "") -> list[str]:
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
    ("table", "problem"),
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
def test_a_table_of_another_type_is_told(table: str, problem: str) -> None:
    assert problems_of(table) == [f"sources.log.{problem}"]


def test_attributes_are_named_expressions_of_users() -> None:
    assert problems_of(
        """
        tables.users = { user_id = 'a', occurred_at = 'b', attributes = { Income = "a" } }
        tables.items = { item_id = 'a', occurred_at = 'b', attributes = { income = "a" } }
        """
    ) == [
        "sources.log.tables.users.attributes: expected a table of expressions such as { income = "
        '"band" }, with names of lower-case letters, digits and underscores, at most 16, found '
        "{'Income': 'a'}",
        "sources.log.tables.items.attributes: unknown; expected one of available, category_id, "
        "currency, each, item_id, min_age, occurred_at, price, reject, title, where",
    ]


def test_labels_are_named_expressions_of_what_has_a_text() -> None:
    assert problems_of(
        """
        tables.posts = { post_id = 'a', user_id = 'a', occurred_at = 'b', labels = { mood = 1 } }
        tables.items = { item_id = 'a', occurred_at = 'b', labels = { mood = "a" } }
        tables.follows = { follow_id = 'a', user_id = 'a', followed_id = 'b', labels = {} }
        """
    )[:2] == [
        "sources.log.tables.posts.labels: expected a table of expressions such as { sentiment = "
        '"mood" }, with names of lower-case letters, digits and underscores, at most 16, found '
        "{'mood': 1}",
        "sources.log.tables.items.labels: unknown; expected one of available, category_id, "
        "currency, each, item_id, min_age, occurred_at, price, reject, title, where",
    ]


@pytest.mark.parametrize("columns", ["'a'", "[]", "[1]", "['']", "{}"])
def test_columns_are_a_list_of_names(columns: str) -> None:
    problems: list[str] = []
    mapping_of(
        tomllib.loads(GOOD.replace('["id", "user", "text", "time"]', columns)), "m", problems
    )
    (problem,) = problems
    assert problem.startswith(
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
    n_refused = 0
    for _ in range(6000):
        raw = copy.deepcopy(rng.choice(shipped))
        for _ in range(rng.randint(1, 3)):
            places = list(places_of(raw))
            if not places:  # all of it was taken out
                break
            *path, last = rng.choice(places)
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
        mapping = mapping_of(raw, "m", problems)
        assert (mapping is None) == bool(problems)
        assert all(problem.splitlines() == [problem] for problem in problems), problems
        n_refused += bool(problems)
    assert n_refused > 4000
