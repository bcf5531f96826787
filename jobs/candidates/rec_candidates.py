"""What counting suggests for each user: all sources of all surfaces as of a midnight."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import REC_CANDIDATES
from contracts.surfaces import Surface
from jobs.candidates.follow_walks import (
    edges,
    followed,
    follows_back,
    friends,
    friends_of_friends,
    page_rank,
)
from jobs.candidates.followed_authors import followed_authors
from jobs.candidates.interests import interests
from jobs.candidates.own_items import own, own_items
from jobs.candidates.same_tastes import same_tastes
from jobs.candidates.suggestions import HIDDEN, USER, best, by_surface, on, with_source
from jobs.candidates.together import together
from jobs.spark.schema import spark_schema


def rec_candidates(
    histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface], n: int
) -> DataFrame:
    """One row per surface, user, fold, `as_of` and source that suggests something to the user.

    Items that the user has (unless the surface allows repeats), that are blocked or not available,
    and users themselves are left out; `own` gives what the user has whether repeats are allowed or
    not. A source gives a user `n` items at most.
    """
    suggested = _suggested(histories, items, surfaces)
    if not suggested:
        return histories.sparkSession.createDataFrame([], spark_schema(REC_CANDIDATES))
    sources = {s.name: [x for x in s.sources if x in COUNTED and x != "own"] for s in surfaces}
    all_suggested = reduce(DataFrame.unionByName, suggested)
    found = best(all_suggested, hidden(histories, items, surfaces), sources, n)
    return found.select(*REC_CANDIDATES.names)


def declared_by(surface: Surface) -> list[object]:
    """What of a surface its candidates by counting depend on."""
    return [
        surface.name,
        surface.target,
        [name for name in COUNTED if name in surface.sources],
        sorted(surface.signals.items()),
        surface.goals,
        surface.repeats,
        surface.horizon_days,
    ]


def hidden(histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface]) -> DataFrame:
    """Rows with what a user must not be shown, as an array `items` of ids: what the user blocked or
    has, the user's own posts, and those by each author whom the user blocked."""
    repeats = F.coalesce(by_surface(surfaces, lambda surface: surface.repeats), F.lit(False))
    entries = F.filter(
        F.arrays_zip("item_ids", "owned", "blocked"),
        lambda entry: (entry["blocked"] == 1) | ((entry["owned"] == 1) & ~repeats),
    )
    own = histories.where(on(surfaces)).select(
        *USER, F.transform(entries, lambda entry: entry["item_ids"]).alias("items")
    )
    posts = (
        items.where(on(_of_target(surfaces, "post")) & F.col("author_key").isNotNull())
        .groupBy("as_of", "surface", "author_key")
        .agg(F.collect_list("item_id").alias("items"))
        .withColumn("fold", F.lit(0))
    )
    blocked = (
        own_items(histories, on(_of_target(surfaces, "user")))
        .where("blocked = 1 and fold = 0")
        .select("as_of", "user_key", F.col("item_id").alias("author_key"))
    )
    return (
        own.where(F.size("items") > 0)
        .unionByName(posts.withColumnRenamed("author_key", "user_key"))
        .unionByName(blocked.join(posts, ["as_of", "author_key"]).select(*HIDDEN))
    )


def _suggested(
    histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface]
) -> list[DataFrame]:
    """Suggestions of each source that some surface asks for."""
    found = [
        source(histories, items, surfaces)
        for name, source in _OF_ITEMS.items()
        if with_source(surfaces, name)
    ]
    people = _of_target(surfaces, "user")
    if not any(with_source(surfaces, name) for name in _OF_EDGES):
        return found
    follow = edges(histories, people)
    if with_source(surfaces, "followed_authors"):
        found.append(followed_authors(follow, items, histories, surfaces))
    if with_source(surfaces, "follows_back"):
        found.append(follows_back(follow, items, surfaces))
    walks = [walk for name, walk in _WALKS.items() if with_source(surfaces, name)]
    if walks:
        close, lists = friends(follow), followed(follow, items)
        found += [walk(close, lists, surfaces) for walk in walks]
    return found


def _of_target(surfaces: Sequence[Surface], target: str) -> list[Surface]:
    return [surface for surface in surfaces if surface.target == target]


_OF_ITEMS = {
    "own": own,
    "together": together,
    "interests": interests,
    "same_tastes": same_tastes,
}
_WALKS = {"friends_of_friends": friends_of_friends, "page_rank": page_rank}
_OF_EDGES = ("follows_back", "followed_authors", *_WALKS)
COUNTED = (*_OF_ITEMS, *_OF_EDGES)
"""Sources that are computed here; the others are popularity, and what models retrieve."""
