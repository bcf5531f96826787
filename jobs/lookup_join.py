"""Lookups joined to raw rows: a column for each, with the row that the key finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.table import CallError, ContractError
from jobs.expressions import examined, read_back, tried
from jobs.lookups import Lookup, LookupUse
from jobs.trim import trimmed


def key_texts(uses: Iterable[LookupUse]) -> tuple[str, ...]:
    """The expressions by which rows find theirs of lookups."""
    return tuple(expression.text for use in uses for expression in use.expressions)


def with_lookups(rows: DataFrame, uses: Sequence[LookupUse], where: str) -> DataFrame:
    """The same rows, a column for each lookup: nulls where its key finds no row.

    Where there are lookups, `_landed.no_key` says why a key cannot be computed.

    Raises:
        CallError: an expression of a key is not valid over the raw columns.
        ContractError: a lookup was not read.
    """
    if not uses:
        return rows
    columns = [name for name in rows.columns if name != "_landed"]
    asked = [expression for use in uses for expression in use.expressions]
    problems = [f"{where}.{told}" for told in examined(rows, asked) if isinstance(told, str)]
    if problems:
        raise CallError("\n".join(problems))
    attempts = [tried(expression.text).alias(f"_try_{i}") for i, expression in enumerate(asked)]
    failed = F.coalesce(
        *(
            F.when(
                F.col("_landed.problem").isNull() & F.col(f"_try_{i}").isNull(),
                F.lit(expression.failed),
            )
            for i, expression in enumerate(asked)
        )
    )
    rows = rows.select(*_quoted(columns), "_landed", *attempts).withColumn(
        "_landed", F.col("_landed").withField("no_key", failed)
    )
    first = 0
    for use in uses:
        rows = _joined(rows, use, first)
        first += len(use.expressions)
    return rows.select(*_quoted(columns), "_landed", *(use.lookup.name for use in uses))


def _joined(rows: DataFrame, use: LookupUse, first: int) -> DataFrame:
    """The rows with the column of one lookup; its key was tried from `_try_{first}` on."""
    lookup = use.lookup
    if lookup.rows is None:
        raise ContractError(f"lookups.{lookup.name}: {lookup.file} was not read")
    small = rows.sparkSession.createDataFrame(lookup.rows)
    matches = F.lit(True)
    for i in range(len(use.key)):
        key = trimmed(read_back(F.col(f"_try_{first + i}"), T.StringType()))
        matches = matches & (key == F.col(f"_is_{i}"))
    if lookup.since is not None:
        day = F.col("_landed.landed_on")
        if use.on is not None:
            day = read_back(F.col(f"_try_{first + len(use.key)}"), "date")
        until = F.col("_until").isNull() | (day < F.col("_until"))
        matches = matches & (F.col("_from") <= day) & until
    of_key = [f"_is_{i}" for i in range(len(use.key))]
    return rows.join(F.broadcast(small), matches, "left").drop(*of_key, "_from", "_until")


def without_matches(rows: DataFrame, uses: Iterable[LookupUse]) -> DataFrame:
    """The rows with the columns of lookups that find nothing, to analyse expressions over."""
    nothing = {use.lookup.name: F.lit(None).cast(_type(use.lookup)) for use in uses}
    return rows.withColumns(nothing) if nothing else rows


def _type(lookup: Lookup) -> T.DataType:
    return T.StructType([T.StructField(column, T.StringType()) for column in lookup.columns])


def _quoted(names: Iterable[str]) -> list[Column]:
    return [F.col(f"`{name}`") for name in names]
