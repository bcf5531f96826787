"""Files that processes outside of Spark write are checked and hashed as Spark's own are."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_RETRIEVED
from jobs.spark.files import checked_day, write_days
from jobs.spark.schema import arrow_schema, spark_schema

DAY = date(2025, 6, 1)


def row(user: str, **other: Any) -> dict[str, Any]:
    return {
        "as_of": DAY,
        "surface": "ads",
        "user_key": user,
        "fold": 0,
        "source": "factors",
        "item_ids": ["x", "y"],
        "scores": [0.5, 0.25],
        "because": ["", "z"],
    } | other


def written(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "day.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(REC_RETRIEVED)), path)
    return str(path)


def test_the_same_rows_have_the_same_hash_whoever_has_written_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [row("ann"), row("bob", item_ids=[], scores=[], because=[]), row("eve", fold=1)]
    of_process = checked_day(REC_RETRIEVED, DAY, written(tmp_path, rows))
    frame = spark.createDataFrame(
        [tuple(of[name] for name in REC_RETRIEVED.names) for of in rows],
        spark_schema(REC_RETRIEVED),
    )
    of_spark = write_days(spark, frame, REC_RETRIEVED, [DAY], str(tmp_path / "spark"))[DAY]
    assert (of_process.rows, of_process.digest) == (of_spark.rows, of_spark.digest)
    other = written(tmp_path, [*rows[:2], row("eve", fold=1, because=["", "y"])])
    assert checked_day(REC_RETRIEVED, DAY, other).digest != of_process.digest


def test_a_day_without_rows_has_no_file(tmp_path: Path) -> None:
    day = checked_day(REC_RETRIEVED, DAY, written(tmp_path, []))
    assert (day.rows, day.files) == (0, ())


def test_rows_that_break_the_contract_are_told_by_column_grain_and_day(tmp_path: Path) -> None:
    rows = [
        row("ann", fold=2),
        row("bob", source="guess"),
        row("bob", source="guess"),
        row("eve", as_of=date(2025, 6, 2)),
    ]
    path = written(tmp_path, rows)
    with pytest.raises(ContractError) as error:
        checked_day(REC_RETRIEVED, DAY, path)
    assert str(error.value) == (
        "rec_retrieved breaks its contract:\n"
        f"  {path}: fold, source: null, out of range, or none of the values that may be\n"
        f"  {path}: 1 row of the grain of the one before\n"
        f"  {path}: 1 row of another day than 2025-06-01"
    )


def test_columns_of_other_types_are_named(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    pq.write_table(pa.table({"as_of": [DAY], "surface": ["ads"], "fold": [0]}), path)
    with pytest.raises(ContractError) as error:
        checked_day(REC_RETRIEVED, DAY, str(path))
    assert str(error.value) == (
        "rec_retrieved breaks its contract:\n"
        "  user_key: expected string, found no such column\n"
        "  fold: expected int32, found int64\n"
        "  source: expected string, found no such column\n"
        "  item_ids: expected list<item: string>, found no such column\n"
        "  scores: expected list<item: float>, found no such column\n"
        "  because: expected list<item: string>, found no such column"
    )
