"""Spark's Python workers do not read Spark's own zips again before each task."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession


def _who_forgets(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import zipimport

    for batch in batches:
        said = [zipimport.zipimporter.invalidate_caches.__module__] * batch.num_rows
        yield pa.record_batch({"said": said})


def test_a_task_leaves_the_directories_of_zips_alone(spark: SparkSession) -> None:
    rows = spark.range(4).mapInArrow(_who_forgets, "said string").distinct().collect()
    assert [row.said for row in rows] == ["__main__"]  # as which `jobs.spark.python_daemon` runs
