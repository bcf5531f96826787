"""Posts by whom a user follows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.surfaces import Surface
from jobs.candidates.suggestions import (
    ONE,
    USER,
    Said,
    firsts,
    fixed,
    joined,
    lists,
    on,
    tastes,
    with_source,
)

MAX_AUTHORS = 100
"""Authors whom a user follows who count, those of the strongest signals between them."""
MAX_POSTS = 20
"""Newest posts that an author suggests."""
HALF_AGE = 3
"""Days after which a post counts half as much."""


def followed_authors(
    follow: DataFrame, items: DataFrame, histories: DataFrame, surfaces: Sequence[Surface]
) -> Said:
    """The newest posts of each author whom the user follows; the reason is the author.

    `follow` has who follows whom. A post counts by its age and by the root of one more than its
    users of the last 30 days, an author by the root of one more than the signals of the reader.
    """
    asked = with_source(surfaces, "followed_authors")
    authors = firsts(
        follow.where("fold = 0"),
        ("as_of", "user_key"),
        (F.col("signal").desc(), F.col("item_id")),
        MAX_AUTHORS,
    ).select("as_of", "user_key", "item_id", "signal")
    readers = joined(histories.where(on(asked)).select(*USER), authors, ("as_of", "user_key"))
    weight = fixed(F.sqrt(1 + F.col("signal") / ONE))
    return Said(
        tastes(readers, "followed_authors", F.col("item_id"), weight),
        lists(
            by_authors(items.where(on(asked))),
            "followed_authors",
            F.col("author_key"),
            F.col("item_id"),
            F.col("score"),
        ),
    )


def by_authors(items: DataFrame) -> DataFrame:
    """One row per author and post that may be shown, the newest of each author."""
    age = F.unix_date("as_of") - F.col("first_day")
    newest = firsts(
        items.where("available and author_key is not null"),
        ("as_of", "surface", "author_key"),
        (F.col("first_day").desc(), F.col("item_id")),
        MAX_POSTS,
    )
    score = fixed(HALF_AGE / (HALF_AGE + age) * F.sqrt(1.0 + F.col("n_users_30d")))
    return newest.select("*", F.lit(0).alias("fold"), score.alias("score"))
