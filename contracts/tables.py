"""Every table: its grain, and its columns with units and docs."""

from __future__ import annotations

from contracts.features import FEATURES, LAST_MOMENTS, MEASURES, SEQUENCE_LENGTH
from contracts.table import Column, Table
from contracts.tasks import TASKS

USER_KEY = Column("user_key", "string", "The user: 32 hex digits of a keyed hash (HMAC-SHA256).")
OCCURRED_AT = Column("occurred_at", "timestamp", "When it happened, UTC.")
LANDED_ON = Column("landed_on", "date", "UTC day on which the row arrived.")
AS_OF = Column("as_of", "date", "Midnight UTC; only what happened and landed before it is seen.")
SOURCE = Column("source", "string", "Name of the source in the mapping.")
TABLE_NAME = Column("table_name", "string", "Clean table that the row was meant for.")
FILE = Column("file", "string", "Raw file, relative to the raw folder.")
LINE = Column("line", "bigint", "Line of the raw file, from 1; row number in Parquet.", minimum=1)
ROW_HASH = Column("row_hash", "string", "Hash of the raw line (BLAKE2b, 128 bits).")

LANDED = Table(
    name="landed",
    doc="Raw rows as they arrived, split into days. Holds personal data: never published.",
    grain=("source", "file", "line"),
    day="landed_on",
    partition=("landed_on", "source"),
    columns=(
        LANDED_ON,
        SOURCE,
        FILE,
        LINE,
        ROW_HASH,
        Column(
            "fields",
            "array<string>",
            "Texts in the order of the mapping's `columns`; null if the line could not be decoded.",
            nullable=True,
        ),
        Column("problem", "string", "Why the line could not be decoded.", nullable=True),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    doc="Every row that was dropped for a reason, without its text.",
    grain=("table_name", "source", "file", "line"),
    day="landed_on",
    partition=("landed_on", "table_name"),
    columns=(
        LANDED_ON,
        TABLE_NAME,
        SOURCE,
        Column("reason", "string", "Why it was dropped."),
        FILE,
        LINE,
        ROW_HASH,
    ),
)

RECONCILIATION = Table(
    name="reconciliation",
    doc="Rows in = clean + duplicate + quarantined, per source, clean table and day.",
    grain=("table_name", "source", "landed_on"),
    day="landed_on",
    columns=(
        LANDED_ON,
        TABLE_NAME,
        SOURCE,
        Column("n_in", "bigint", "Raw rows meant for the table.", minimum=0),
        Column("n_clean", "bigint", "Rows kept.", minimum=0),
        Column("n_duplicate", "bigint", "Rows equal to one that was kept.", minimum=0),
        Column("n_quarantined", "bigint", "Rows in quarantine.", minimum=0),
    ),
)

ORDERS = Table(
    name="orders",
    doc="Order lines, and the cancellations and returns that undo them.",
    grain=("line_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("line_id", "string", "The order line."),
        Column("order_id", "string", "The order, or the document that undoes one."),
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
            "The order that a cancellation or return undoes, where "
            "the source says; else it undoes the user's newest earlier order of that item.",
            nullable=True,
        ),
        Column("quantity", "bigint", "Units, above 0 for all kinds.", minimum=1),
        Column(
            "amount_minor",
            "bigint",
            "Quantity times price, in minor units of the reporting "
            "currency, at least 0 for all kinds.",
            minimum=0,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

USERS = Table(
    name="users",
    doc="Users, a version per day on which something about them landed.",
    grain=("user_key", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("country", "string", "Country, as the source writes it, trimmed.", nullable=True),
        Column("signed_up_at", "timestamp", "When the account was made, UTC.", nullable=True),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

ITEMS = Table(
    name="items",
    doc="Items, a version per day on which something about them landed.",
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
        Column("post_id", "string", "The post."),
        USER_KEY,
        Column("text", "string", "Its text, normalised; links and mentions masked.", nullable=True),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

ENGAGEMENTS = Table(
    name="engagements",
    doc="What users did with posts, items, users and ads.",
    grain=("engagement_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("engagement_id", "string", "The event."),
        USER_KEY,
        Column("verb", "string", "What was done.", values=("view", "like", "comment", "share")),
        Column(
            "target_kind", "string", "What it was done with.", values=("post", "item", "user", "ad")
        ),
        Column("target_id", "string", "The post, item or ad; the keyed hash of a user."),
        OCCURRED_AT,
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
        Column("review_id", "string", "The review."),
        USER_KEY,
        Column("item_id", "string", "The item."),
        Column("stars", "int", "Stars given.", minimum=1, maximum=5),
        Column("text", "string", "Its text, normalised; links and mentions masked.", nullable=True),
        OCCURRED_AT,
        LANDED_ON,
    ),
)

CLEAN_TABLES = (ORDERS, USERS, ITEMS, POSTS, ENGAGEMENTS, REVIEWS)

USER_DAYS = Table(
    name="user_days",
    doc="Tiles: what a user did on a UTC day, by the day on which it landed.",
    grain=("user_key", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
        *(Column(m.name, "bigint", f"{m.doc} that day.", minimum=0) for m in MEASURES),
    ),
)

USER_ITEM_DAYS = Table(
    name="user_item_days",
    doc="Items that a user ordered, reviewed or engaged with on a UTC day, by landing day.",
    grain=("user_key", "item_id", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("item_id", "string", "The item."),
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
    ),
)

USER_STATE = Table(
    name="user_state",
    doc="Everything known of a user as of a midnight: one row per user ever seen.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        USER_KEY,
        AS_OF,
        *(
            Column(moment, "timestamp", f"When {doc} was, UTC.", nullable=moment != "first_seen_at")
            for moment, doc in LAST_MOMENTS
        ),
        *(Column(m.name, "bigint", f"{m.doc}, all time.", minimum=0) for m in MEASURES),
        Column(
            "event_micros",
            "array<bigint>",
            f"Times of the last {SEQUENCE_LENGTH} events, oldest first, microseconds since 1970.",
        ),
        Column("event_id", "array<string>", "Their ids; ties in time are ordered by them."),
        Column("event_verb", "array<string>", "What they were."),
        Column("event_item", "array<string>", "Their items, empty without one."),
        Column("event_amount_minor", "array<bigint>", "Their amounts in minor units, 0 without."),
    ),
)

USER_FEATURES = Table(
    name="user_features",
    doc="Features of every user ever seen, as of a midnight.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(USER_KEY, AS_OF, *(feature.column() for feature in FEATURES)),
)

LABELS = Table(
    name="labels",
    doc="What then happened: a label per task, null where unknown.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(USER_KEY, AS_OF, *(task.label_column() for task in TASKS)),
)

EXAMPLES = Table(
    name="examples",
    doc="Features and labels of users with at least one label, at past as-of days.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(*USER_FEATURES.columns, *(task.label_column() for task in TASKS)),
)

USER_SCORES = Table(
    name="user_scores",
    doc="The model's answers: exactly one row per known user and as_of.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        USER_KEY,
        AS_OF,
        *(column for task in TASKS for column in task.score_columns()),
        Column("model_id", "string", "Hash of the model's artifact."),
        Column("release_id", "string", "Release that first published the row."),
        Column("retrospective", "boolean", "Whether the model saw labels from after as_of."),
    ),
)

TABLES: tuple[Table, ...] = (
    LANDED,
    QUARANTINE,
    RECONCILIATION,
    *CLEAN_TABLES,
    USER_DAYS,
    USER_ITEM_DAYS,
    USER_STATE,
    USER_FEATURES,
    LABELS,
    EXAMPLES,
    USER_SCORES,
)

PUBLISHED: tuple[Table, ...] = (USER_SCORES, USER_FEATURES, LABELS, RECONCILIATION, QUARANTINE)
"""Tables that a release names; analysts read these and no others."""


def table_named(name: str) -> Table:
    """The table of that name.

    Raises:
        KeyError: there is none.
    """
    return next(table for table in TABLES if table.name == name)
