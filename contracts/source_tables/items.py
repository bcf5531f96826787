"""What can be ordered, reviewed and engaged with."""

from __future__ import annotations

from contracts.cleaning import (
    Amount,
    Cleaning,
    Required,
    Text,
    Time,
    TrueOrFalse,
    WholeNumber,
    Words,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    Field,
    SourceTable,
)
from contracts.table import Column

MAX_AGE = 150
"""Years of age that anything may ask for."""

_PRICE = Amount("price", where="text_price is not null", column="price_minor")
_AVAILABLE = TrueOrFalse("available", optional=True)
_MIN_AGE = WholeNumber("min_age", MAX_AGE, minimum=0, optional=True)

ITEMS = SourceTable(
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
        Column(
            "price_minor",
            "bigint",
            "What one unit costs, in minor units of the reporting currency.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "available",
            "boolean",
            "Whether it may be recommended: in stock, not withdrawn. Null, where the source does "
            "not say, counts as true.",
            nullable=True,
        ),
        Column(
            "min_age",
            "bigint",
            "Years that a user must have to be shown it.",
            nullable=True,
            minimum=0,
            maximum=MAX_AGE,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("item_id", "the item"),
        Field("category_id", "its category; without it `interests_30d` is off", required=False),
        Field("title", "its title", required=False),
        Field("price", "what one unit costs, in major units; asks for `currency`", required=False),
        Field("currency", "ISO code of `price`; needs a rate under `[money]`", required=False),
        Field(
            "available",
            "whether it may be recommended, `false` when out of stock or withdrawn; null counts as "
            "true",
            required=False,
        ),
        Field(
            "min_age",
            "years that a user must have to be shown it; whoever has no `birth_year` is not",
            required=False,
        ),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="item_id",
        columns=(
            Text("item_id"),
            Text("category_id"),
            Words("title"),
            _PRICE,
            _AVAILABLE,
            _MIN_AGE,
            Time(),
        ),
        checks=(Required("item_id"), _PRICE, _AVAILABLE, _MIN_AGE, Time(from_ever=True)),
        is_dimension=True,
    ),
)
