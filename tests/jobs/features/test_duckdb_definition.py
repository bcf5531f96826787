"""The definition by hand in DuckDB agrees with Spark's, so that benches may stand on it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.measures import TEXT_BUCKETS
from contracts.tables import USER_FEATURES
from jobs.features.without_tiles import features_from_clean
from jobs.spark.files import write_days
from tests.bench.duck import differences, features_by_hand
from tests.jobs.features.worlds import START, random_world


@pytest.mark.slow
def test_features_by_hand_are_the_pipelines(spark: SparkSession, tmp_path: Path) -> None:
    frames, day = random_world(9).frames(spark), START + timedelta(days=100)
    clean = {}
    for name, rows in frames.items():
        if name != "fraud_marks":
            rows.coalesce(1).write.parquet(str(tmp_path / name))
            clean[name] = [str(p) for p in (tmp_path / name).glob("*.parquet")]
    token = (F.pmod(F.xxhash64("word"), F.lit(TEXT_BUCKETS)) + 1).cast("int")
    texts = frames["posts"].select("text").union(frames["reviews"].select("text"))
    words = texts.select(F.explode(F.split("text", " ")).alias("word")).distinct()
    words.select("word", token.alias("token")).coalesce(1).write.parquet(str(tmp_path / "words"))
    vocabulary = [str(p) for p in (tmp_path / "words").glob("*.parquet")]
    features_by_hand(clean, vocabulary, day, tmp_path / "hand.parquet")
    written = write_days(
        spark, features_from_clean(frames, [day]), USER_FEATURES, [day], str(tmp_path / "spark")
    )
    rows, only, differing = differences(written[day].files, [str(tmp_path / "hand.parquet")])
    assert (only, differing) == (0, {})
    assert rows > 5
