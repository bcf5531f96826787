"""`make bench`: what each part costs beside a limit measured in the same run, as JSON lines."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.tables import LANDED
from jobs.config import SparkConfig
from jobs.io import read_table, write_days
from jobs.land import landed
from jobs.market.files import simulate
from jobs.market.traits import Market
from jobs.rawfiles import raw_rows
from jobs.session import start_session
from jobs.sources import raw_files, read_mapping
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


def told(**line: Any) -> None:
    print(
        json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}),
        flush=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = 0

        def make() -> None:
            nonlocal rows
            market = Market(USERS, START, DAYS, 1)
            rows = simulate(market, folder / "raw", lambda done, total: None)

        took = seconds(make)
        told(bench="simulate", rows=rows, rows_per_second=rows / took)
        spark = start_session(SparkConfig(), folder / "scratch")
        bench_landing(spark, folder)
        bench_scoring(folder)


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
    made: dict[str, Any] = {}

    def land() -> None:
        made["days"] = write_days(
            spark, landed(spark, source, files), LANDED, days, str(folder / "landed")
        )

    took = seconds(land)
    told(bench="land", rows=n, rows_per_second=n / took, over_reading_lines=bare / took)
    paths = [p for day in made["days"].values() for p in day.files]
    rows = read_table(spark, LANDED, paths).persist()
    rows.count()
    ours = seconds(lambda: write_days(spark, rows, LANDED, days, str(folder / "ours")))
    sparks = seconds(lambda: spark_writer(rows, str(folder / "sparks")))
    told(
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


def bench_scoring(folder: Path) -> None:
    """Parquet to Parquet beside the network's forward pass alone, one thread."""
    from contracts.kinds import MultiLabel
    from contracts.tasks import TASKS
    from models import encoders
    from models.artifact import Model, save_model
    from models.calibration import Calibration
    from models.config import TrainConfig
    from models.data import to_batch
    from models.layout import Layout
    from models.network import Network
    from models.score import ScoreSpec, score
    from tests.models.made import NIGHT, write_features

    torch.set_num_threads(1)
    n, config = 50_000, TrainConfig()
    path = write_features(folder, n)
    table = pq.read_table(path)
    pq.write_table(table, path)  # one row group, as Spark writes them
    encoder = encoders.fit(table.to_batches(), config.id_buckets)
    classes = tuple(f"c{k:02d}" for k in range(12))
    layout = Layout(TASKS, {t.name: classes for t in TASKS if isinstance(t.kind, MultiLabel)})
    network = Network(config, layout, encoder).eval()
    model = Model(
        network,
        encoder,
        config,
        {t.name: Calibration() for t in TASKS},
        {},
        NIGHT - timedelta(days=1),
    )
    save_model(model, folder / "model")
    labels = torch.zeros(n, 1).numpy()
    batch = to_batch(encoder.encode(table), labels)

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, n, 8192):
                network(batch.take(torch.arange(start, min(start + 8192, n))))

    forward()
    bare = cpu_seconds(forward)
    spec = ScoreSpec(
        (path,),
        NIGHT,
        str(folder / "model"),
        "r",
        str(folder / "s.parquet"),
        str(folder / "scratch_score"),
    )
    took = cpu_seconds(lambda: score(spec))
    told(bench="score", rows=n, rows_per_cpu_second=n / took, over_bare_forward=bare / took)


if __name__ == "__main__":
    main()
