"""Row groups of the files that Spark's tasks write."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from contracts.recommendation_tables import INTERACTIONS, REC_RETRIEVED
from jobs.spark.files import write_days
from jobs.spark.parquet_writer import row_groups
from jobs.spark.schema import arrow_schema, spark_schema

DAY = date(2025, 6, 1)


def row(surface: str, user_key: str) -> dict[str, Any]:
    return {
        "as_of": DAY, "surface": surface, "user_key": user_key, "fold": 0, "source": "factors",
        "item_ids": ["x"], "scores": [0.5], "because": [""],
    }  # fmt: skip


ROWS = [row("ads", "ann"), row("ads", "bob"), row("people", "ann"), row("products", "ann")]


def test_a_row_group_has_one_surface(spark: SparkSession, tmp_path: Path) -> None:
    values = [tuple(of[name] for name in REC_RETRIEVED.names) for of in ROWS]
    frame = spark.createDataFrame(values, spark_schema(REC_RETRIEVED))
    (path,) = write_days(spark, frame, REC_RETRIEVED, [DAY], str(tmp_path))[DAY].files
    file = pq.ParquetFile(path)
    surfaces = [file.read_row_group(i)["surface"] for i in range(file.num_row_groups)]
    assert [of.to_pylist() for of in surfaces] == [["ads", "ads"], ["people"], ["products"]]


def test_rows_of_a_table_that_begins_with_something_else_are_one_row_group() -> None:
    nothing = arrow_schema(INTERACTIONS).empty_table()
    assert row_groups(nothing, INTERACTIONS) == [nothing]
    none = arrow_schema(REC_RETRIEVED).empty_table()
    assert row_groups(none, REC_RETRIEVED) == [none]
    one = pa.Table.from_pylist(ROWS[:2], arrow_schema(REC_RETRIEVED))
    assert row_groups(one, REC_RETRIEVED) == [one]
