"""What the rows of each clean table must look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.table import Table
from contracts.tables import ENGAGEMENTS, ITEMS, ORDERS, POSTS, REVIEWS, USERS
from jobs.clean import Check, Rules, user_key
from jobs.sources import Money
from jobs.user_key import UserKey

MAX_DAYS_EARLY = 1
"""A row may carry a time up to the end of the day after it landed: clocks and zones differ."""


def text_id(name: str) -> Column:
    """An id as text: trimmed, and null when empty."""
    return F.nullif(F.trim(F.col(f"in_{name}").cast("string")), F.lit(""))


def missing(name: str) -> Check:
    return Check(f"{name}: missing", text_id(name).isNull())


def instant(name: str, timezone: Column) -> Column:
    """A time as UTC. Texts with an offset keep it; `timezone` is for those without."""
    field = F.col(f"in_{name}")
    value = F.try_to_timestamp(field.cast("string"))
    has_offset = field.cast("string").rlike(r"\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)\s*$")
    return F.when(has_offset, value).otherwise(F.to_utc_timestamp(value, timezone))


def normalised(name: str) -> Column:
    """Text in lower case with links and mentions masked, entities decoded, and spaces single."""
    text = F.col(f"in_{name}").cast("string")
    for entity, character in (
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", '"'),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ):
        text = F.replace(text, F.lit(entity), F.lit(character))
    text = F.regexp_replace(text, r"(?i)\bhttps?://\S+", "<url>")
    text = F.regexp_replace(text, r"[\w.+-]+@[\w-]+\.[\w.]+", "<email>")
    text = F.regexp_replace(text, r"@\w+", "<user>")
    text = F.lower(F.trim(F.regexp_replace(text, r"\s+", " ")))
    return F.nullif(text, F.lit(""))


def occurred_at_checks() -> tuple[Check, ...]:
    latest = F.date_add(F.col("_landed.landed_on"), MAX_DAYS_EARLY + 1)
    return (
        missing("occurred_at"),
        Check("occurred_at: not a time", F.col("occurred_at").isNull()),
        Check(
            "occurred_at: before 1970", F.col("occurred_at") < F.lit("1970-01-01").cast("timestamp")
        ),
        Check(
            "occurred_at: more than a day after it landed",
            F.col("occurred_at") >= latest.cast("timestamp"),
        ),
    )


def whole(name: str, type_: str) -> Column:
    return F.col(f"in_{name}").cast("string").try_cast(type_)


def one_of(name: str, table: Table, column: str) -> Check:
    values = table[column].values or ()
    return Check(f"{name}: not one of {', '.join(values)}", ~text_id(name).isin(*values))


def orders(key: UserKey, timezone: Column, money: Money) -> Rules:
    """Order lines in minor units of the reporting currency."""
    scale = Decimal(10**money.digits)
    rates = F.create_map(
        *(
            lit
            for code, rate in sorted(money.rates.items())
            for lit in (F.lit(code), F.lit(str(rate * scale)).cast("decimal(18,9)"))
        )
    )
    minor = F.col("_price") * F.lit(10**money.digits)
    return Rules(
        ORDERS,
        derive=(
            ("line_id", text_id("line_id")),
            ("order_id", text_id("order_id")),
            ("user_key", user_key(text_id("user_id"), key)),
            ("item_id", text_id("item_id")),
            ("kind", text_id("kind")),
            ("undoes_order_id", text_id("undoes_order_id")),
            ("quantity", whole("quantity", "bigint")),
            ("_price", F.col("in_unit_price").cast("string").try_cast("decimal(18,6)")),
            ("_rate", F.try_element_at(rates, text_id("currency"))),
            ("_exact", minor == F.floor(minor)),
            ("_converted", (F.col("_price") * F.col("_rate")).try_cast("decimal(27,9)")),
            (
                "amount_minor",
                F.round(
                    F.col("quantity").try_cast("decimal(10,0)") * F.col("_converted"), 0
                ).try_cast("bigint"),
            ),
            ("occurred_at", instant("occurred_at", timezone)),
        ),
        checks=(
            missing("user_id"),
            missing("order_id"),
            missing("line_id"),
            missing("item_id"),
            missing("kind"),
            one_of("kind", ORDERS, "kind"),
            missing("quantity"),
            Check("quantity: not a whole number", F.col("quantity").isNull()),
            Check("quantity: not above 0", F.col("quantity") < 1),
            missing("unit_price"),
            Check("unit_price: not a number", F.col("_price").isNull()),
            Check("unit_price: below 0", F.col("_price") < 0),
            missing("currency"),
            Check("currency: no rate for it", F.col("_rate").isNull()),
            Check(
                "unit_price: finer than a minor unit",
                (text_id("currency") == money.reporting_currency) & ~F.col("_exact"),
            ),
            Check("quantity: times price too large", F.col("amount_minor").isNull()),
            *occurred_at_checks(),
        ),
        id="line_id",
    )


def users(key: UserKey, timezone: Column, money: Money | None) -> Rules:
    """Users by their keyed hash. Names, addresses and mails have no field to go to."""
    return Rules(
        USERS,
        derive=(
            ("user_key", user_key(text_id("user_id"), key)),
            ("country", text_id("country")),
            ("signed_up_at", instant("signed_up_at", timezone)),
            ("occurred_at", instant("occurred_at", timezone)),
        ),
        checks=(
            missing("user_id"),
            Check(
                "signed_up_at: not a time",
                text_id("signed_up_at").isNotNull() & F.col("signed_up_at").isNull(),
            ),
            *occurred_at_checks(),
        ),
        id="user_key",
        dimension=True,
    )


def items(key: UserKey, timezone: Column, money: Money | None) -> Rules:
    return Rules(
        ITEMS,
        derive=(
            ("item_id", text_id("item_id")),
            ("category_id", text_id("category_id")),
            ("title", normalised("title")),
            ("occurred_at", instant("occurred_at", timezone)),
        ),
        checks=(missing("item_id"), *occurred_at_checks()),
        id="item_id",
        dimension=True,
    )


def posts(key: UserKey, timezone: Column, money: Money | None) -> Rules:
    return Rules(
        POSTS,
        derive=(
            ("post_id", text_id("post_id")),
            ("user_key", user_key(text_id("user_id"), key)),
            ("text", normalised("text")),
            ("occurred_at", instant("occurred_at", timezone)),
        ),
        checks=(missing("user_id"), missing("post_id"), *occurred_at_checks()),
        id="post_id",
    )


def engagements(key: UserKey, timezone: Column, money: Money | None) -> Rules:
    """Engagements; a target that is a user becomes a keyed hash like every user."""
    target = text_id("target_id")
    return Rules(
        ENGAGEMENTS,
        derive=(
            ("engagement_id", text_id("engagement_id")),
            ("user_key", user_key(text_id("user_id"), key)),
            ("verb", text_id("verb")),
            ("target_kind", text_id("target_kind")),
            (
                "target_id",
                F.when(F.col("target_kind") == "user", user_key(target, key)).otherwise(target),
            ),
            ("occurred_at", instant("occurred_at", timezone)),
        ),
        checks=(
            missing("user_id"),
            missing("engagement_id"),
            missing("verb"),
            one_of("verb", ENGAGEMENTS, "verb"),
            missing("target_kind"),
            one_of("target_kind", ENGAGEMENTS, "target_kind"),
            missing("target_id"),
            *occurred_at_checks(),
        ),
        id="engagement_id",
    )


def reviews(key: UserKey, timezone: Column, money: Money | None) -> Rules:
    return Rules(
        REVIEWS,
        derive=(
            ("review_id", text_id("review_id")),
            ("user_key", user_key(text_id("user_id"), key)),
            ("item_id", text_id("item_id")),
            ("stars", whole("stars", "int")),
            ("text", normalised("text")),
            ("occurred_at", instant("occurred_at", timezone)),
        ),
        checks=(
            missing("user_id"),
            missing("review_id"),
            missing("item_id"),
            missing("stars"),
            Check("stars: not a whole number", F.col("stars").isNull()),
            Check("stars: not 1 to 5", ~F.col("stars").between(1, 5)),
            *occurred_at_checks(),
        ),
        id="review_id",
    )


RULES: Mapping[str, Callable[[UserKey, Column, Money], Rules]] = {
    "orders": orders,
    "users": users,
    "items": items,
    "posts": posts,
    "engagements": engagements,
    "reviews": reviews,
}
"""Clean table to its rules."""
