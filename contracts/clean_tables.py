"""The clean tables: one row per fact, or per version of a user or item, kept by arrival day."""

from __future__ import annotations

from contracts.table import Column, Table

USER_KEY = Column("user_key", "string", "The user: 32 hex digits of a keyed hash (HMAC-SHA256).")
OCCURRED_AT = Column("occurred_at", "timestamp", "When it happened, UTC.")
LANDED_ON = Column("landed_on", "date", "UTC day on which the row arrived.")

ORDERS = Table(
    name="orders",
    doc="Order lines, and the cancellations and returns that undo them.",
    grain=("line_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("line_id", "string", "The order line: a keyed hash."),
        Column("order_id", "string", "The order, or the document that undoes one: a keyed hash."),
        USER_KEY,
        Column("item_id", "string", "What was ordered."),
        Column(
            "kind",
            "string",
            "What kind of line it is.",
            values=("purchase", "cancellation", "return"),
        ),
        Column(
            "undoes_order_id",
            "string",
            "The order (a keyed hash) that a cancellation or return undoes, where the source says: "
            "units of it only. Else it undoes what is left of the user's earlier orders of that "
            "item, the newest first; a cancellation also an order of up to 15 minutes after it.",
            nullable=True,
        ),
        Column("quantity", "bigint", "Units, above 0 for all kinds.", minimum=1),
        Column(
            "amount_minor",
            "bigint",
            "What the line costs, all units together, in minor units of the reporting "
            "currency, at least 0 for all kinds.",
            minimum=0,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

USERS = Table(
    name="users",
    doc="Users, a version per day on which something about them landed. The one of the latest "
    "`occurred_at` holds.",
    grain=("user_key", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("country", "string", "Country, as the source writes it, trimmed.", nullable=True),
        Column("signed_up_at", "timestamp", "When the account was made, UTC.", nullable=True),
        Column(
            "attributes",
            "array<string>",
            "Whatever else the mapping says of users, as sorted texts `name=value`; attributes "
            "without a value are left out, and null stands for none.",
            nullable=True,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

ITEMS = Table(
    name="items",
    doc="Items, a version per day on which something about them landed. The one of the latest "
    "`occurred_at` holds.",
    grain=("item_id", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("item_id", "string", "The item."),
        Column("category_id", "string", "Its category.", nullable=True),
        Column("title", "string", "Its title, normalised.", nullable=True),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

POSTS = Table(
    name="posts",
    doc="Posts that users wrote.",
    grain=("post_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("post_id", "string", "The post: a keyed hash."),
        USER_KEY,
        Column("text", "string", "Its text, normalised; links and mentions masked.", nullable=True),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

ENGAGEMENTS = Table(
    name="engagements",
    doc="What users did with posts, items, users and ads, and what they searched for.",
    grain=("engagement_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("engagement_id", "string", "The event: a keyed hash."),
        Column(
            "user_key",
            "string",
            "The user who did it: 32 hex digits of a keyed hash. Null where a source only says to "
            "whom it was done.",
            nullable=True,
        ),
        Column(
            "verb",
            "string",
            "What was done.",
            values=("view", "like", "comment", "share", "search", "click"),
        ),
        Column(
            "target_kind",
            "string",
            "What it was done with; null for a search for nothing in particular.",
            nullable=True,
            values=("post", "item", "user", "ad"),
        ),
        Column(
            "target_id",
            "string",
            "The item or ad; the keyed hash of a post or user.",
            nullable=True,
        ),
        Column(
            "text",
            "string",
            "Words of a comment or search, normalised.",
            nullable=True,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

FOLLOWS = Table(
    name="follows",
    doc="Who follows whom, from when; and who no longer does.",
    grain=("follow_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("follow_id", "string", "The fact: a keyed hash."),
        USER_KEY,
        Column("followed_key", "string", "The user who is followed: a keyed hash as well."),
        Column("kind", "string", "What changed.", values=("follow", "unfollow")),
        Column(
            "valid_from",
            "timestamp",
            "From when the graph may show it, UTC: when it happened, or what the mapping says for "
            "edges without a time. Null keeps it out of features.",
            nullable=True,
        ),
        Column(
            "occurred_at",
            "timestamp",
            "When it happened, UTC; null where the source does not say.",
            nullable=True,
        ),
        LANDED_ON,
    ),
)

REVIEWS = Table(
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
        OCCURRED_AT,
        LANDED_ON,
    ),
)

ACCOUNT_EVENTS = Table(
    name="account_events",
    doc="Logins, payments and transfers of accounts.",
    grain=("event_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("event_id", "string", "The event: a keyed hash."),
        USER_KEY,
        Column("kind", "string", "What it was.", values=("login", "payment", "transfer")),
        Column("succeeded", "boolean", "Whether it went through."),
        Column("device_key", "string", "The device: a keyed hash of what names it.", nullable=True),
        Column(
            "counterpart_key",
            "string",
            "The user who got a transfer: a keyed hash.",
            nullable=True,
        ),
        Column(
            "amount_minor",
            "bigint",
            "Amount in minor units of the reporting currency; null for a login.",
            nullable=True,
            minimum=0,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

FRAUD_MARKS = Table(
    name="fraud_marks",
    doc="Account events that turned out to be fraud, often weeks later.",
    grain=("mark_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("mark_id", "string", "The mark: a keyed hash."),
        Column("event_id", "string", "The account event that was fraud: a keyed hash."),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

CLEAN_TABLES = (
    ORDERS,
    USERS,
    ITEMS,
    POSTS,
    ENGAGEMENTS,
    FOLLOWS,
    REVIEWS,
    ACCOUNT_EVENTS,
    FRAUD_MARKS,
)
