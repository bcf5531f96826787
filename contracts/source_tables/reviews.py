"""Reviews of items."""

from __future__ import annotations

from contracts.cleaning import (
    Attributes,
    Cleaning,
    KeyedId,
    KeyedUser,
    OneOf,
    Required,
    Sql,
    Stars,
    Text,
    Time,
    Words,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    USER_KEY,
    Event,
    Field,
    Interaction,
    ItemMean,
    ItemMeasure,
    Measure,
    SourceTable,
    Thing,
)
from contracts.table import Column

REVIEWS = SourceTable(
    name="reviews",
    doc="Reviews of items.",
    grain=("review_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("review_id", "string", "The review: a keyed hash."),
        USER_KEY,
        Column("item_id", "string", "The item."),
        Column("stars", "int", "Stars given.", minimum=1, maximum=5),
        Column(
            "sentiment",
            "string",
            "As the source says; else up to 2 stars negative, 3 neutral, 4 and 5 positive.",
            values=("negative", "neutral", "positive"),
        ),
        Column("text", "string", "Its text, normalised; links and mentions masked.", nullable=True),
        Column(
            "labels",
            "array<string>",
            "What the mapping says is known of its text, as sorted texts `head=class`; null if "
            "nothing is.",
            nullable=True,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("review_id", "the review"),
        Field(
            "user_id",
            "the user, as the source names them; leaves this stage as `user_key` only",
        ),
        Field("item_id", "the item"),
        Field("stars", "a whole number, 1 to 5"),
        Field(
            "sentiment",
            "`'negative'`, `'neutral'` or `'positive'`; from the stars where null",
            required=False,
        ),
        Field("text", "its text", required=False),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="review_id",
        columns=(
            KeyedId("review_id", "review"),
            KeyedUser("user_key", "user_id"),
            Text("item_id"),
            Stars("stars"),
            Sql(
                "sentiment",
                "coalesce(text_sentiment, case when stars <= 2 then 'negative' "
                "when stars = 3 then 'neutral' else 'positive' end)",
            ),
            Words("text"),
            Attributes("labels"),
            Time(),
        ),
        checks=(
            Required("user_id"),
            Required("review_id"),
            Required("item_id"),
            Stars("stars"),
            OneOf("sentiment"),
            Attributes("labels"),
            Time(),
        ),
        max_rows_of_user=200,
    ),
    event=Event("review_id", "'review'", ("review",), item="item_id"),
    measures=(
        Measure("n_reviews", "Reviews written", "count(*)"),
        Measure("sum_stars", "Sum of the stars given in reviews", "sum(stars)"),
        Measure(
            "stars_above_items",
            "Sum over reviews of how many thousandths of a star they are above the mean of the "
            "reviews of their item that had landed in the 90 days before, and two of 4 stars",
            "sum(1000 * stars - item_mean_milli)",
            minimum=None,
        ),
        Measure(
            "n_negative_reviews",
            "Reviews of negative sentiment",
            "count_if(sentiment = 'negative')",
        ),
        Measure(
            "n_positive_reviews",
            "Reviews of positive sentiment",
            "count_if(sentiment = 'positive')",
        ),
    ),
    item_mean=ItemMean("stars", usual=4, weight=2),
    things=(Thing("item", "item_id"),),
    interactions=(Interaction("'review'", "'item'", "item_id", stars="stars"),),
    item_measures=(
        ItemMeasure("n_reviews", "Reviews of it", "1"),
        ItemMeasure("sum_stars", "Sum of the stars of its reviews", "stars"),
    ),
)
