"""Landing: whatever files arrived, split into days, one row per raw line."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from contracts.table import ContractError
from contracts.tables import LANDED
from jobs.expressions import day_of
from jobs.rawfiles import WHOLE_FILE, reader
from jobs.sources import RawFile, Source

MIN_UNDECODABLE = 10
"""So many undecodable rows in a file never stop a run, whatever their share."""


def landed(
    spark: SparkSession, source: Source, files: Sequence[RawFile], max_rows: int | None = None
) -> DataFrame:
    """One row per raw line of `files`, with the day it landed on; the first `max_rows` of each.

    Where `landed_on` is an expression, a row for which it is null lands on its file's first day:
    it cannot be placed, and cleaning will say so.
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
        day = day_of(source.landed_on)
        first = F.min("landed_on").over(Window.partitionBy("file"))
        rows = (
            unfolded(rows, source)
            .withColumn("_landed", F.col("_landed").withField("landed_on", day))
            .select("_landed.*")
            .withColumn("landed_on", F.coalesce("landed_on", first))
        )
    return rows.select(*LANDED.names)


def unfolded(rows: DataFrame, source: Source) -> DataFrame:
    """The raw columns by name, as the mapping's expressions see them, and the rest in `_landed`."""
    return rows.select(
        *(F.get("fields", F.lit(i)).alias(name) for i, name in enumerate(source.columns)),
        F.struct(*LANDED.names).alias("_landed"),
    )


def check_readable(rows: DataFrame, source: Source) -> None:
    """Refuse files that could not be read, or of which too many rows could not be decoded.

    Raises:
        ContractError: naming every such file with what is wrong.
    """
    counted = (
        rows.groupBy("file")
        .agg(
            F.count("*").alias("n"),
            F.count("problem").alias("n_bad"),
            F.min_by("problem", F.when(F.col("problem").isNotNull(), F.col("line"))).alias("first"),
            F.min(F.when(F.col("problem").isNotNull(), F.col("line"))).alias("line"),
            F.max(F.when(F.col("line") == WHOLE_FILE, F.col("problem"))).alias("unreadable"),
        )
        .where(
            F.col("unreadable").isNotNull()
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
            else f"  {row.file}: {row.n_bad} of {row.n} rows cannot be decoded, more than "
            f"max_undecodable_share = {source.max_undecodable_share:g} allows; "
            f"the first is line {row.line}: {row.first}"
            for row in counted
        ]
        raise ContractError("\n".join([f"source {source.name} cannot be landed:", *problems]))
