from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from contracts.clean_tables import CLEAN_TABLES
from contracts.table import CallError, ContractError
from jobs.sources import missing_days, raw_files, read_mapping
from jobs.text import TextRules
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
            "  sources.Log.format: expected one of csv, jsonl, parquet, found 'xml'",
            "  sources.Log.landed_on: files has no {day}, so an expression must say on which day a row "
            'landed, such as "to_date(time)"',
            "  sources.Log.timezone: no such time zone: 'Mars/Base'",
            "  sources.Log.tables.orders.colour: unknown; expected one of currency, item_id, kind, "
            "line_id, occurred_at, order_id, quantity, reject, undoes_order_id, unit_price, user_id, "
            "where",
            "  sources.Log.tables.orders.line_id: missing (the order line; rows with the same id are "
            "retries of one another)",
            "  sources.Log.tables.orders.user_id: missing (the user, as the source names them; leaves "
            "this stage as `user_key` only)",
            "  sources.Log.tables.orders.item_id: missing (what was ordered)",
            "  sources.Log.tables.orders.unit_price: missing (price of one unit in major units, such "
            "as `2.55`)",
            "  sources.Log.tables.orders.currency: missing (ISO code; needs a rate under `[money]`)",
            "  sources.Log.tables.orders.occurred_at: missing (when it happened)",
            "  sources.Log.tables.orders.quantity: expected a Spark SQL expression in quotes, found 3",
        ]
    )


def test_orders_need_money(tmp_path: Path) -> None:
    text = (REPOSITORY / "infra/sources/online_retail.toml").read_text()
    without = text.replace('[money]\nreporting_currency = "GBP"\n', "")
    with pytest.raises(CallError, match="orders need \\[money\\]"):
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
