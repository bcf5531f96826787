"""Read tables from lists of Parquet files, write days of a table, and check what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.table import Table, check_columns, raise_if
from jobs.digest import digest, table_digest
from jobs.parquet import parquet_writer
from jobs.schema import spark_schema, spark_types


@dataclass(frozen=True)
class WrittenDay:
    """What was written of one day of a table."""

    day: date
    rows: int
    digest: str
    files: tuple[str, ...]


EMPTY_DIGEST = "-".join(["0" * 16] * 4)


def read_table(spark: SparkSession, table: Table, files: Sequence[str]) -> DataFrame:
    """The rows of `files`, with the contract's columns; no file is no row."""
    schema = spark_schema(table)
    if not files:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).parquet(*files)


def write_days(
    spark: SparkSession,
    rows: DataFrame,
    table: Table,
    days: Sequence[date],
    folder: str,
    files_per_day: int = 1,
) -> dict[date, WrittenDay]:
    """Write `rows` as Parquet under `folder`, split by day, then check and hash what lies there.

    Every one of `days` is in the result, with no file where there was no row.

    Raises:
        ContractError: the rows break the table's contract, or belong to none of `days`.
    """
    check_columns(table, spark_types(rows.schema))
    keys = [F.col(table.day)]
    if files_per_day > 1:
        keys.append(F.pmod(F.xxhash64(*table.grain), F.lit(files_per_day)))
    files: dict[date, list[str]] = {}
    for day, path in (
        rows.select(*table.names)
        .repartition(*keys)
        .sortWithinPartitions(table.day, *table.grain)
        .mapInArrow(parquet_writer(table, folder), "day date, path string")
        .collect()
    ):
        files.setdefault(day, []).append(path)
    written = read_table(spark, table, [path for paths in files.values() for path in paths])
    counted = check_rows(written, table)
    strays = sorted(set(counted) - set(days))
    raise_if(table, [f"  {table.day}: rows of {day}, which was not asked for" for day in strays])
    return {
        day: WrittenDay(
            day, *counted.get(day, (0, EMPTY_DIGEST)), tuple(sorted(files.get(day, ())))
        )
        for day in days
    }


def check_rows(rows: DataFrame, table: Table) -> dict[date, tuple[int, str]]:
    """Count and hash the rows of each day, having checked nulls, ranges and the grain.

    Raises:
        ContractError: some rows break the contract; every broken rule is named with its count.
    """
    rules = _rules(table)
    broken = reduce(lambda a, b: a | b, rules.values(), F.lit(False))
    counted = (
        rows.groupBy(table.day)
        .agg(
            F.count("*").alias("n"),
            table_digest(digest(table.names)).alias("digest"),
            F.count_if(broken).alias("n_broken"),
        )
        .collect()
    )
    problems: list[str] = []
    if any(row.n_broken for row in counted):
        worst = rows.agg(
            *(F.count_if(rule).alias(f"r{i}") for i, rule in enumerate(rules.values()))
        ).collect()[0]
        problems = [f"  {what}: found {n} rows" for what, n in zip(rules, worst, strict=True) if n]
    repeated = rows.groupBy(*table.grain).count().where("count > 1").limit(3).collect()
    problems += [
        f"  grain ({', '.join(table.grain)}): expected one row, found {row['count']} of "
        + ", ".join(str(row[name]) for name in table.grain)
        for row in repeated
    ]
    raise_if(table, problems)
    return {row[0]: (row.n, row.digest) for row in counted}


def _rules(table: Table) -> Mapping[str, Column]:
    """What must not hold for any row, by its description."""
    rules: dict[str, Column] = {}
    for column in table.columns:
        value = F.col(column.name)
        if not column.nullable:
            rules[f"{column.name}: null, expected a value"] = value.isNull()
        if column.type in ("float", "double"):
            rules[f"{column.name}: not a number"] = F.isnan(value)
        if column.minimum is not None:
            rules[f"{column.name}: below {column.minimum:g}"] = value < column.minimum
        if column.maximum is not None:
            rules[f"{column.name}: above {column.maximum:g}"] = value > column.maximum
        if column.values is not None:
            rules[f"{column.name}: not one of {', '.join(column.values)}"] = ~value.isin(
                *column.values
            )
    return {what: F.coalesce(rule, F.lit(False)) for what, rule in rules.items()}
