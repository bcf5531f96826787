"""Logins, payments and transfers of accounts."""

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
    TrueOrFalse,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    USER_KEY,
    Event,
    Field,
    Measure,
    SourceTable,
    Thing,
)
from contracts.table import Column

_AMOUNT = Amount("amount", where="kind <> 'login'")
_PAID = "if(kind = 'payment', coalesce(amount_minor, 0), 0)"
_TRANSFERRED = "if(kind = 'transfer', coalesce(amount_minor, 0), 0)"

ACCOUNT_EVENTS = SourceTable(
    name="account_events",
    doc="Logins, payments and transfers of accounts.",
    grain=("event_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("event_id", "string", "The event: a keyed hash."),
        USER_KEY,
        Column("kind", "string", "What it was.", values=("login", "payment", "transfer")),
        Column("succeeded", "boolean", "Whether it went through."),
        Column("device_key", "string", "The device: a keyed hash of what names it.", nullable=True),
        Column(
            "counterpart_key",
            "string",
            "The user who got a transfer: a keyed hash.",
            nullable=True,
        ),
        Column(
            "amount_minor",
            "bigint",
            "Amount in minor units of the reporting currency; null for a login.",
            nullable=True,
            minimum=0,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("event_id", "the event"),
        Field(
            "user_id",
            "the user, as the source names them; leaves this stage as `user_key` only",
        ),
        Field("kind", "`'login'`, `'payment'` or `'transfer'`"),
        Field("succeeded", "`true` or `false`: whether it went through", default="true"),
        Field("device_id", "what names the device; leaves as a keyed hash", required=False),
        Field(
            "counterpart_id", "the user who gets a transfer; leaves as a keyed hash", required=False
        ),
        Field("amount", "in major units, such as `2.55`; null for a login", required=False),
        Field("currency", "ISO code, where there is an amount", required=False),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="event_id",
        columns=(
            KeyedId("event_id", "event"),
            KeyedUser("user_key", "user_id"),
            Text("kind"),
            TrueOrFalse("succeeded"),
            KeyedUser("device_key", "device_id"),
            KeyedUser("counterpart_key", "counterpart_id"),
            _AMOUNT,
            Time(),
        ),
        checks=(
            Required("user_id"),
            Required("event_id"),
            Required("kind"),
            OneOf("kind"),
            TrueOrFalse("succeeded"),
            _AMOUNT,
            Time(),
        ),
    ),
    event=Event(
        "event_id",
        "if(kind = 'login' and not succeeded, 'failed_login', kind)",
        ("login", "failed_login", "payment", "transfer"),
        amount_minor="coalesce(amount_minor, 0)",
    ),
    measures=(
        Measure("n_logins", "Logins", "count_if(kind = 'login')"),
        Measure(
            "n_failed_logins", "Logins that failed", "count_if(kind = 'login' and not succeeded)"
        ),
        Measure(
            "n_login_bursts",
            "Days with three failed logins or more that landed together",
            "cast(count_if(kind = 'login' and not succeeded) >= 3 as bigint)",
        ),
        Measure("n_payments", "Payments", "count_if(kind = 'payment')"),
        Measure("paid_minor", "Value of payments, in minor units", f"sum({_PAID})", "money"),
        Measure(
            "max_payment_minor", "Largest payment, in minor units", f"max({_PAID})", "money", "max"
        ),
        Measure("n_transfers", "Transfers to other users", "count_if(kind = 'transfer')"),
        Measure(
            "transferred_minor",
            "Value of transfers, in minor units",
            f"sum({_TRANSFERRED})",
            "money",
        ),
        Measure(
            "max_transfer_minor",
            "Largest transfer, in minor units",
            f"max({_TRANSFERRED})",
            "money",
            "max",
        ),
    ),
    things=(Thing("counterpart", "counterpart_key"), Thing("device", "device_key")),
)
