"""Order lines, and the cancellations and returns that undo them."""

from __future__ import annotations

from contracts.cleaning import (
    Amount,
    Cleaning,
    KeyedId,
    KeyedUser,
    OneOf,
    Required,
    Text,
    Time,
    WholeNumber,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    USER_KEY,
    Event,
    Field,
    Interaction,
    ItemMeasure,
    Measure,
    SourceTable,
    Thing,
)
from contracts.table import Column

MAX_QUANTITY = 10**9
"""Units that one order line may have; nine thousand million lines of so many fit into a bigint."""

_UNITS = WholeNumber("quantity", MAX_QUANTITY)
_AMOUNT = Amount("amount", unit_price="unit_price", units="quantity")
_BOUGHT = "kind = 'purchase'"
_UNDONE = "kind in ('cancellation', 'return')"

ORDERS = SourceTable(
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
    fields=(
        Field("line_id", "the order line; rows with the same id are retries of one another"),
        Field("order_id", "the order, or the document that undoes one"),
        Field(
            "user_id",
            "the user, as the source names them; leaves this stage as `user_key` only",
        ),
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
        Field("occurred_at", "when it happened"),
    ),
    either=("unit_price", "amount"),
    cleaning=Cleaning(
        id="line_id",
        columns=(
            KeyedId("line_id", "line"),
            KeyedId("order_id", "order"),
            KeyedUser("user_key", "user_id"),
            Text("item_id"),
            Text("kind"),
            KeyedId("undoes_order_id", "order"),
            _UNITS,
            _AMOUNT,
            Time(),
        ),
        checks=(
            Required("user_id"),
            Required("order_id"),
            Required("line_id"),
            Required("item_id"),
            Required("kind"),
            OneOf("kind"),
            _UNITS,
            _AMOUNT,
            Time(),
        ),
    ),
    event=Event(
        "line_id",
        "if(kind = 'purchase', 'order', 'undo')",
        ("order", "undo"),
        item="item_id",
        amount_minor="amount_minor",
    ),
    measures=(
        Measure("n_order_lines", "Order lines placed", f"count_if({_BOUGHT})"),
        Measure("n_units", "Units ordered", f"sum(if({_BOUGHT}, quantity, 0))"),
        Measure(
            "spend_minor",
            "Value of what was ordered, in minor units",
            f"sum(if({_BOUGHT}, amount_minor, 0))",
            "money",
        ),
        Measure("n_undone_lines", "Order lines cancelled or returned", f"count_if({_UNDONE})"),
        Measure(
            "undone_minor",
            "Value of what was cancelled or returned, in minor units",
            f"sum(if({_UNDONE}, amount_minor, 0))",
            "money",
        ),
    ),
    things=(Thing("order", "order_id", _BOUGHT), Thing("item", "item_id", _BOUGHT)),
    interactions=(
        Interaction(
            "'order'", "'item'", "item_id", _BOUGHT, units="quantity", amount_minor="amount_minor"
        ),
        Interaction("'undo'", "'item'", "item_id", _UNDONE, units="quantity"),
    ),
    item_measures=(ItemMeasure("n_order_lines", "Lines that ordered it", "1"),),
)
