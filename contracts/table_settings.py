"""What a mapping may say of a clean table besides its fields."""

from __future__ import annotations

from contracts.clean_tables import clean_table_named
from contracts.cleaning import Attributes, Stars
from contracts.content import MAX_CLASSES
from contracts.mapping import STARS_SCALE, Setting
from contracts.values import (
    MAX_ATTRIBUTE_LENGTH,
    MAX_ATTRIBUTES,
    is_attributes,
    is_expression,
    is_rules,
)

TABLE_SETTINGS = (
    Setting(
        "each",
        "For raw rows with several facts: an expression that gives an array, or its text in JSON. "
        "Each element is judged like a row of its own, and is the column `each` in the table's "
        "other expressions, such as `each.sku`.",
        "a Spark SQL expression in quotes",
        is_expression,
        cleaning=True,
    ),
    Setting(
        "where",
        "An expression: rows for which it is false are not meant for the table.",
        "a Spark SQL expression in quotes",
        is_expression,
        cleaning=True,
    ),
    Setting(
        "reject",
        "Rules of the mapping's own: rows for which `when` holds are quarantined as `reason`.",
        'a list such as [{ reason = "a test", when = "user = \'test\'" }]',
        is_rules,
        cleaning=True,
    ),
)

ATTRIBUTE_SETTINGS = (
    Setting(
        "attributes",
        f"Of `users`: up to {MAX_ATTRIBUTES} further attributes, an expression each, such as "
        '`{ income = "band", segment = "lower(seg)" }`. They are categories: values of up to '
        f"{MAX_ATTRIBUTE_LENGTH} characters.",
        'a table of expressions such as { income = "band" }, with names of lower-case letters, '
        f"digits and underscores, at most {MAX_ATTRIBUTES}",
        is_attributes,
        cleaning=True,
    ),
    Setting(
        "labels",
        "Of `posts`, `reviews` and `engagements`: what is known of a text, an "
        'expression for each head that learns from it, such as `{ sentiment = "mood" }`. A label '
        "is one of a few classes; null where nobody has said. `sentiment` has the classes "
        "`negative`, `neutral` and `positive`, `toxicity` has `fine` and `toxic`, others what is "
        f"found, at most {MAX_CLASSES}.",
        'a table of expressions such as { sentiment = "mood" }, with names of lower-case letters, '
        f"digits and underscores, at most {MAX_ATTRIBUTES}",
        is_attributes,
        cleaning=True,
    ),
)
"""What only tables may say that have a column of texts `name=value`, which is called like it."""


def table_settings(table: str) -> tuple[Setting, ...]:
    """What may be said of a clean table besides its fields."""
    rules = {type(rule) for rule in clean_table_named(table).cleaning.columns}
    stars = (STARS_SCALE,) if Stars in rules else ()
    named = attributes_of(table)
    attributes = tuple(setting for setting in ATTRIBUTE_SETTINGS if setting.name == named)
    return (*TABLE_SETTINGS, *attributes, *stars)


def attributes_of(table: str) -> str | None:
    """How the setting, and the column, of a clean table is called that holds texts `name=value`;
    None if it has none."""
    rules = clean_table_named(table).cleaning.columns
    return next((rule.column for rule in rules if isinstance(rule, Attributes)), None)
