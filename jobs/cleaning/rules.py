"""What the rows of each clean table must look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.clean_tables import (
    ACCOUNT_EVENTS,
    ENGAGEMENTS,
    FOLLOWS,
    FRAUD_MARKS,
    ITEMS,
    ORDERS,
    POSTS,
    REVIEWS,
    USERS,
)
from contracts.values import MAX_ATTRIBUTE_LENGTH
from jobs.cleaning.fields import (
    Amount,
    Context,
    missing,
    one_of,
    quantity_checks,
    text_id,
    time_checks,
)
from jobs.cleaning.verdicts import Check, Rules
from jobs.values.trimming import trimmed


def orders(given: Context) -> Rules:
    """Order lines in minor units of the reporting currency."""
    if given.line_totals:
        price = Amount("amount", given)
    else:
        price = Amount("unit_price", given, times="quantity")
    return Rules(
        ORDERS,
        derive=(
            ("line_id", given.id_of("line", "line_id")),
            ("order_id", given.id_of("order", "order_id")),
            ("user_key", given.key_of("user_id")),
            ("item_id", text_id("item_id")),
            ("kind", text_id("kind")),
            ("undoes_order_id", given.id_of("order", "undoes_order_id")),
            ("quantity", given.whole("quantity")),
            *price.derive,
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(
            missing("user_id"),
            missing("order_id"),
            missing("line_id"),
            missing("item_id"),
            missing("kind"),
            one_of("kind", ORDERS),
            *quantity_checks(),
            *price.checks,
            *time_checks(),
        ),
        id="line_id",
    )


def attributes() -> Column:
    """Further attributes of a user as sorted texts `name=value`; null if none has a value."""
    values = F.transform(
        "in_attributes", lambda a: F.struct(a["name"], trimmed(a["value"]).alias("value"))
    )
    there = F.filter(values, lambda a: a["value"].isNotNull())
    texts = F.transform(there, lambda a: F.concat(a["name"], F.lit("="), a["value"]))
    return F.nullif(F.array_sort(texts), F.array().cast("array<string>"))


def users(given: Context) -> Rules:
    """Users by their keyed hash. Names, addresses and mails have no field to go to."""
    return Rules(
        USERS,
        derive=(
            ("user_key", given.key_of("user_id")),
            ("country", text_id("country")),
            ("signed_up_at", given.instant("signed_up_at")),
            ("attributes", attributes()),
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(
            missing("user_id"),
            *time_checks("signed_up_at", optional=True),
            Check(
                f"attributes: a value of more than {MAX_ATTRIBUTE_LENGTH} characters",
                F.exists(
                    "attributes",
                    lambda text: F.length(text) - F.locate("=", text) > MAX_ATTRIBUTE_LENGTH,
                ),
            ),
            *time_checks(from_ever=True),
        ),
        id="user_key",
        dimension=True,
    )


def items(given: Context) -> Rules:
    return Rules(
        ITEMS,
        derive=(
            ("item_id", text_id("item_id")),
            ("category_id", text_id("category_id")),
            *given.words("title"),
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(missing("item_id"), *time_checks(from_ever=True)),
        id="item_id",
        dimension=True,
    )


def posts(given: Context) -> Rules:
    return Rules(
        POSTS,
        derive=(
            ("post_id", given.id_of("post", "post_id")),
            ("user_key", given.key_of("user_id")),
            *given.words("text"),
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(missing("user_id"), missing("post_id"), *time_checks()),
        id="post_id",
    )


def engagements(given: Context) -> Rules:
    """Engagements; a target becomes a keyed hash as in its own table, but for items and ads.

    Who did it may be unknown where it was done to a user, and a search may have no target. What is
    of no kind may be a user: the row is quarantined, and found when that user is to be forgotten.
    """
    searches = F.coalesce(text_id("verb") == "search", F.lit(False))
    to_user = F.coalesce(text_id("target_kind") == "user", F.lit(False))
    to_post = F.coalesce(text_id("target_kind") == "post", searches)
    return Rules(
        ENGAGEMENTS,
        derive=(
            ("engagement_id", given.id_of("engagement", "engagement_id")),
            ("user_key", given.key_of("user_id")),
            ("verb", text_id("verb")),
            ("target_kind", text_id("target_kind")),
            (
                "target_id",
                F.when(text_id("target_kind").isin("item", "ad"), text_id("target_id"))
                .when(to_post, given.id_of("post", "target_id"))
                .otherwise(given.key_of("target_id")),
            ),
            *given.words("text"),
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(
            Check("user_id: missing", text_id("user_id").isNull() & ~to_user),
            missing("engagement_id"),
            missing("verb"),
            one_of("verb", ENGAGEMENTS),
            Check("target_kind: missing", text_id("target_kind").isNull() & ~searches),
            one_of("target_kind", ENGAGEMENTS),
            Check("target_id: missing", text_id("target_id").isNull() & ~searches),
            *time_checks(),
        ),
        id="engagement_id",
    )


def follows(given: Context) -> Rules:
    """Edges of the follow graph; those without a time may say from when they count."""
    return Rules(
        FOLLOWS,
        derive=(
            ("follow_id", given.id_of("follow", "follow_id")),
            ("user_key", given.key_of("user_id")),
            ("followed_key", given.key_of("followed_id")),
            ("kind", text_id("kind")),
            ("occurred_at", given.instant("occurred_at")),
            ("_given", given.instant("valid_from")),
            ("valid_from", F.coalesce("occurred_at", "_given")),
        ),
        checks=(
            missing("user_id"),
            missing("follow_id"),
            missing("followed_id"),
            Check("followed_id: the user itself", F.col("user_key") == F.col("followed_key")),
            missing("kind"),
            one_of("kind", FOLLOWS),
            *time_checks(optional=True),
            *time_checks("valid_from", optional=True, column="_given", from_ever=True),
        ),
        id="follow_id",
    )


def reviews(given: Context) -> Rules:
    stars = F.col("stars")
    return Rules(
        REVIEWS,
        derive=(
            ("review_id", given.id_of("review", "review_id")),
            ("user_key", given.key_of("user_id")),
            ("item_id", text_id("item_id")),
            ("stars", given.stars("stars")),
            (
                "sentiment",
                F.coalesce(
                    text_id("sentiment"),
                    F.when(stars <= 2, "negative")
                    .when(stars == 3, "neutral")
                    .otherwise("positive"),
                ),
            ),
            *given.words("text"),
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(
            missing("user_id"),
            missing("review_id"),
            missing("item_id"),
            missing("stars"),
            *_stars_checks(given),
            one_of("sentiment", REVIEWS),
            *time_checks(),
        ),
        id="review_id",
    )


def _stars_checks(given: Context) -> tuple[Check, ...]:
    stars = F.col("stars")
    if given.stars_scale is None:
        return (
            Check("stars: not a whole number", stars.isNull()),
            Check("stars: not 1 to 5", ~stars.between(1, 5)),
        )
    low, high = given.stars_scale
    return (
        Check("stars: not a number", given.number("stars").isNull()),
        Check(f"stars: not {low} to {high}", stars.isNull()),
    )


def account_events(given: Context) -> Rules:
    """Logins, payments and transfers; a login has no amount."""
    money = F.col("kind") != "login"
    amount = Amount("amount", given, there=money)
    return Rules(
        ACCOUNT_EVENTS,
        derive=(
            ("event_id", given.id_of("event", "event_id")),
            ("user_key", given.key_of("user_id")),
            ("kind", text_id("kind")),
            ("succeeded", given.truth("succeeded")),
            ("device_key", given.key_of("device_id")),
            ("counterpart_key", given.key_of("counterpart_id")),
            *amount.derive,
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(
            missing("user_id"),
            missing("event_id"),
            missing("kind"),
            one_of("kind", ACCOUNT_EVENTS),
            missing("succeeded"),
            Check("succeeded: not true or false", F.col("succeeded").isNull()),
            *amount.checks,
            *time_checks(),
        ),
        id="event_id",
    )


def fraud_marks(given: Context) -> Rules:
    return Rules(
        FRAUD_MARKS,
        derive=(
            ("mark_id", given.id_of("mark", "mark_id")),
            ("event_id", given.id_of("event", "event_id")),
            ("occurred_at", given.instant("occurred_at")),
        ),
        checks=(missing("mark_id"), missing("event_id"), *time_checks()),
        id="mark_id",
    )


RULES: Mapping[str, Callable[[Context], Rules]] = {
    "orders": orders,
    "users": users,
    "items": items,
    "posts": posts,
    "engagements": engagements,
    "follows": follows,
    "reviews": reviews,
    "account_events": account_events,
    "fraud_marks": fraud_marks,
}
"""Clean table to its rules."""
