"""Posts that users wrote."""

from __future__ import annotations

from contracts.cleaning import (
    Attributes,
    Cleaning,
    KeyedId,
    KeyedUser,
    Required,
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
    Measure,
    SourceTable,
)
from contracts.table import Column

POSTS = SourceTable(
    name="posts",
    doc="Posts that users wrote.",
    grain=("post_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("post_id", "string", "The post: a keyed hash."),
        USER_KEY,
        Column("text", "string", "Its text, normalised; links and mentions masked.", nullable=True),
        Column("category_id", "string", "What it is about.", nullable=True),
        Column(
            "labels",
            "array<string>",
            "What the mapping says is known of its text, as sorted texts `head=class`; "
            "null if nothing is.",
            nullable=True,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("post_id", "the post"),
        Field(
            "user_id",
            "the user, as the source names them; leaves this stage as `user_key` only",
        ),
        Field("text", "its text", required=False),
        Field("category_id", "what it is about, such as a topic or channel", required=False),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="post_id",
        columns=(
            KeyedId("post_id", "post"),
            KeyedUser("user_key", "user_id"),
            Words("text"),
            Attributes("labels"),
            Text("category_id"),
            Time(),
        ),
        checks=(Required("user_id"), Required("post_id"), Attributes("labels"), Time()),
        max_rows_of_user=200,
    ),
    event=Event("post_id", "'post'", ("post",)),
    scored_text="text",
    measures=(
        Measure("n_posts", "Posts written", "count(*)"),
        Measure(
            "n_posts_without_text",
            "Posts without a text",
            "count_if(text is null)",
            of_content=True,
        ),
        Measure(
            "n_links_posted",
            "Links in posts",
            "sum(coalesce(size(split(text, '<url>', -1)) - 1, 0))",
            of_content=True,
        ),
        Measure(
            "n_posts_of_known_sentiment",
            "Posts whose sentiment is known",
            "count(sentiment_milli)",
            of_content=True,
        ),
        Measure(
            "post_sentiment_milli",
            "Sum over those posts of by how many thousandths they are more probably positive than "
            "negative",
            "sum(coalesce(sentiment_milli, 0))",
            minimum=None,
            of_content=True,
        ),
        Measure(
            "n_negative_posts",
            "Posts that are most probably negative",
            "count_if(sentiment = 'negative')",
            of_content=True,
        ),
        Measure(
            "n_posts_of_known_toxicity",
            "Posts of which it is known whether they are toxic",
            "count(toxicity)",
            of_content=True,
        ),
        Measure(
            "n_toxic_posts",
            "Posts that are most probably toxic",
            "count_if(toxicity = 'toxic')",
            of_content=True,
        ),
    ),
)
