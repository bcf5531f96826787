"""`python -m tests.bench.scoring [ARTIFACT]`: what scoring costs beside its limit and a peer, as
JSON lines.

ARTIFACT is the folder of a model that a night has trained, of which a line is of the mixture and
one of its network alone; without it there is the network alone, untrained. The limit is the network's forward pass alone on rows that are tensors already, one thread. The peer
is what one would write with MLflow: the same artifact as a pyfunc model, `mlflow.pyfunc.spark_udf`
over the same Parquet file, its scores written as Parquet, on all cores. Ours is timed from the file
to the table, ranks included, by one process of one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import functions as F

from contracts.kinds import MultiLabel
from contracts.specs import ScoreDay
from contracts.tables import USER_FEATURES
from contracts.tasks import TASKS
from contracts.train_config import TrainConfig
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from models.artifact.model import CPU_ROWS, Model, load_model, save_model
from models.data import encoders
from models.data.arrow_schema import arrow_schema
from models.data.batches import to_batch
from models.data.label_layout import Layout
from models.network.calibration import Calibration
from models.network.network import Network
from models.score import score
from tests.bench.__main__ import cpu_seconds, seconds
from tests.bench.lines import print_line
from tests.models.simulated_examples import NIGHT, write_features

ROWS = 50_000


class Scorer(mlflow.pyfunc.PythonModel):
    """The same network and calibration behind MLflow's interface: (B, scores)."""

    def load_context(self, context: Any) -> None:
        torch.set_num_threads(1)
        self.model = load_model(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> np.ndarray:
        schema = arrow_schema(USER_FEATURES)
        schema = pa.schema([schema.field(name) for name in model_input.columns])
        rows = pa.Table.from_pandas(model_input, schema=schema, preserve_index=False)
        scores = self.model.scores(self.model.outputs(rows))
        columns = [x if x.ndim == 2 else x[:, None] for of in scores.values() for x in of.values()]
        return torch.cat(columns, dim=1).float().numpy()


def made_model(path: str) -> Model:
    """The nightly network, untrained: scoring takes as long."""
    config = TrainConfig()
    encoder = encoders.fit(pq.read_table(path).to_batches(), config.inputs.id_buckets)
    classes = tuple(f"c{k:02d}" for k in range(12))
    layout = Layout(TASKS, {t.name: classes for t in TASKS if isinstance(t.kind, MultiLabel)})
    network = Network(config, layout, encoder).eval()
    calibrations = {t.name: Calibration() for t in TASKS}
    return Model(network, encoder, config, calibrations, {}, NIGHT - timedelta(days=1))


def bare_forward(model: Model, path: str) -> float:
    """Processor time of the forward pass alone, after one that warms up."""
    batch = to_batch(model.encoder.encode(pq.read_table(path)), torch.zeros(ROWS, 1).numpy())

    def forward() -> None:
        with torch.inference_mode():
            for part in batch.parts(CPU_ROWS):
                model.network(part)

    forward()
    return cpu_seconds(forward)


def spark_udf(path: str, model: Path, folder: Path) -> float:
    """Seconds that Spark and MLflow need from Parquet to Parquet, workers warm."""
    spark = start_session(SparkConfig(), folder / "spark")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles and signatures: a comparison, not a release
        mlflow.pyfunc.save_model(
            str(folder / "pyfunc"), python_model=Scorer(),
            artifacts={"model": str(model)}, pip_requirements=[],
        )  # fmt: skip
        udf = mlflow.pyfunc.spark_udf(
            spark, str(folder / "pyfunc"), result_type="array<float>", env_manager="local"
        )
    rows = spark.read.parquet(path).repartition(spark.sparkContext.defaultParallelism)
    scored = rows.select("user_key", udf(F.struct(*rows.columns)).alias("scores"))
    scored.limit(10).write.parquet(str(folder / "warm"))
    return seconds(lambda: scored.write.parquet(str(folder / "udf")))


def measure(name: str, model: Model, path: str, folder: Path) -> None:
    """Print the lines of one model; what it writes lies below `folder`."""
    save_model(model, folder / "model")
    bare = bare_forward(model, path)
    spec = ScoreDay(
        (path,), NIGHT, str(folder / "model"), "r", str(folder / "s.parquet"),
        str(folder / "scratch"),
    )  # fmt: skip
    took: dict[str, float] = {}

    def ours() -> None:
        took["cpu"] = cpu_seconds(lambda: score(spec))

    wall = seconds(ours)
    print_line(
        bench="score", model=name, rows=ROWS, rows_per_cpu_second=ROWS / took["cpu"],
        over_bare_forward=bare / took["cpu"],
    )  # fmt: skip
    theirs = spark_udf(path, folder / "model", folder)
    print_line(
        bench="score_spark_udf", model=name, rows=ROWS, ours_seconds=wall,
        spark_udf_seconds=theirs, over_spark_udf=theirs / wall,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path, nargs="?", help="of a model that was trained")
    given = parser.parse_args(arguments).artifact
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = write_features(folder, ROWS)
        pq.write_table(pq.read_table(path), path, row_group_size=ROWS // 4)
        model = made_model(path) if given is None else load_model(given)
        models = {"network": replace(model, trees={}, weights={})}
        if model.trees:
            models["mixture"] = model
        for name, one in models.items():
            measure(name, one, path, folder / name)


if __name__ == "__main__":
    main()
