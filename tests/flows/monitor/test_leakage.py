"""Canaries notice a feature that sees what its day cannot know."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import ContractError
from contracts.tables import USER_FEATURES
from flows.monitor.leakage import Canaries, compare_twins
from jobs.features import user_features
from jobs.features.without_tiles import features_from_clean, with_canaries
from jobs.spark.files import write_days
from tests.jobs.features import worlds


@pytest.mark.slow
def test_a_feature_that_sees_its_own_day_is_named(
    spark: SparkSession, tmp_path: Path, monkeypatch
) -> None:
    real = user_features.seen_by

    def leaky(rows: DataFrame, day: Column, as_ofs: Any, within: int | None = None) -> DataFrame:
        earlier = rows.withColumn("landed_on", F.date_sub("landed_on", 1))
        return real(earlier, F.date_sub(day, 1), as_ofs, within)

    monkeypatch.setattr(user_features, "seen_by", leaky)
    cut = worlds.START + timedelta(days=60)
    planted = with_canaries(worlds.random_world(8, 75, 8).frames(spark), cut, 1.0, 1)
    features = features_from_clean(planted, [cut])
    files = write_days(spark, features, USER_FEATURES, [cut], str(tmp_path))[cut].files
    n_pairs, seen, moved = compare_twins(files, files, cut)
    assert n_pairs > 5
    assert "n_events_1d" in seen
    assert moved == {}
    assert "n_events_all" not in seen  # the state does not leak
    with pytest.raises(ContractError, match=r"n_events_1d: tells \d+ pairs of twins apart"):
        Canaries(cut, n_pairs, seen, moved, {}).check()
