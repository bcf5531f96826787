"""Features of many days in one pass, and what each of its tasks is given."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.tables import USER_STATE
from jobs.features.item_features import FROM_ITEM
from jobs.one_pass import features, task_rows
from jobs.spark.schema import spark_schema
from tests.jobs.features.engines import AS_OFS, features_of, one_pass_of, read_in_one_pass
from tests.jobs.features.worlds import random_world


@pytest.mark.slow
def test_many_days_in_one_pass_are_the_same_days_one_by_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    """From the beginning of time, and on top of a state that is some days older."""
    world = random_world(4)
    as_ofs = [*(AS_OFS[2] + timedelta(days=n) for n in range(4)), AS_OFS[4]]
    expected = features_of(spark, world, as_ofs)
    for since in (None, AS_OFS[2] - timedelta(days=9)):
        got = one_pass_of(spark, world, as_ofs, tmp_path, since)
        assert got.keys() == expected.keys()
        for key, row in expected.items():
            assert got[key] == row, (since, key)


def test_a_task_is_given_the_items_that_its_users_met_and_the_days_on_which_they_change(
    spark: SparkSession, monkeypatch
) -> None:
    """Not the whole catalogue on all days, once per task."""
    world = random_world(6, n_users=12)
    at = datetime(2025, 1, 3, tzinfo=UTC)
    world.rows["items"] += [
        {
            "item_id": f"unmet{i}",
            "category_id": f"unmet{i}",
            "title": None,
            "price_minor": None,
            "available": True,
            "min_age": None,
            "occurred_at": at,
            "landed_on": at.date(),
        }
        for i in range(50)
    ]
    as_ofs = [AS_OFS[1] + timedelta(days=n) for n in range(20)]
    monkeypatch.setattr(features, "TILES_PER_TASK", 100)
    rows = features.task_rows(
        spark.createDataFrame([], spark_schema(USER_STATE)),
        *read_in_one_pass(world.frames(spark), as_ofs),
    ).collect()
    parts = {r.part for r in rows}
    assert len(parts) > 3
    width, n_given = 1 + len(FROM_ITEM), 0
    for part in parts:
        mine = [r for r in rows if r.part == part]
        met = {r.thing for r in mine if (r.what, r.name) == (task_rows.THING, "item")}
        met |= {r.thing for r in mine if r.what == task_rows.EVENT_ROW} - {""}
        given = [r for r in mine if r.what == task_rows.ITEM]
        assert {r.thing for r in given} <= met
        assert len({r.thing for r in given}) == len(given)
        n_given += len(given)
        for r in given:
            states = [(*r.numbers[i + 1 : i + width], c) for i, c in zip(
                range(0, len(r.numbers), width), r.texts, strict=True)]  # fmt: skip
            assert all(a != b for a, b in itertools.pairwise(states))
        categories = {c for r in given for c in r.texts if c is not None}
        assert {r.thing for r in mine if r.what == task_rows.CATEGORY} == categories
    assert n_given > 0


@pytest.mark.slow
def test_tasks_are_as_many_as_what_they_hold_asks_for(spark: SparkSession, monkeypatch) -> None:
    world = random_world(6)
    empty = spark.createDataFrame([], spark_schema(USER_STATE))
    given = (empty, *read_in_one_pass(world.frames(spark), AS_OFS[:2]))
    assert features.task_rows(*given).rdd.getNumPartitions() == 1
    for limit, n in (("EVENTS_PER_TASK", 100), ("POSTS_PER_TASK", 20), ("ITEM_DAYS_PER_TASK", 9)):
        with monkeypatch.context() as patched:
            patched.setattr(features, limit, n)
            assert features.task_rows(*given).rdd.getNumPartitions() > 2, limit
