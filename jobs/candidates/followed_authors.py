"""Posts by whom a user follows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT
from contracts.surfaces import Surface
from jobs.candidates.suggestions import (
    SUGGESTED,
    USER,
    each,
    firsts,
    fixed,
    on,
    scored,
    with_source,
)

MAX_AUTHORS = 100
"""Authors whom a user follows who count, those of the strongest signals between them."""
MAX_POSTS = 20
"""Newest posts that an author suggests."""
HALF_AGE = 3
"""Days after which a post counts half as much."""

_ONE = float(FIXED_POINT)


def followed_authors(
    follow: DataFrame, items: DataFrame, histories: DataFrame, surfaces: Sequence[Surface]
) -> DataFrame:
    """Suggestions: the newest posts of each author whom the user follows; the reason is the author.

    `follow` has who follows whom. A post counts by its age, by the root of one more than its users
    of the last 30 days, and by the root of one more than the signals between reader and author.
    """
    asked = with_source(surfaces, "followed_authors")
    authors = firsts(
        follow.where("fold = 0"),
        ("as_of", "user_key"),
        (F.col("signal").desc(), F.col("item_id")),
        MAX_AUTHORS,
    ).select("as_of", "user_key", F.col("item_id").alias("author_key"), "signal")
    readers = histories.where(on(asked)).select(*USER)
    return (
        readers.join(authors, ["as_of", "user_key"])
        .join(by_author(items.where(on(asked))), ["as_of", "surface", "author_key"])
        .select(
            *USER,
            F.lit("followed_authors").alias("source"),
            F.col("author_key").alias("because"),
            each(
                F.col("items"),
                lambda score: F.floor(score * F.sqrt(1 + F.col("signal") / _ONE) + 0.5),
            ).alias("items"),
        )
        .select(*SUGGESTED)
    )


def by_author(items: DataFrame) -> DataFrame:
    """One row per author of posts that may be shown: the newest of them."""
    author = ("as_of", "surface", "author_key")
    newest = firsts(
        items.where("available and author_key is not null"),
        author,
        (F.col("first_day").desc(), F.col("item_id")),
        MAX_POSTS,
    )
    age = F.unix_date("as_of") - F.col("first_day")
    score = fixed(HALF_AGE / (HALF_AGE + age) * F.sqrt(1.0 + F.col("n_users_30d")))
    return newest.groupBy(*author).agg(
        F.collect_list(scored(F.col("item_id"), score)).alias("items")
    )
