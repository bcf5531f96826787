"""Items, histories and popular lists of a random world, beside their plain definition."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.surfaces import SURFACES
from jobs.candidates import histories, items, pair_facts
from jobs.candidates.histories import rec_histories
from jobs.candidates.interactions import interactions
from jobs.candidates.items import rec_items
from jobs.candidates.pair_facts import LEFT_OUT_OF
from jobs.candidates.popular import rec_popular
from tests.conftest import MakeTable
from tests.jobs.candidates import naive_tables as naive
from tests.jobs.candidates.hand_made import entries_of, known_users
from tests.jobs.features.worlds import START, World

AS_OFS = [START + timedelta(days=n) for n in (40, 90, 119)]
USERS = {f"u{i}": 3 + 7 * i for i in range(6)} | {"only-signed-up": 1, "never-seen": 2}
N_CANDIDATES = 2


class Tables:
    """What the jobs make of a world, each once."""

    def __init__(self, spark: SparkSession, table: MakeTable, world: World):
        facts = world.frames(spark)
        users = known_users(table, USERS, *AS_OFS)
        self.tiles = interactions(facts).localCheckpoint()
        known = items.Known(self.tiles, facts["items"], facts["posts"], facts["follows"], users)
        self.items = rec_items(known, SURFACES, AS_OFS).localCheckpoint()
        of_users = histories.Known(
            self.tiles, users, self.items, facts["users"], facts["follows"], facts["blocks"], True
        )
        self.histories = rec_histories(of_users, SURFACES, AS_OFS)
        self.popular = rec_popular(
            self.items, self.tiles, facts["users"], SURFACES, AS_OFS, N_CANDIDATES
        )


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Whose facts are counted in several parts."""
    monkeypatch.setattr(pair_facts, "ROWS_PER_PART", 900)
    return naive.world_with_recommendations(request.param)


def pairs_left_out(spark: SparkSession) -> dict[tuple[str, str], bool]:
    """Ordered pairs of users, and whether the hash of one falls into the fifth."""
    frame = spark.createDataFrame(
        [(a, b) for a in USERS for b in USERS if a < b], "a string, b string"
    )
    hashed = F.pmod(F.xxhash64("a", "b"), F.lit(LEFT_OUT_OF)) == 0
    return {(r.a, r.b): r.out for r in frame.select("a", "b", hashed.alias("out")).collect()}


def collected(rows: DataFrame, *key: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    for row in rows.collect():
        yield tuple(row[name] for name in key), row.asDict()


def test_they_are_equal_to_the_bit(spark: SparkSession, table: MakeTable, world: World) -> None:
    tables, left_out = Tables(spark, table, world), pairs_left_out(spark)
    assert any(left_out.values())
    at = [(surface, as_of) for surface in SURFACES for as_of in AS_OFS]
    expected: dict[tuple[Any, ...], Any] = {
        (as_of, s.name, item): row
        for s, as_of in at
        for item, row in naive.items(world, s, USERS, as_of).items()
    }
    got = dict(collected(tables.items, "as_of", "surface", "item_id"))
    assert got.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: got[key][name] for name in row} == row, key

    expected = {
        (as_of, s.name, *of): row
        for s, as_of in at
        for of, row in naive.histories(world, s, USERS, as_of, left_out).items()
    }
    rows = tables.histories.collect()
    histories_by = {(r.as_of, r.surface, r.user_key, r.fold): r for r in rows}
    assert len(rows) == len(histories_by)
    assert histories_by.keys() == expected.keys()
    for key, row in expected.items():
        entries = row.pop("entries")
        found = histories_by[key]
        assert found.item_ids == sorted(entries), key
        assert entries_of(found) == entries, key
        assert {name: found[name] for name in row} == row, key

    expected = {
        (as_of, s.name, *of): listed
        for s, as_of in at
        for of, listed in naive.popular(world, s, USERS, as_of, N_CANDIDATES).items()
    }
    lists = dict(collected(tables.popular, "as_of", "surface", "segment", "source"))
    assert {key: row["item_ids"] for key, row in lists.items()} == expected
    for row in lists.values():
        assert row["scores"] == sorted(row["scores"], reverse=True)
