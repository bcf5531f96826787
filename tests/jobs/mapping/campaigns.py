"""A mapping with a lookup of campaigns, to be joined to a log of days; and what becomes of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import Row, SparkSession

from contracts.days import DEDUP_DAYS
from contracts.errors import ContractError
from contracts.tables import table_named
from jobs.cleaning.verdicts import clean, quarantine, verdicts
from jobs.landing.landing import landed
from jobs.landing.lookup_files import read_whole
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import SourceMapping
from jobs.source_table_stages import rules_for
from jobs.stage import Settings
from jobs.values.user_key import UserKey

KEY = UserKey(b"a key for the tests alone")
D1, D2 = date(2025, 1, 1), date(2025, 1, 2)
AS_OF = date(2025, 1, 3)

MAPPING = """
[lookups.campaigns]
file = "tables/campaigns.csv"
format = "csv"
separator = ";"
columns = ["campaign", "starts", "name", "category"]
key = "campaign"
[sources.log]
files = "{day}.csv"
format = "csv"
columns = ["id", "user", "what", "day"]
[sources.log.lookups]
campaigns = "what"
[sources.log.tables.items]
item_id = "what"
category_id = "campaigns.category"
title = "campaigns.name"
occurred_at = "day"
where = "coalesce(campaigns.category, '') <> 'test'"
reject = [{ reason = "is over", when = "campaigns.name = 'old'" }]
[sources.log.tables.users]
user_id = "user"
occurred_at = "day"
"""
CAMPAIGNS = """
campaign;starts;name;category
 c1\u200b;2025-01-01;Spring;mail
cafe\u0301;2025-01-01;;shop
c3;2025-01-01;Trial;test
c4;2025-01-01;old;mail
"""
TIMED = MAPPING.replace('key = "campaign"', 'key = ["campaign"]\nfrom = "starts"')
NESTED = """
[money]
reporting_currency = "EUR"
[lookups.prices]
file = "tables/prices.csv"
format = "csv"
columns = ["shop", "sku", "price"]
key = ["sku", "shop"]
[sources.shop]
files = "{day}.jsonl"
format = "jsonl"
columns = ["id", "user", "lines"]
lookups = { prices = ["each.sku", "cast(1 as int)"] }
[sources.shop.tables.orders]
each = "lines"
line_id = "concat_ws('-', id, each.sku)"
order_id = "id"
user_id = "user"
item_id = "each.sku"
quantity = "1"
unit_price = "prices.price"
currency = "'EUR'"
occurred_at = "'2025-01-01'"
"""


def written(folder: Path, mapping: str = MAPPING, **lookups: str) -> Path:
    """A mapping and lookups in `tables`, of which the campaigns are given."""
    (folder / "tables").mkdir(exist_ok=True)
    for name, text in ({"campaigns": CAMPAIGNS} | lookups).items():
        (folder / f"tables/{name}.csv").write_text(text.lstrip())
    (folder / "m.toml").write_text(mapping)
    return folder / "m.toml"


def log(folder: Path, days: dict[date, str]) -> None:
    for day, lines in days.items():
        body = "\n".join(line.strip() for line in lines.strip().splitlines())
        (folder / f"{day}.csv").write_text(f"id,user,what,day\n{body}\n")


def read(folder: Path) -> SourceMapping:
    return read_whole(folder / "m.toml", folder, AS_OF)


def refused(folder: Path) -> list[str]:
    with pytest.raises(ContractError) as error:
        read(folder)
    return str(error.value).splitlines()


def judged(spark: SparkSession, folder: Path, table: str) -> tuple[list[Row], list[Row]]:
    """Clean and quarantined rows."""
    mapping = read(folder)
    settings = Settings(mapping, KEY)
    (source,) = mapping.sources
    files = raw_files(source, folder)
    days = [file.landed_on for file in files if file.landed_on is not None]
    rows = verdicts(
        landed(spark, source, files),
        mapping.feeding(table),
        rules_for(table, settings),
        days,
        DEDUP_DAYS,
    )
    of = table_named(table)
    return clean(rows, of).collect(), quarantine(rows, of).collect()
