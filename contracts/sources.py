"""What a mapping may say about each clean table: the fields it fills from raw columns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A Spark SQL expression over the raw columns, all of which are strings."""

    name: str
    doc: str
    required: bool = True
    default: str | None = None
    """The expression that stands in when the mapping leaves the field out."""


_TIME = Field("occurred_at", "when it happened")
_USER = Field("user_id", "the user, as the source names them; leaves this stage as `user_key` only")

FIELDS: dict[str, tuple[Field, ...]] = {
    "orders": (
        Field("line_id", "the order line; rows with the same id are retries of one another"),
        Field("order_id", "the order, or the document that undoes one"),
        _USER,
        Field("item_id", "what was ordered"),
        Field("kind", "`'purchase'`, `'cancellation'` or `'return'`", default="'purchase'"),
        Field("undoes_order_id", "the order that a cancellation or return undoes", required=False),
        Field("quantity", "units, a whole number above 0 for all kinds"),
        Field(
            "unit_price",
            "price of one unit in major units, such as `2.55`; either this or `amount`",
            required=False,
        ),
        Field(
            "amount",
            "what all units of the line cost, in major units; either this or `unit_price`",
            required=False,
        ),
        Field("currency", "ISO code; needs a rate under `[money]`"),
        _TIME,
    ),
    "users": (
        _USER,
        Field("country", "country", required=False),
        Field("signed_up_at", "when the account was made", required=False),
        _TIME,
    ),
    "items": (
        Field("item_id", "the item"),
        Field("category_id", "its category; without it `interests_30d` is off", required=False),
        Field("title", "its title", required=False),
        _TIME,
    ),
    "posts": (
        Field("post_id", "the post"),
        _USER,
        Field("text", "its text", required=False),
        _TIME,
    ),
    "engagements": (
        Field("engagement_id", "the event"),
        Field(
            "user_id",
            "the user who did it; may be null only for what was done to a user, `target_kind` "
            "`'user'`",
            required=False,
        ),
        Field("verb", "`'view'`, `'like'`, `'comment'`, `'share'`, `'search'` or `'click'`"),
        Field(
            "target_kind",
            "`'post'`, `'item'`, `'user'` or `'ad'`; may be null for a search",
            required=False,
        ),
        Field("target_id", "the post, item, user or ad; may be null for a search", required=False),
        Field("text", "words of a comment or search", required=False),
        _TIME,
    ),
    "follows": (
        Field("follow_id", "the fact; an unfollow has its own"),
        _USER,
        Field("followed_id", "the user who is followed; leaves as a keyed hash as well"),
        Field("kind", "`'follow'` or `'unfollow'`", default="'follow'"),
        Field(
            "valid_from",
            "for edges without a time: from when features may see them; the time, where there is "
            "one, is taken instead",
            required=False,
        ),
        Field(
            "occurred_at",
            "when it happened; without it and `valid_from` the edge stays out of features",
            required=False,
        ),
    ),
    "reviews": (
        Field("review_id", "the review"),
        _USER,
        Field("item_id", "the item"),
        Field("stars", "a whole number, 1 to 5"),
        Field(
            "sentiment",
            "`'negative'`, `'neutral'` or `'positive'`; from the stars where null",
            required=False,
        ),
        Field("text", "its text", required=False),
        _TIME,
    ),
    "account_events": (
        Field("event_id", "the event"),
        _USER,
        Field("kind", "`'login'`, `'payment'` or `'transfer'`"),
        Field("succeeded", "`true` or `false`: whether it went through", default="true"),
        Field("device_id", "what names the device; leaves as a keyed hash", required=False),
        Field(
            "counterpart_id", "the user who gets a transfer; leaves as a keyed hash", required=False
        ),
        Field("amount", "in major units, such as `2.55`; null for a login", required=False),
        Field("currency", "ISO code, where there is an amount", required=False),
        _TIME,
    ),
    "fraud_marks": (
        Field("mark_id", "the mark"),
        Field("event_id", "the account event that was fraud"),
        Field("occurred_at", "when it was found out"),
    ),
}
"""Clean table to its fields. A required field that comes out null quarantines the row."""

TIME_FIELDS = frozenset({"occurred_at", "signed_up_at", "valid_from"})
"""Fields that are times."""

EITHER = {"orders": ("unit_price", "amount")}
"""Clean table to two fields of which a mapping gives exactly one."""

MAX_AMOUNT_MINOR = 10**14
"""Minor units of the reporting currency that one row may be worth: a trillion euros. 92,000 rows of
that much add up to less than a bigint holds: no sum over a history that could be real overflows."""

MAX_QUANTITY = 10**9
"""Units that one order line may have; nine thousand million lines of so many fit into a bigint."""

MONEY_TABLES = frozenset({"orders", "account_events"})
"""Clean tables with amounts: a mapping that feeds one needs `[money]`."""

NULL_VALUES = ("", "NULL", "null", "\\N", "nan", "NaN", "None", "N/A", "#N/A")
"""Texts of raw cells that mean that there is no value, where a source does not say so itself."""

NULL_LIKE = frozenset(
    {
        "null", "(null)", "<null>", "\\n", "none", "nil", "n/a", "#n/a", "na", "nan", "undefined",
        "unknown", "missing", "-", "--", "?",
    }
)  # fmt: skip
"""Ids that look as if there were none, in lower case. They are taken as they are, and counted."""

BOT_LIMITS = {"engagements": 1000, "posts": 200, "follows": 500, "reviews": 200}
"""Clean table to the things that a user may do on a day: whoever did more, of what landed together,
is a bot, and all of that user's rows of that day are quarantined. Retries count once, also those of
the look-back, and edges without a time not at all. A mapping's `[bots]` changes the limits."""


def id_fields(table: str) -> tuple[str, ...]:
    """The fields of a clean table that name something."""
    return tuple(field.name for field in FIELDS[table] if field.name.endswith("_id"))
