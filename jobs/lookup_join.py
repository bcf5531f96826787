"""Lookups joined to raw rows: a column for each, with the row that the key finds.

A key finds one row at most, so that no raw row is multiplied; and none is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.days import MAX_DAYS_EARLY
from contracts.table import CallError, ContractError
from jobs.expressions import Expression, examined, read_back, tried
from jobs.lookups import Lookup, LookupUse
from jobs.sources import Source, TableMap
from jobs.time_expressions import as_meant
from jobs.times import instant_of
from jobs.trim import trimmed


def with_lookups(rows: DataFrame, source: Source, table: TableMap) -> DataFrame:
    """The same rows, a column for each lookup that the table's expressions name: nulls where its
    key finds no row.

    Where there are lookups, `_landed.no_key` says why a key or day cannot be told.

    Raises:
        CallError: an expression of a key is not valid over the raw columns.
        ContractError: a lookup was not read.
    """
    uses = source.lookups_of(table)
    if not uses:
        return rows
    columns = _quoted(name for name in rows.columns if name != "_landed")
    rows = _with_keys(rows, columns, source, table, uses)
    for use in uses:
        rows = _joined(rows, use)
    return rows.select(*columns, "_landed", *(use.lookup.name for use in uses))


def _with_keys(
    rows: DataFrame,
    columns: Sequence[Column],
    source: Source,
    table: TableMap,
    uses: Sequence[LookupUse],
) -> DataFrame:
    """The rows with `_keys_NAME`, a list, and `_day_NAME` for each lookup."""
    expressions = [expression for use in uses for expression in use.expressions]
    happened = Expression(
        f"tables.{table.table}.occurred_at", as_meant(table.fields.get("occurred_at", "null"))
    )
    of_events = any(use.by_event for use in uses)
    asked = [*expressions, happened] if of_events else expressions
    types = examined(rows, asked)
    problems = [f"sources.{source.name}.{type_}" for type_ in types if isinstance(type_, str)]
    if problems:
        raise CallError("\n".join(problems))
    tries = [tried(expression.text).alias(f"_try_{i}") for i, expression in enumerate(asked)]
    event_day = _local_day(F.col(f"_try_{len(expressions)}"), types[-1], source)
    found, reasons, n = [], [], 0
    for use in uses:
        values = [F.col(f"_try_{n + i}") for i in range(len(use.expressions))]
        n += len(values)
        found += _key_and_day(use, values, event_day)
        reasons += _reasons(use, values)
    landed = F.col("_landed").withField("no_key", F.coalesce(*reasons))
    return rows.select(*columns, "_landed", *tries).select(
        *columns, landed.alias("_landed"), *found
    )


def _local_day(tried_time: Column, type_: T.DataType | str, source: Source) -> Column:
    """The day of a time in the source's timezone; null where it is none."""
    value = read_back(tried_time, type_)
    text, timezone = trimmed(value.cast("string")), source.timezone or "UTC"
    time = instant_of(value, text, source.time_format, timezone)
    return F.to_date(F.from_utc_timestamp(time, timezone))


def _key_and_day(use: LookupUse, values: Sequence[Column], event_day: Column) -> list[Column]:
    """What `use.expressions` gave, as it is looked up. No row sees what holds only from later than
    the day after it landed, so that a row added for that day changes none of earlier ones."""
    name, landed_on = use.lookup.name, F.col("_landed.landed_on")
    key = [trimmed(read_back(value, T.StringType())) for value in values[: len(use.key)]]
    if use.lookup.since is None:
        day = F.lit(None).cast("date")
    elif use.on is not None:
        day = read_back(values[-1], "date")
    else:
        day = F.coalesce(event_day, landed_on)
    latest = F.date_add(landed_on, MAX_DAYS_EARLY)
    seen = F.when(day.isNotNull(), F.least(day, latest))
    return [F.array(*key).alias(f"_keys_{name}"), seen.alias(f"_day_{name}")]


def _reasons(use: LookupUse, values: Sequence[Column]) -> list[Column]:
    """Why the key or day of a row cannot be told; null where they can."""
    readable = F.col("_landed.problem").isNull()
    reasons = [
        F.when(readable & value.isNull(), F.lit(expression.failed))
        for expression, value in zip(use.expressions, values, strict=True)
    ]
    if use.on is not None:
        text, day = read_back(values[-1], T.StringType()), read_back(values[-1], "date")
        why = F.lit(f"{use.expressions[-1].place}: not a day such as 2025-01-31")
        reasons.append(F.when(text.isNotNull() & day.isNull(), why))
    return reasons


def _joined(rows: DataFrame, use: LookupUse) -> DataFrame:
    """The rows with the column of one lookup."""
    lookup = use.lookup
    if lookup.rows is None:
        raise ContractError(f"lookups.{lookup.name}: {lookup.file} was not read")
    small = rows.sparkSession.createDataFrame(lookup.rows)
    matches = F.lit(True)
    for i in range(len(use.key)):
        matches = matches & (F.col(f"_keys_{lookup.name}")[i] == F.col(f"_is_{i}"))
    if lookup.since is not None:
        day = F.col(f"_day_{lookup.name}")
        until = F.col("_until").isNull() | (day < F.col("_until"))
        matches = matches & (F.col("_from") <= day) & until
    of_lookup = [f"_is_{i}" for i in range(len(use.key))]
    return rows.join(F.broadcast(small), matches, "left").drop(*of_lookup, "_from", "_until")


def without_matches(rows: DataFrame, uses: Iterable[LookupUse]) -> DataFrame:
    """The rows with the columns of lookups that find nothing, to analyse expressions over."""
    nothing = {use.lookup.name: F.lit(None).cast(_type(use.lookup)) for use in uses}
    return rows.withColumns(nothing) if nothing else rows


def _type(lookup: Lookup) -> T.DataType:
    return T.StructType([T.StructField(column, T.StringType()) for column in lookup.columns])


def _quoted(names: Iterable[str]) -> list[Column]:
    return [F.col(f"`{name}`") for name in names]
