"""Ids of persons and facts leave cleaning as keyed hashes alone."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.sources import FIELDS
from contracts.tables import table_named
from jobs.cleaning.fields import NO_MONEY, Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import clean, user_key
from jobs.values.trimming import trimmed_fields
from jobs.values.user_key import UserKey
from tests.jobs.cleaning.shop import DAY, KEY, MAPPING, Shop


def test_a_long_key_is_hashed_first_as_rfc_2104_says(spark: SparkSession) -> None:
    key = UserKey(b"k" * 100)
    hashed = spark.range(1).select(user_key(F.lit("é"), key)).collect()[0][0]
    assert hashed == hmac.new(key.key, "é".encode(), hashlib.sha256).hexdigest()[:32]


def test_ids_of_facts_are_keyed_hashes_that_can_still_be_joined(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Sources make them of users' ids; items and categories are nobody's."""
    shop = Shop(
        spark,
        tmp_path,
        {
            DAY: """
        ann-1,ann-o,ann,i1,purchase,1,1,EUR,2025-01-01T10:00:00
        ann-2,ann-p,ann,i1,return,1,1,EUR,2025-01-01T11:00:00
        """
        },
        MAPPING.replace(
            'kind = "kind"',
            "kind = \"kind\"\nundoes_order_id = \"if(kind = 'return', 'ann-o', null)\"",
        ),
    )
    bought, undone = (
        clean(shop.judged(), table_named("orders")).orderBy("occurred_at").collect()
    )  # fmt: skip
    assert undone.undoes_order_id == bought.order_id != undone.order_id
    assert bought.item_id == "i1"
    assert not [v for row in (bought, undone) for v in row if isinstance(v, str) and "ann" in v]
    expected = hmac.new(KEY.key, b"line\x1fann-1", hashlib.sha256).hexdigest()[:32]
    assert bought.line_id == expected
    assert KEY.of(" ann") == bought.user_key


@pytest.mark.slow
def test_no_id_of_a_person_or_fact_leaves_as_it_came(spark: SparkSession) -> None:
    """Of every table: only ids of items, ads and categories stay readable."""
    readable = {"item_id", "category_id"}
    landed_on = F.struct(F.lit(DAY).alias("landed_on")).alias("_landed")
    nobody = F.array().cast("array<struct<name: string, value: string>>").alias("in_attributes")
    for kind in ("post", "user", "item"):
        for table, fields in FIELDS.items():
            given = {f.name: "secret" for f in fields if f.name.endswith("_id")} | {
                "target_kind": kind
            }
            rows = spark.range(1).select(
                landed_on,
                nobody,
                *(F.lit(given.get(f.name)).cast("string").alias(f"in_{f.name}") for f in fields),
            )
            rules = rules_of(clean_table_named(table), Context(KEY, NO_MONEY))
            rows = rows.select("*", *trimmed_fields(f.name for f in fields))
            derived = rows.select("*", *(column.alias(name) for name, column in rules.derive))
            (row,) = derived.select(*(c for c in rules.table.names if c != "landed_on")).collect()
            as_given = {name for name, value in row.asDict().items() if value == "secret"}
            assert as_given <= readable | ({"target_id"} if kind == "item" else set()), table
