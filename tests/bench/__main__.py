"""`make bench`: what each part costs beside a limit measured in the same run, as JSON lines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.tables import LANDED
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.landing.read import raw_rows
from jobs.mapping.sources import read_mapping
from jobs.market.files import simulate
from jobs.market.traits import Market
from jobs.spark.config import SparkConfig
from jobs.spark.files import read_table, write_days
from jobs.spark.session import start_session
from tests.bench.lines import print_line
from tests.conftest import REPOSITORY

START, DAYS, USERS = date(2025, 1, 1), 60, 20_000


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Processor time of this process and its threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = 0

        def make() -> None:
            nonlocal rows
            market = Market(USERS, START, DAYS, 1)
            rows = simulate(market, folder / "raw", lambda done, total: None)

        took = seconds(make)
        print_line(bench="simulate", rows=rows, rows_per_second=rows / took)
        spark = start_session(SparkConfig(), folder / "scratch")
        bench_landing(spark, folder)


def bench_landing(spark: SparkSession, folder: Path) -> None:
    """Landing beside reading the lines alone, and our writer beside Spark's."""
    source = next(
        s
        for s in read_mapping(REPOSITORY / "infra/sources/market.toml").sources
        if s.name == "engagements"
    )
    files = raw_files(source, folder / "raw")
    days = [f.landed_on for f in files if f.landed_on]
    n = 0

    def read() -> None:
        nonlocal n
        n = sum(1 for file in files for _ in raw_rows(file.path, source))

    bare = seconds(read)
    seconds(
        lambda: write_days(
            spark, landed(spark, source, files[:4]), LANDED, days[:4], str(folder / "warm")
        )
    )
    written: dict[str, Any] = {}

    def land() -> None:
        written["days"] = write_days(
            spark, landed(spark, source, files), LANDED, days, str(folder / "landed")
        )

    took = seconds(land)
    print_line(bench="land", rows=n, rows_per_second=n / took, over_reading_lines=bare / took)
    paths = [p for day in written["days"].values() for p in day.files]
    rows = read_table(spark, LANDED, paths).persist()
    rows.count()
    ours = seconds(lambda: write_days(spark, rows, LANDED, days, str(folder / "ours")))
    sparks = seconds(lambda: spark_writer(rows, str(folder / "sparks")))
    print_line(
        bench="write_days",
        rows=n,
        files=len(days),
        spark_writer_over_ours=sparks / ours,
        note="ours also checks and hashes every row",
    )
    rows.unpersist()


def spark_writer(rows: DataFrame, folder: str) -> None:
    (
        rows.withColumn("_day", F.col("landed_on"))
        .repartition("_day")
        .sortWithinPartitions("_day", *LANDED.grain)
        .write.partitionBy("_day")
        .parquet(folder)
    )


if __name__ == "__main__":
    main()
