"""The shipped mapping on the real log, beside a count in plain Python."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from datetime import date

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.orders import ORDERS
from contracts.source_tables.users import USERS
from jobs.cleaning.fields import Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import verdicts
from jobs.landing.landing import check_readable, landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import read_mapping
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY, real_data

pytestmark = pytest.mark.slow

DAYS = (date(2010, 12, 5), date(2010, 12, 9))


def test_ten_thousand_real_lines_reconcile_to_the_row(spark: SparkSession) -> None:
    folder = real_data("online_retail")
    mapping = read_mapping(REPOSITORY / "infra/sources/online_retail.toml")
    (source,) = mapping.sources
    files = [
        f for f in raw_files(source, folder) if f.landed_on and DAYS[0] <= f.landed_on < DAYS[1]
    ]
    lines = []
    for file in files:
        with gzip.open(file.path, "rt", encoding="utf-8", newline="") as stream:
            lines += [tuple(row) for row in csv.reader(stream)][1:]
    assert len(lines) > 10_000

    rows = landed(spark, source, files).persist()
    check_readable(rows, source)
    key = UserKey(b"a key for the tests alone")
    days = [f.landed_on for f in files]

    def outcome(table: str) -> Counter[str]:
        judged = verdicts(
            rows,
            mapping.feeding(table),
            lambda s: rules_of(
                clean_table_named(table),
                Context(key, mapping.money, mapping.text, s.timezone or "UTC"),
            ),
            days,
            DEDUP_DAYS,
        )
        counted = judged.groupBy(F.coalesce("reason", "verdict").alias("what")).count().collect()
        return Counter({r.what: r["count"] for r in counted})

    with_user = [line for line in lines if line[6]]
    goods = [line for line in with_user if line[1][:5].isdigit()]
    assert outcome(ORDERS.name) == {
        "user_id: missing": len(lines) - len(with_user),
        "not goods": len(with_user) - len(goods),
        "clean": len(set(goods)),
        "duplicate": len(goods) - len(set(goods)),
    }
    users = outcome(USERS.name)
    assert users["user_id: missing"] == len(lines) - len(with_user)
    assert users["clean"] == len({(line[4][:10], line[6]) for line in with_user})
    assert users.total() == outcome(ITEMS.name).total() == len(lines)
    rows.unpersist()
