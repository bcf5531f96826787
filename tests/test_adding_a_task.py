"""The page about adding a task is followed to the letter, on a copy of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.declared_rows import at_work, copy_code, declared, put

pytestmark = pytest.mark.slow

FOLLOW_THE_ROW = """
import sys, datetime as dt
from pathlib import Path
import pyarrow.parquet as pq
from contracts.tables import LABELS, USER_FEATURES, USER_SCORES
from contracts.tile_tables import USER_DAYS
from contracts.tasks import TASKS, task_named
from contracts.train_config import TrainConfig
from contracts.specs import ScoreDay, TrainSpec
from models.score import score
from models.train import train
from tests.models.simulated_examples import DAYS, NIGHT, write_examples, write_features

folder, task = Path(sys.argv[1]), task_named("post_7d")
assert LABELS["label_post_7d"].type == "bigint"
config = TrainConfig().changed(width=16, depth=1, n_experts=2, id_buckets=16, max_epochs=2, min_rows=50,
                     bootstrap_samples=5, n_bins=4, numeric_width=2)
files = write_examples(folder, n=60)
report = train(TrainSpec(files, DAYS, NIGHT, 2, ("post_7d",), config, str(folder)))
assert report["tasks"]["post_7d"]["main"] == "deviance"
spec = ScoreDay((write_features(folder, 20),), NIGHT, str(folder / "model"), "r",
                 str(folder / "scores.parquet"), str(folder / "scratch"))
score(spec)
scores = pq.read_table(spec.path)
assert scores.column("score_post_7d_expected").null_count == 0
assert scores.column("percentile_post_7d").null_count == 0
assert scores.column("score_churn_28d").null_count == 20

from jobs.spark.config import SparkConfig
from jobs.labels import _BY_KIND, _in_window
from jobs.spark.session import start_session
spark = start_session(SparkConfig(master="local[1]", shuffle_partitions=1), folder / "spark")
rows = [("ann", 0, None, 2), ("ann", 6, None, 1), ("ann", 7, None, 5), ("bob", 1, "order", 9)]
frame = spark.createDataFrame(rows, "user string, offset int, target string, n_posts bigint")
made = frame.groupBy("user").agg(_BY_KIND[type(task.kind)].aggregate(task).alias(task.name))
made = made.select("user", _BY_KIND[type(task.kind)].label(task).alias("label"))
assert dict(made.collect()) == {"ann": 3, "bob": 0}
print("the row was enough")
"""


def test_one_row_is_enough(tmp_path: Path) -> None:
    copy_code(tmp_path, ("contracts", "jobs", "models", "tests"))
    row = declared("docs/adding-a-task.md", "Task")
    put(row, tmp_path / "contracts/tasks.py", "TASKS: tuple[Task, ...] = (\n", is_after=True)
    done = at_work(tmp_path, "-c", FOLLOW_THE_ROW, str(tmp_path))
    assert done.stdout.endswith("the row was enough\n"), done.stderr[-2000:]
