"""Candidates by counting: equal to the naive definition, to the bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from contracts.surfaces import SURFACES, Surface
from jobs.candidates.caps import Caps
from jobs.candidates.rec_candidates import rec_candidates
from jobs.candidates.sources import COUNTED
from tests.jobs.candidates import naive
from tests.jobs.candidates.worlds import AS_OFS, World, history, item, random_world

LOW = Caps(
    own=4, neighbours=3, categories=2, of_category=3, authors=3, posts=2, liked=3, fans=3,
    friends=4, followed=3, reached=5, followers=2, users=9, rows=0,
)  # fmt: skip

Found = dict[tuple[Any, ...], tuple[list[Any], ...]]


def found(candidates: DataFrame) -> Found:
    return {
        (r.as_of, r.surface, r.user_key, r.fold, r.source): (r.item_ids, r.scores, r.because)
        for r in candidates.collect()
    }


def expected(world: Any, surfaces: Sequence[Surface], n: int, caps: Caps) -> Found:
    out: Found = {}
    for as_of in AS_OFS:
        out |= naive.candidates(naive.Day(world, as_of, surfaces, caps), n)
    return out


@pytest.mark.parametrize(
    ("seed", "caps", "n"),
    [(4, Caps(), 100), (5, LOW, 5), (6, Caps(rows=0), 100)],
    ids=["in one task", "in parts", "in steps"],
)
def test_candidates_equal_the_naive_definition_to_the_bit(
    spark: SparkSession, seed: int, caps: Caps, n: int
) -> None:
    world = random_world(seed)
    got = found(rec_candidates(*world.frames(spark), SURFACES, n, caps))
    should = expected(world, SURFACES, n, caps)
    assert {key[-1] for key in got} == set(COUNTED)
    for source in COUNTED:  # one after the other, for a shorter message
        assert {k: v for k, v in got.items() if k[-1] == source} == {
            k: v for k, v in should.items() if k[-1] == source
        }, source


def test_how_rows_are_spread_over_partitions_changes_nothing(spark: SparkSession) -> None:
    histories, items = random_world(seed=6).frames(spark)
    once = found(rec_candidates(histories.coalesce(1), items.coalesce(1), SURFACES, 7))
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    try:
        again = found(rec_candidates(histories.repartition(5), items.repartition(3), SURFACES, 7))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "2")
    assert again == once


def test_only_what_surfaces_ask_for_is_computed(spark: SparkSession) -> None:
    histories, items = random_world(seed=7).frames(spark)
    asked = {"products": ("popular_1d", "together"), "people": ("follows_back", "factors")}
    surfaces = [
        dataclasses.replace(surface, sources=asked[surface.name])
        for surface in SURFACES
        if surface.name in asked
    ]
    got = found(rec_candidates(histories, items, surfaces, 100))
    assert {(key[1], key[-1]) for key in got} == {
        ("products", "together"),
        ("people", "follows_back"),
    }
    surfaces = [dataclasses.replace(surface, sources=("factors",)) for surface in surfaces]
    assert found(rec_candidates(histories, items, surfaces, 100)) == {}


def test_who_is_blocked_neither_suggests_anybody_nor_is_named(spark: SparkSession) -> None:
    """ann has blocked bob, whom she followed and who follows her; both say so. cid suggests dan
    all the same, whom bob and eve follow too."""
    follow, blocked = {"owned": 1, "signal": 1}, {"owned": 1, "blocked": 1}
    follows = {
        "ann": {"bob": blocked, "cid": follow},
        "bob": {"ann": blocked, "dan": follow, "eve": follow},
        "cid": {"dan": follow},
        "dan": {},
        "eve": {"dan": follow},
    }
    as_of, sources = AS_OFS[0], ("follows_back", "friends_of_friends", "page_rank")
    world = World(
        [item("people", as_of, user) for user in follows],
        [history("people", as_of, user, entries) for user, entries in follows.items()],
    )
    people = dataclasses.replace(SURFACES[3], sources=sources)
    got = found(rec_candidates(*world.frames(spark), [people], 100))
    of_ann = {key[-1]: (items, because) for key, (items, _, because) in got.items()
              if key[2] == "ann"}  # fmt: skip
    assert of_ann == {
        "friends_of_friends": (["dan"], ["cid"]),
        "page_rank": (["dan"], ["cid"]),
    }
