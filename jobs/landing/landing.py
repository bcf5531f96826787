"""Landing: whatever files arrived, split into days, one row per raw line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from contracts.errors import ContractError
from contracts.tables import LANDED
from jobs.landing.advice import encoding_advice
from jobs.landing.read import MIN_UNDECODABLE, reader
from jobs.mapping.expressions import day_of
from jobs.mapping.raw_row import HEADER_AGAIN, WHOLE_FILE
from jobs.mapping.sources import RawFile, Source

FIRST_DAY = date(1990, 1, 1)
"""No row landed before it: what says so is a default or a mistake."""

NEVER = date(2100, 1, 1)
"""Nor on this day or later. Not later than the clock: whatever day it is, the same file gives the
same rows, and one that lands after a night is seen by a later one."""

_DAY = "landed_on: "
TOO_EARLY = f"{_DAY}before {FIRST_DAY.year}"
TOO_LATE = f"{_DAY}in the future"
"""Problems of rows that were decoded, but say that they landed on a day that cannot be."""


def landed(
    spark: SparkSession,
    source: Source,
    files: Sequence[RawFile],
    max_rows: int | None = None,
    before: date = NEVER,
) -> DataFrame:
    """One row per raw line of `files`, with the day it landed on; the first `max_rows` of each.

    Where `landed_on` is an expression, a row for which it is null lands on its file's first day:
    it cannot be placed, and cleaning will say so. A row that says that it landed before 1990, or
    on `before` or later, lands there too, with that as its problem.
    """
    listed = spark.createDataFrame(
        [(str(file.path), file.name, file.landed_on) for file in files],
        "path string, file string, landed_on date",
    )
    tasks = min(len(files), int(str(spark.conf.get("spark.sql.shuffle.partitions"))))
    rows = (
        listed.repartition(tasks, "file")
        .mapInArrow(
            reader(source, max_rows),
            "file string, landed_on date, line bigint, row_hash string, fields array<string>, "
            "problem string",
        )
        .withColumn("source", F.lit(source.name))
    )
    if source.landed_on is not None:
        rows = _on_its_day(unfolded(rows, source), source.landed_on, before)
    return rows.select(*LANDED.names)


def _on_its_day(rows: DataFrame, expression: str, before: date) -> DataFrame:
    """The landed rows of `unfolded` ones, each on the day that the expression gives."""
    wrong = F.when(F.col("_day") < F.lit(FIRST_DAY), F.lit(TOO_EARLY)).when(
        F.col("_day") >= F.lit(before), F.lit(TOO_LATE)
    )
    rows = rows.select("_landed.*", day_of(expression).alias("_day")).withColumn("_wrong", wrong)
    possible = F.when(F.col("_wrong").isNull(), F.col("_day"))
    first = F.min(possible).over(Window.partitionBy("file"))
    return rows.withColumns(
        {
            "landed_on": F.coalesce(possible, first),
            "problem": F.coalesce("problem", "_wrong"),
        }
    )


def unfolded(rows: DataFrame, source: Source) -> DataFrame:
    """The raw columns by name, as the mapping's expressions see them, and the rest in `_landed`.

    `line_number` and `file_name` say where a row stands, unless raw columns have these names.
    """
    places = {"line_number": F.col("line"), "file_name": F.col("file")}
    taken = {name.lower() for name in source.columns}
    return rows.select(
        *(F.get("fields", F.lit(i)).alias(name) for i, name in enumerate(source.columns)),
        *(place.alias(name) for name, place in places.items() if name not in taken),
        F.struct(*LANDED.names).alias("_landed"),
    )


def check_readable(rows: DataFrame, source: Source) -> None:
    """Refuse files that could not be read, or of which too many rows could not be decoded.

    Raises:
        ContractError: naming every such file with what is wrong.
    """
    problem = F.col("problem")
    bad = problem.isNotNull() & ~problem.startswith(_DAY) & (problem != HEADER_AGAIN)
    counted = (
        rows.groupBy("file")
        .agg(
            F.count("*").alias("n"),
            F.count_if(bad).alias("n_bad"),
            F.min_by("problem", F.when(bad, F.col("line"))).alias("first"),
            F.min(F.when(bad, F.col("line"))).alias("line"),
            F.max(F.when(F.col("line") == WHOLE_FILE, F.col("problem"))).alias("unreadable"),
            F.count("landed_on").alias("n_placed"),
        )
        .where(
            F.col("unreadable").isNotNull()
            | (F.col("n_placed") == 0)
            | (
                (F.col("n_bad") > MIN_UNDECODABLE)
                & (F.col("n_bad") > source.max_undecodable_share * F.col("n"))
            )
        )
        .orderBy("file")
        .limit(100)
        .collect()
    )
    if counted:
        problems = [
            f"  {row.file}: {row.unreadable}"
            if row.unreadable is not None
            else f"  {row.file}: no row says on which day it landed: landed_on = "
            f"{source.landed_on!r} gave no day between {FIRST_DAY.year} and {NEVER.year - 1}"
            if row.n_placed == 0
            else f"  {row.file}: {row.n_bad} of {row.n} rows cannot be decoded, more than "
            f"max_undecodable_share = {source.max_undecodable_share:g} allows; "
            f"the first is line {row.line}: {row.first}{encoding_advice(row.first, source)}"
            for row in counted
        ]
        raise ContractError("\n".join([f"source {source.name} cannot be landed:", *problems]))
