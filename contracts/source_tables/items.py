"""What can be ordered, reviewed and engaged with."""

from __future__ import annotations

from contracts.cleaning import (
    Cleaning,
    Required,
    Text,
    Time,
    Words,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    Field,
    SourceTable,
)
from contracts.table import Column

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
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("item_id", "the item"),
        Field("category_id", "its category; without it `interests_30d` is off", required=False),
        Field("title", "its title", required=False),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="item_id",
        columns=(Text("item_id"), Text("category_id"), Words("title"), Time()),
        checks=(Required("item_id"), Time(from_ever=True)),
        is_dimension=True,
    ),
)
