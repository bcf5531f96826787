"""Rows about people who are to be forgotten: found by key, blanked where they land.

What is left of such a row is where it stood and which tables it was meant for, so that counts still
reconcile: cleaning counts it as erased (`jobs/clean.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.tables import LANDED
from jobs.clean import ERASED, Rules, judged, verdicts
from jobs.sources import Source, TableMap
from jobs.stages import Settings, rules_for

PLACE = ("landed_on", "source", "file", "line")


def names(rows: DataFrame, rules: Rules, keys: Collection[str]) -> Column:
    """Whether a judged row says one of the keys: as who did it, or to whom it was done."""
    texts = [c.name for c in rules.table.columns if c.type == "string" and c.name in rows.columns]
    said = [F.col(name).isin(sorted(keys)) for name in texts]
    return F.coalesce(reduce(Column.__or__, (F.coalesce(s, F.lit(False)) for s in said)))


def about(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """One row per landed row of the source and table that it is meant for, of rows about `keys`:
    its place, `table_name`, and whether that table's row `names` one of them."""
    every = reduce(
        DataFrame.unionByName,
        (_meant(landed, source, mapping, settings, keys) for mapping in source.tables),
    )
    every = every.groupBy(*PLACE, "table_name").agg(F.max("names").alias("names"))  # of elements
    found = every.groupBy(*PLACE).agg(F.max("names").alias("found")).where("found").drop("found")
    return every.join(found, list(PLACE), "left_semi")


def _meant(
    landed: DataFrame,
    source: Source,
    mapping: TableMap,
    settings: Settings,
    keys: Collection[str],
) -> DataFrame:
    rules = rules_for(mapping.table, settings)(source)
    rows = judged(landed, source, mapping, rules)
    return rows.select(
        *PLACE, F.lit(mapping.table).alias("table_name"), names(rows, rules, keys).alias("names")
    )


def blanked(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """The landed rows, without what they say where they are about `keys`."""
    if not keys or not source.tables:
        return landed
    tables = (
        about(landed, source, settings, keys)
        .groupBy(*PLACE)
        .agg(F.concat_ws(", ", F.array_sort(F.collect_set("table_name"))).alias("_tables"))
    )
    gone = F.col("_tables").isNotNull()
    return (
        landed.join(tables, list(PLACE), "left")
        .withColumns(
            {
                "fields": F.when(~gone, F.col("fields")),
                "row_hash": F.when(gone, F.lit("")).otherwise(F.col("row_hash")),
                "problem": F.when(gone, F.concat(F.lit(ERASED), "_tables")).otherwise(
                    F.col("problem")
                ),
            }
        )
        .select(*LANDED.names)
    )


def judgements(
    landed: DataFrame,
    table: str,
    feeds: Sequence[tuple[Source, TableMap]],
    settings: Settings,
    days: Sequence[date],
    dedup_days: int,
    keys: Collection[str],
) -> DataFrame:
    """What cleaning made of the rows of a table that name one of the keys: place and `verdict`."""
    make = rules_for(table, settings)
    rows = verdicts(landed, feeds, make, days, dedup_days, settings.mapping.bots.get(table))
    return rows.where(names(rows, make(feeds[0][0]), keys)).select(*PLACE, "verdict")
