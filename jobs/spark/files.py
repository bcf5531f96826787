"""Read tables from lists of Parquet files, write days of a table, and check what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from contracts.counts import n_of
from contracts.source_table import LANDED_ON
from contracts.table import Column as TableColumn
from contracts.table import Table, check_columns, raise_if
from contracts.values import masked
from jobs.spark.parquet_writer import (
    REPORT_SQL,
    DayInFile,
    account,
    breaks,
    digest_text,
    parquet_writer,
)
from jobs.spark.schema import arrow_schema, spark_schema, spark_types

MAX_DAILY = 62
"""Days written in one go beyond which they share a file per month: thousands of small files cost
more to write, commit and read than all that is in them."""


@dataclass(frozen=True)
class WrittenDay:
    """What was written of one day of a table."""

    day: date
    rows: int
    digest: str
    """A hash of its rows that does not depend on their order: count, sum and exclusive or."""
    files: tuple[str, ...]
    first: date | None = None
    """The earliest day on which something that its rows are about happened."""


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
    """Write `rows` as Parquet under `folder`, split by day, checking and hashing them on the way.

    Every one of `days` is in the result, with no file where there was no row. History by landing
    day that is written in one go lies in a file per month, which its days share; what is as of a
    day is read by that day and keeps a file of its own.

    Raises:
        ContractError: the rows break the table's contract, or belong to none of `days`.
    """
    check_columns(table, spark_types(rows.schema))
    by_month = table.day == LANDED_ON.name and len(days) > MAX_DAILY
    keys = [F.trunc(table.day, "month") if by_month else F.col(table.day)]
    if files_per_day > 1:
        keys.append(F.pmod(F.xxhash64(*table.grain), F.lit(files_per_day)))
    reports = (
        rows.select(*table.names)
        .repartition(*keys)
        .sortWithinPartitions(table.day, *table.grain)
        .mapInArrow(parquet_writer(table, folder, by_month), REPORT_SQL)
        .collect()
    )
    return collected(spark, table, reports, days)


def collected(
    spark: SparkSession, table: Table, reports: Sequence[Row], days: Sequence[date]
) -> dict[date, WrittenDay]:
    """What tasks report to have written, by day.

    Raises:
        ContractError: the rows break the table's contract, or belong to none of `days`.
    """
    files: dict[date, list[Row]] = {}
    for report in sorted(reports, key=lambda r: r.path):
        files.setdefault(report.day, []).append(report)
    if any(r.is_broken or r.n_repeated for r in reports):
        explain_broken(read_table(spark, table, [r.path for r in reports]), table)
    strays = sorted(set(files) - set(days), key=str)
    raise_if(table, [f"  {table.day}: rows of {day}, which was not asked for" for day in strays])
    return {day: _written(day, files.get(day, ())) for day in days}


def _written(day: date, reports: Sequence[Row]) -> WrittenDay:
    rows = sum(r.rows for r in reports)
    total = sum(int(r.total) for r in reports) % 2**64
    parity = reduce(lambda a, b: a ^ b, (int(r.parity) for r in reports), 0)
    first = min((r.first for r in reports if r.first is not None), default=None)
    return WrittenDay(
        day, rows, digest_text(rows, total, parity), tuple(r.path for r in reports), first
    )


BATCH = 4096
"""Rows that are checked at a time: a row may hold arrays of hundreds."""


def checked_day(table: Table, day: date, path: str) -> WrittenDay:
    """The rows of a file that a process outside of Spark has written of one day, sorted by grain:
    checked and hashed as those of Spark's tasks are.

    Raises:
        ContractError: its columns are not the contract's, or rows break it or are of another day.
    """
    file = pq.ParquetFile(path)
    types = {field.name: field.type for field in file.schema_arrow}
    raise_if(
        table,
        [
            f"  {field.name}: expected {field.type}, found {found or 'no such column'}"
            for field in arrow_schema(table)
            if (found := types.get(field.name)) is None or not found.equals(field.type)
        ],
    )
    known, broken, of_another_day = DayInFile(day, path), dict[str, None](), 0
    for batch in file.iter_batches(BATCH, columns=list(table.names), use_threads=False):
        account(known, batch, table)
        if known.is_broken:
            broken |= {c.name: None for c in table.columns if breaks(c, batch.column(c.name))}
        of_another_day += batch.num_rows - pc.sum(pc.equal(batch.column(table.day), day)).as_py()
    problems = [
        (broken, f"{', '.join(broken)}: null, out of range, or none of the values that may be"),
        (known.n_repeated, f"{n_of(known.n_repeated, 'row')} of the grain of the one before"),
        (of_another_day, f"{n_of(of_another_day, 'row')} of another day than {day}"),
    ]
    raise_if(table, [f"  {path}: {what}" for is_wrong, what in problems if is_wrong])
    digest = digest_text(known.rows, known.total, known.parity)
    return WrittenDay(day, known.rows, digest, (path,) if known.rows else (), known.first)


def explain_broken(rows: DataFrame, table: Table) -> None:
    """Say what is wrong with rows that are known to break their contract.

    Raises:
        ContractError: always; every broken rule is named, with how many rows break it.
    """
    rules = _rules(table)
    counts = rows.agg(
        *(F.count_if(rule).alias(f"r{i}") for i, rule in enumerate(rules.values()))
    ).collect()[0]
    problems = [
        f"  {what}: found {n_of(n, 'row')}" for what, n in zip(rules, counts, strict=True) if n
    ]
    types = {column.name: column for column in table.columns}
    repeated = (
        rows.groupBy(*table.grain).count().where("count > 1").orderBy(*table.grain).limit(3)
    ).collect()
    problems += [
        f"  grain ({', '.join(table.grain)}): expected one row, found {row['count']} of "
        + ", ".join(_shown(types[name], row[name]) for name in table.grain)
        for row in repeated
    ]
    unexplained = [
        "  whoever wrote its files found rows that break it, and reading them again finds none: "
        "nothing was committed; run it again, and if it comes back, report it"
    ]
    raise_if(table, problems or unexplained)


NAMED_BY_US = ("table_name", "source", "file", "task", "segment")
"""String columns of which a message may show the values: others hold ids of people and things."""


def _shown(column: TableColumn, value: object) -> str:
    """A value as a message shows it."""
    is_open = column.type != "string" or column.values is not None or column.name in NAMED_BY_US
    return str(value) if is_open or value is None else masked(str(value))


def _rules(table: Table) -> Mapping[str, Column]:
    """What must not hold for any row, by its description."""
    rules: dict[str, Column] = {}
    for column in table.columns:
        value = F.col(column.name)
        if not column.nullable:
            rules[f"{column.name}: null, expected a value"] = value.isNull()
        if column.is_float:
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
