"""What is counted: per user and day, per item and day, and what is told apart over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WINDOWS = (1, 7, 30, 90)
"""Days before `as_of` that windows reach back."""

Encoding = Literal["count", "money", "days", "ratio", "id", "attributes", "sequence", "text"]


EVERY_TABLE = "every table"
"""Stands for all tables of what users did, where a measure is counted from all of them."""


@dataclass(frozen=True)
class Measure:
    """An integer per user and day in `user_days`; windows and `user_state` sum it, or take the
    largest."""

    name: str
    doc: str
    table: str
    """The clean table it is counted from, or `EVERY_TABLE`."""
    encoding: Encoding = "count"
    combine: Literal["sum", "max"] = "sum"


MEASURES = (
    Measure("n_events", "Events of any kind by the user", EVERY_TABLE),
    Measure("n_order_lines", "Order lines placed", "orders"),
    Measure("n_units", "Units ordered", "orders"),
    Measure("spend_minor", "Value of what was ordered, in minor units", "orders", "money"),
    Measure("n_undone_lines", "Order lines cancelled or returned", "orders"),
    Measure(
        "undone_minor", "Value of what was cancelled or returned, in minor units", "orders", "money"
    ),
    Measure("n_views", "Views of posts, items and users", "engagements"),
    Measure("n_likes", "Likes given", "engagements"),
    Measure("n_comments", "Comments written", "engagements"),
    Measure("n_shares", "Things shared", "engagements"),
    Measure("n_searches", "Searches", "engagements"),
    Measure("n_clicks", "Clicks on posts, items and users", "engagements"),
    Measure("n_ad_views", "Ads seen", "engagements"),
    Measure("n_ad_clicks", "Ads clicked", "engagements"),
    Measure("n_likes_received", "Likes that the user and the user's posts got", "engagements"),
    Measure(
        "n_replies_received",
        "Comments and shares that the user and the user's posts got",
        "engagements",
    ),
    Measure("n_posts", "Posts written", "posts"),
    Measure("n_reviews", "Reviews written", "reviews"),
    Measure("sum_stars", "Sum of the stars given in reviews", "reviews"),
    Measure("n_negative_reviews", "Reviews of negative sentiment", "reviews"),
    Measure("n_positive_reviews", "Reviews of positive sentiment", "reviews"),
    Measure("n_follows", "Times that a user was followed", "follows"),
    Measure("n_unfollows", "Times that a user was no longer followed", "follows"),
    Measure("n_logins", "Logins", "account_events"),
    Measure("n_failed_logins", "Logins that failed", "account_events"),
    Measure("n_payments", "Payments", "account_events"),
    Measure("paid_minor", "Value of payments, in minor units", "account_events", "money"),
    Measure(
        "max_payment_minor", "Largest payment, in minor units", "account_events", "money", "max"
    ),
    Measure("n_transfers", "Transfers to other users", "account_events"),
    Measure("transferred_minor", "Value of transfers, in minor units", "account_events", "money"),
    Measure(
        "max_transfer_minor", "Largest transfer, in minor units", "account_events", "money", "max"
    ),
)

RECEIVED = ("n_likes_received", "n_replies_received")
"""Measures of what others did; on their own they do not make a user active."""


@dataclass(frozen=True)
class Distinct:
    """Things that are told apart exactly over windows.

    Never a sum over tiles: a thing that is met on two days, or whose rows land on two, is one.
    """

    name: str
    count: str
    """How the counts are called, before their window."""
    doc: str
    kind: str
    """The `kind` of the rows in `user_item_days`; a category is that of an item."""
    lifetime: bool = False
    """Whether they are counted over all time too: `user_state` then keeps a hash of each."""

    @property
    def hashes(self) -> str:
        """The column of `user_state` with a hash of each, if they are counted over all time."""
        return f"{self.name}_hashes"


DISTINCT = (
    Distinct("order", "n_orders", "orders placed", "order", lifetime=True),
    Distinct("item", "n_distinct_items", "items ordered, reviewed or engaged with", "item"),
    Distinct("category", "n_distinct_categories", "categories of those items", "item"),
    Distinct(
        "counterpart",
        "n_distinct_counterparts",
        "users followed, paid, or engaged with themselves or through their posts",
        "counterpart",
    ),
    Distinct("device", "n_distinct_devices", "devices of account events", "device"),
)
LIFETIME = tuple(d for d in DISTINCT if d.lifetime)
THINGS = ("order", "item", "counterpart", "device")
"""Kinds of rows in `user_item_days`."""

LAST_MOMENTS = (
    ("first_seen_at", "the first event or the sign-up"),
    ("last_seen_at", "the last event"),
    ("last_order_at", "the last order"),
    ("last_review_at", "the last review"),
    ("last_post_at", "the last post"),
    ("last_login_at", "the last login"),
)
"""Moments kept in `user_state` (first: the minimum; last: the maximum)."""

EVENT_VERBS = (
    "order", "undo", "view", "like", "comment", "share", "search", "click", "ad_click", "post",
    "review", "follow", "unfollow", "login", "failed_login", "payment", "transfer",
)  # fmt: skip
"""What an event of the sequence can be. Ads that were merely shown are no event of it."""

SEQUENCE_LENGTH = 50
"""Events kept per user in `user_state`, the newest last."""

TEXT_POSTS, TEXT_TOKENS, TEXT_BUCKETS = 16, 64, 8192
"""The text of a user: of the newest so many posts of the widest window, the newest so many words,
each hashed into one of so many buckets from 1."""


@dataclass(frozen=True)
class ItemMeasure:
    """An integer per item and day in `item_days`, summed by windows in `item_features`."""

    name: str
    doc: str


ITEM_MEASURES = (
    ItemMeasure("n_engagements", "Engagements with it"),
    ItemMeasure("n_order_lines", "Lines that ordered it"),
    ItemMeasure("n_reviews", "Reviews of it"),
    ItemMeasure("sum_stars", "Sum of the stars of its reviews"),
)
ITEM_WINDOWS = (7, 30, 90)
