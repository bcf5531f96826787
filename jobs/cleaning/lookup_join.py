"""Lookups joined to raw rows: a column for each, with the row that the key finds.

A key finds one row at most, so that no raw row is multiplied; and none is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.days import MAX_DAYS_EARLY
from contracts.errors import ContractError, UsageError
from jobs.mapping.expressions import Expression, examined, read_back, tried
from jobs.mapping.lookups import Lookup, LookupUse
from jobs.mapping.sources import Source, TableMap
from jobs.mapping.time_expressions import as_meant
from jobs.values.times import of_type, written_day
from jobs.values.trimming import trimmed

_TIME = "_time"
"""The column with the text of the event's time."""


def with_lookups(rows: DataFrame, source: Source, table: TableMap) -> DataFrame:
    """The same rows, a column for each lookup that the table's expressions name: nulls where its
    key finds no row.

    Where there are lookups, `_landed.no_key` says why a key or day cannot be told, and
    `_landed.unfound` names those that have no row for a key that is there.

    Raises:
        UsageError: an expression of a key is not valid over the raw columns.
        ContractError: a lookup was not read.
    """
    uses = source.lookups_of(table)
    if not uses:
        return rows
    columns = _quoted(name for name in rows.columns if name != "_landed")
    asked = [expression for use in uses for expression in use.expressions]
    if any(use.by_event for use in uses):
        occurred_at = as_meant(table.fields.get("occurred_at", "null"))
        asked.append(Expression(f"tables.{table.table}.occurred_at", occurred_at, _TIME))
    types = dict(zip((e.column for e in asked), examined(rows, asked), strict=True))
    problems = [
        f"sources.{source.name}.{type_}" for type_ in types.values() if isinstance(type_, str)
    ]
    if problems:
        raise UsageError("\n".join(problems))
    rows = _computed(rows, columns, asked)
    event_day = _event_day(types.get(_TIME), source)
    for use in uses:
        rows = _joined(_on_its_day(rows, use, event_day), use)
    landed = F.col("_landed").withField("unfound", F.array_compact(F.array(*map(_unfound, uses))))
    return rows.select(*columns, landed.alias("_landed"), *(use.lookup.name for use in uses))


def _unfound(use: LookupUse) -> Column:
    """The lookup's name where it has no row for a raw row's key; null where it has, or there is no
    key."""
    name, has_key = use.lookup.name, F.lit(True)
    for column in use.key_columns:
        has_key = has_key & F.col(column).isNotNull()
    return F.when(has_key & F.col(name).isNull(), F.lit(name))


def _computed(rows: DataFrame, columns: Sequence[Column], asked: Sequence[Expression]) -> DataFrame:
    """The rows with a text for each expression, as ids are compared."""
    readable = F.col("_landed.problem").isNull()
    failed = F.coalesce(
        *(
            F.when(readable & F.col(expression.column).isNull(), F.lit(expression.failed))
            for expression in asked
            if expression.column != _TIME  # cleaning says what is wrong with it
        )
    )
    texts = (
        trimmed(read_back(F.col(expression.column), T.StringType())).alias(expression.column)
        for expression in asked
    )
    return rows.select(*columns, "_landed", *(tried(e.text).alias(e.column) for e in asked)).select(
        *columns, F.col("_landed").withField("no_key", failed).alias("_landed"), *texts
    )


def _event_day(type_: T.DataType | str | None, source: Source) -> Column:
    """The day of `_TIME` in the source's timezone; null where that is none."""
    if not isinstance(type_, T.DataType):
        return F.lit(None).cast("date")
    timezone = source.timezone or "UTC"
    time = of_type(type_.simpleString(), F.col(_TIME), source.time_format, timezone)
    return F.to_date(F.from_utc_timestamp(time, timezone))


def _on_its_day(rows: DataFrame, use: LookupUse, event_day: Column) -> DataFrame:
    """The rows with `_day`, that of which they see the lookup's row.

    No row sees what holds only from later than the day after it landed, so that what is added for
    that day changes none of earlier ones.
    """
    if use.lookup.since is None:
        return rows
    landed_on = F.col("_landed.landed_on")
    if use.on is None:
        day = F.coalesce(event_day, landed_on)
    else:
        said, day = F.col(use.day_column), written_day(F.col(use.day_column))
        wrong = F.lit(f"{use.expressions[-1].place}: not a day such as 2025-01-31")
        no_key = F.when(said.isNotNull() & day.isNull(), wrong)
        no_key = F.coalesce("_landed.no_key", no_key)
        rows = rows.withColumn("_landed", F.col("_landed").withField("no_key", no_key))
    latest = F.date_add(landed_on, MAX_DAYS_EARLY)
    return rows.withColumn("_day", F.when(day.isNotNull(), F.least(day, latest)))


def _joined(rows: DataFrame, use: LookupUse) -> DataFrame:
    """The rows with the column of one lookup."""
    lookup = use.lookup
    if lookup.rows is None:
        raise ContractError(f"lookups.{lookup.name}: {lookup.file} was not read")
    small = rows.sparkSession.createDataFrame(lookup.rows)
    matches = F.lit(True)
    for i, column in enumerate(use.key_columns):
        matches = matches & (F.col(column) == F.col(f"_is_{i}"))
    if lookup.since is not None:
        until = F.col("_until").isNull() | (F.col("_day") < F.col("_until"))
        matches = matches & (F.col("_from") <= F.col("_day")) & until
    of_lookup = [f"_is_{i}" for i in range(len(use.key))]
    joined = rows.join(F.broadcast(small), matches, "left")
    return joined.drop(*of_lookup, "_from", "_until", "_day")


def without_matches(rows: DataFrame, uses: Iterable[LookupUse]) -> DataFrame:
    """The rows with the columns of lookups that find nothing, to analyse expressions over."""
    nothing = {use.lookup.name: F.lit(None).cast(_type(use.lookup)) for use in uses}
    return rows.withColumns(nothing) if nothing else rows


def _type(lookup: Lookup) -> T.DataType:
    return T.StructType([T.StructField(column, T.StringType()) for column in lookup.columns])


def _quoted(names: Iterable[str]) -> list[Column]:
    return [F.col(f"`{name}`") for name in names]
