"""What only recommendations ask about: prices, stock, ages, impressions and blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.errors import UsageError
from contracts.tables import table_named
from jobs.cleaning.verdicts import clean
from jobs.mapping.sources import read_mapping
from tests.jobs.cleaning.shop import DAY, KEY, MAPPING, Shop

SOURCE = MAPPING.partition("[sources.log.tables.orders]")[0]
ITEMS = """[sources.log.tables.items]
item_id = "item"
price = "price"
currency = "cur"
available = "kind"
min_age = "qty"
occurred_at = "time"
"""
USERS = """[sources.log.tables.users]
user_id = "user"
birth_year = "qty"
occurred_at = "time"
"""
IMPRESSIONS = """[sources.log.tables.impressions]
impression_id = "id"
user_id = "user"
target_kind = "kind"
target_id = "item"
position = "qty"
occurred_at = "time"
"""
BLOCKS = """[sources.log.tables.blocks]
block_id = "id"
user_id = "user"
target_kind = "nullif(cur, '')"
target_id = "item"
kind = "kind"
occurred_at = "time"
"""
AT = "2025-01-01T10:00:00"


def rows_of(shop: Shop, table: str, *columns: str) -> list[tuple[object, ...]]:
    rows = clean(shop.judged(table), table_named(table)).orderBy(columns[0])
    return [tuple(row) for row in rows.select(*columns).collect()]


def test_an_item_may_say_its_price_stock_and_minimum_age_or_nothing_of_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = f"""
        1,,,i1,yes,18,2.55,EUR,{AT}
        2,,,i2,0,0,3,USD,{AT}
        3,,,i3,,,,,{AT}
        4,,,i4,,,3,,{AT}
        5,,,i5,,,3,GBP,{AT}
        6,,,i6,,,-1,EUR,{AT}
        7,,,i7,perhaps,,,,{AT}
        8,,,i8,,old,,,{AT}
        9,,,i9,,-1,,,{AT}
        10,,,i10,,151,,,{AT}
    """
    shop = Shop(spark, tmp_path, {DAY: lines}, SOURCE + ITEMS)
    assert rows_of(shop, "items", "item_id", "price_minor", "available", "min_age") == [
        ("i1", 255, True, 18),
        ("i2", 150, False, 0),
        ("i3", None, None, None),
    ]
    assert shop.reasons("items") == {
        5: "currency: missing",
        6: "currency: no rate for it",
        7: "price: below 0",
        8: "available: not true or false",
        9: "min_age: not a whole number",
        10: "min_age: below 0",
        11: "min_age: above 150",
    }


def test_prices_of_items_need_money(tmp_path: Path) -> None:
    text = SOURCE.replace('[money]\nreporting_currency = "EUR"\nrates = { USD = "0.5" }\n', "")
    (tmp_path / "m.toml").write_text(text + ITEMS)
    with pytest.raises(UsageError, match=r"sources.log.tables.items needs \[money\]"):
        read_mapping(tmp_path / "m.toml")


def test_a_year_of_birth_is_a_year(spark: SparkSession, tmp_path: Path) -> None:
    lines = f"""
        1,,ann,,,1990,,,{AT}
        2,,bob,,,,,,{AT}
        3,,cid,,,90,,,{AT}
    """
    shop = Shop(spark, tmp_path, {DAY: lines}, SOURCE + USERS)
    born = rows_of(shop, "users", "user_key", "birth_year")
    assert sorted(born) == sorted([(KEY.of("ann"), 1990), (KEY.of("bob"), None)])
    assert shop.reasons("users") == {4: "birth_year: below 1900"}


def test_impressions_say_what_was_shown_and_perhaps_where(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = f"""
        1,,ann,i1,item,3,,,{AT}
        2,,ann,bob,user,,,,{AT}
        3,,ann,i1,item,0,,,{AT}
        4,,ann,i1,banner,1,,,{AT}
        5,,ann,,item,1,,,{AT}
    """
    shop = Shop(spark, tmp_path, {DAY: lines}, SOURCE + IMPRESSIONS)
    assert rows_of(shop, "impressions", "target_kind", "target_id", "position") == [
        ("item", "i1", 3),
        ("user", KEY.of("bob"), None),
    ]
    assert shop.reasons("impressions") == {
        4: "position: not above 0",
        5: "target_kind: not one of post, item, user, ad",
        6: "target_id: missing",
    }


def test_blocks_name_users_by_their_keys_and_nobody_blocks_themselves(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = f"""
        1,,ann,bob,block,,,user,{AT}
        2,,ann,ad1,unblock,,,ad,{AT}
        3,,ann,ann,block,,,user,{AT}
        4,,ann,bob,hide,,,user,{AT}
    """
    shop = Shop(spark, tmp_path, {DAY: lines}, SOURCE + BLOCKS)
    assert rows_of(shop, "blocks", "kind", "user_key", "target_kind", "target_id") == [
        ("block", KEY.of("ann"), "user", KEY.of("bob")),
        ("unblock", KEY.of("ann"), "ad", "ad1"),
    ]
    assert shop.reasons("blocks") == {
        4: "target_id: the user itself",
        5: "kind: not one of block, unblock",
    }
