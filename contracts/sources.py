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
        Field("unit_price", "price of one unit in major units, such as `2.55`"),
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
        Field("category_id", "its category", required=False),
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
        _USER,
        Field("verb", "`'view'`, `'like'`, `'comment'` or `'share'`"),
        Field("target_kind", "`'post'`, `'item'`, `'user'` or `'ad'`"),
        Field("target_id", "the post, item, user or ad"),
        _TIME,
    ),
    "reviews": (
        Field("review_id", "the review"),
        _USER,
        Field("item_id", "the item"),
        Field("stars", "a whole number, 1 to 5"),
        Field("text", "its text", required=False),
        _TIME,
    ),
}
"""Clean table to its fields. A required field that comes out null quarantines the row."""
