"""Account events that turned out to be fraud, often weeks later."""

from __future__ import annotations

from contracts.cleaning import (
    Cleaning,
    KeyedId,
    Required,
    Time,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    Field,
    SourceTable,
)
from contracts.table import Column

FRAUD_MARKS = SourceTable(
    name="fraud_marks",
    doc="Account events that turned out to be fraud, often weeks later.",
    grain=("mark_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("mark_id", "string", "The mark: a keyed hash."),
        Column("event_id", "string", "The account event that was fraud: a keyed hash."),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("mark_id", "the mark"),
        Field("event_id", "the account event that was fraud"),
        Field("occurred_at", "when it was found out"),
    ),
    cleaning=Cleaning(
        id="mark_id",
        columns=(KeyedId("mark_id", "mark"), KeyedId("event_id", "event"), Time()),
        checks=(Required("mark_id"), Required("event_id"), Time()),
    ),
)
