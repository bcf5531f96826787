"""Posts that users wrote."""

from __future__ import annotations

from contracts.cleaning import (
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
            Text("category_id"),
            Time(),
        ),
        checks=(Required("user_id"), Required("post_id"), Time()),
        max_rows_of_user=200,
    ),
    event=Event("post_id", "'post'", ("post",)),
    measures=(Measure("n_posts", "Posts written", "count(*)"),),
)
