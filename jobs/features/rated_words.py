"""The words of a user's newest posts, and what the reviews that have them say of their tone.

Whether a word is glad or sad is not known from a dictionary, but from the stars that everybody's
reviews with it give: the same in every language, and as of each midnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.measures import (
    MIN_RATINGS_OF_WORD,
    TEXT_BUCKETS,
    TEXT_POSTS,
    TEXT_TOKENS,
    WINDOWS,
)
from jobs.features.point_in_time import seen_by

_KEY = ["user_key", "as_of"]


def tokens(text: Column) -> Column:
    """The hashes of a text's words, in their order."""
    return F.transform(
        F.split(text, " "),
        lambda word: (F.pmod(F.xxhash64(word), F.lit(TEXT_BUCKETS)) + 1).cast("int"),
    )


def word_stars(reviews: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per word and `as_of` with reviews enough in the widest window; a review that repeats
    a word counts once.

    `above` is by how many thousandths of a star the mean of the reviews with the word is above that
    of all words': whole numbers, so that their sums do not depend on the order.
    """
    words = F.explode(F.array_distinct(tokens(F.col("text"))))
    # Counted by day first: a review is seen on up to ninety midnights.
    of_days = (
        reviews.where("text is not null")
        .select(F.to_date("occurred_at").alias("day"), "landed_on", "stars", words.alias("token"))
        .groupBy("day", "landed_on", "token")
        .agg(F.count("*").alias("n"), F.sum("stars").alias("stars"))
    )
    stars = (
        seen_by(of_days, F.col("day"), as_ofs, within=max(WINDOWS))
        .groupBy("as_of", "token")
        .agg(F.sum("n").alias("n"), F.sum("stars").alias("stars"))
    )
    of_day = Window.partitionBy("as_of")
    return (
        stars.withColumns(
            {"all_stars": F.sum("stars").over(of_day), "all_n": F.sum("n").over(of_day)}
        )
        .where(F.col("n") >= MIN_RATINGS_OF_WORD)
        .select(
            "token",
            "as_of",
            F.expr("(1000 * stars) div n - (1000 * all_stars) div all_n").alias("above"),
        )
    )


def recent_text(posts: DataFrame, word_stars: DataFrame, as_ofs: Sequence[date]) -> DataFrame:
    """One row per user and `as_of` with a post in the widest window: its last words, hashed, and
    the columns of `RATED_WORDS`."""
    newest = Window.partitionBy(*_KEY).orderBy(F.desc("occurred_at"), F.desc("post_id"))
    of_posts = F.flatten(
        F.transform(
            F.sort_array(F.collect_list(F.struct("occurred_at", "post_id", "tokens"))),
            lambda post: post["tokens"],
        )
    )
    last = F.slice(
        "tokens", F.greatest(F.size("tokens") - (TEXT_TOKENS - 1), F.lit(1)), TEXT_TOKENS
    )
    texts = (
        seen_by(
            posts.where("text is not null").withColumn("tokens", tokens(F.col("text"))),
            F.to_date("occurred_at"),
            as_ofs,
            within=max(WINDOWS),
        )
        .withColumn("rank", F.row_number().over(newest))
        .where(F.col("rank") <= TEXT_POSTS)
        .groupBy(*_KEY)
        .agg(of_posts.alias("tokens"))
    )
    return (
        texts.select(*_KEY, F.posexplode(last).alias("place", "token"))
        .join(word_stars, ["as_of", "token"], "left")
        .groupBy(*_KEY)
        .agg(
            F.sort_array(F.collect_list(F.struct("place", "token")))["token"].alias("text_tokens"),
            F.count("above").alias("n_rated_words"),
            F.sum("above").alias("rated_words_above"),
        )
    )
