"""A shop's daily files of order lines, landed and judged."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from contracts.tables import table_named
from jobs.cleaning.fields import Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import quarantine, verdicts
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import SourceMapping, read_mapping
from jobs.values.user_key import UserKey

KEY = UserKey(b"a key for the tests alone")


DAY = date(2025, 1, 1)


MAPPING = """
[money]
reporting_currency = "EUR"
rates = { USD = "0.5" }
[sources.log]
files = "{day}.csv"
format = "csv"
missing = "empty"
timezone = "Europe/Berlin"
columns = ["id", "order", "user", "item", "kind", "qty", "price", "cur", "time"]
[sources.log.tables.orders]
line_id = "id"
order_id = "`order`"
user_id = "user"
item_id = "item"
kind = "kind"
quantity = "qty"
unit_price = "price"
currency = "cur"
occurred_at = "time"
reject = [{ reason = "not goods", when = "item = 'POST'" }]
[sources.log.tables.users]
user_id = "user"
country = "cur"
occurred_at = "time"
"""


HEADER = "id,order,user,item,kind,qty,price,cur,time"


class Shop:
    """Days of raw lines, cleaned."""

    def __init__(self, spark: SparkSession, folder: Path, days: dict[date, str], mapping=MAPPING):
        (folder / "m.toml").write_text(mapping)
        self.mapping: SourceMapping = read_mapping(folder / "m.toml")
        for day, lines in days.items():
            text = "\n".join([HEADER, *(line.strip() for line in lines.strip().splitlines())])
            (folder / f"{day}.csv").write_text(text + "\n")
        (source,) = self.mapping.sources
        self.files = raw_files(source, folder)
        self.landed = landed(spark, source, self.files)
        self.days = list(days)

    def judged(self, table: str = "orders", days: list[date] | None = None) -> DataFrame:
        return verdicts(
            self.landed,
            self.mapping.feeding(table),
            lambda s: rules_of(clean_table_named(table), Context.of(KEY, self.mapping, s, table)),
            days or self.days,
            DEDUP_DAYS,
            self.mapping.bots.get(table),
        )

    def reasons(self, table: str = "orders") -> dict[int, str]:
        rows = quarantine(self.judged(table), table_named(table)).collect()
        return {r.line: r.reason for r in rows}
