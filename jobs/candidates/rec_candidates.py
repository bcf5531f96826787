"""What counting suggests for each user: all sources of all surfaces as of a midnight."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT, REC_CANDIDATES
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
from jobs.candidates.suggestions import (
    HIDDEN,
    USER,
    Said,
    added_up,
    by_surface,
    hidden_rows,
    joined,
    on,
    with_source,
)
from jobs.candidates.together import together
from jobs.spark.schema import spark_schema

COUNTED = (
    "own", "together", "interests", "same_tastes", "followed_authors", "follows_back",
    "friends_of_friends", "page_rank",
)  # fmt: skip
"""Sources that are computed here; the others are popularity, and what models retrieve."""


def rec_candidates(
    histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface], n: int
) -> DataFrame:
    """One row per surface, user, fold, `as_of` and source that suggests something to the user.

    Items that the user has (unless the surface allows repeats), that are blocked or not available,
    and users themselves are left out; `own` gives what the user has whether repeats are allowed or
    not. A source gives a user `n` items at most.
    """
    found = []
    n_users = _most(histories, surfaces, "fold")
    said = _said(histories, items, surfaces, n_users)
    if said:
        added = added_up(
            reduce(DataFrame.unionByName, [each.tastes for each in said]),
            reduce(DataFrame.unionByName, [each.lists for each in said]),
            hidden_rows(hidden(histories, items, surfaces), _sources(surfaces)),
            n,
            n_users,
        )
        unit = float(FIXED_POINT) ** 2
        no_reasons = F.array_repeat(F.lit(""), F.size("item_ids"))
        found.append(
            added.withColumns(
                {
                    "scores": F.transform("scores", lambda score: score / unit),
                    "because": F.when(F.col("source") == "follows_back", no_reasons).otherwise(
                        F.col("because")
                    ),
                }
            )
        )
    if with_source(surfaces, "own"):
        found.append(own(histories, items, surfaces, n))
    if not found:
        return histories.sparkSession.createDataFrame([], spark_schema(REC_CANDIDATES))
    rows = reduce(DataFrame.unionByName, found)
    return rows.withColumn("scores", F.col("scores").cast("array<float>")).select(
        *REC_CANDIDATES.names
    )


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
        .unionByName(joined(blocked, posts, ("as_of", "author_key")).select(*HIDDEN))
    )


def _said(
    histories: DataFrame, items: DataFrame, surfaces: Sequence[Surface], n_users: int
) -> list[Said]:
    """What each source says that some surface asks for, but `own`."""
    found = []
    if with_source(surfaces, "together"):
        n_items = _most(items, surfaces)
        found.append(together(histories, items, surfaces, n_users, n_items))
    if with_source(surfaces, "interests"):
        found.append(interests(histories, items, surfaces))
    if with_source(surfaces, "same_tastes"):
        found.append(same_tastes(histories, items, surfaces))
    follow = edges(histories, _of_target(surfaces, "user"))
    if with_source(surfaces, "followed_authors"):
        found.append(followed_authors(follow, items, histories, surfaces))

    def followers(source: str) -> DataFrame:
        return follow.where(on(with_source(surfaces, source)))

    if with_source(surfaces, "follows_back"):
        found.append(follows_back(followers("follows_back"), items))
    if with_source(surfaces, "friends_of_friends"):
        some = followers("friends_of_friends")
        found.append(friends_of_friends(friends(some), followed(some, items)))
    if with_source(surfaces, "page_rank"):
        some = followers("page_rank")
        found.append(page_rank(friends(some), followed(some, items), n_users))
    return found


def _of_target(surfaces: Sequence[Surface], target: str) -> list[Surface]:
    return [surface for surface in surfaces if surface.target == target]


def _sources(surfaces: Sequence[Surface]) -> Column:
    """The sources of a row's surface from which something is to be hidden."""
    hiding = [
        (s.name, [name for name in COUNTED if name in s.sources and name != "own"])
        for s in surfaces
    ]
    pairs = [
        part
        for surface, names in hiding
        for part in (
            F.lit(surface),
            F.array(*(F.lit(name) for name in names)).cast("array<string>"),
        )
    ]
    return F.element_at(F.create_map(*pairs), F.col("surface"))


def _most(rows: DataFrame, surfaces: Sequence[Surface], *by: str) -> int:
    """Rows of the largest of the surfaces on any day."""
    counts = rows.where(on(surfaces)).groupBy("as_of", "surface", *by).count()
    return counts.agg(F.max("count")).collect()[0][0] or 0
