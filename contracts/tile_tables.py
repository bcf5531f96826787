"""Tables of what happened on a UTC day, by the day on which it landed. What landed on a day never
changes, so that no earlier tile is ever rebuilt."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.clean_tables import CLEAN_TABLES
from contracts.measures import ITEM_MEASURES, MEASURES, N_EVENTS, THINGS
from contracts.source_table import LANDED_ON, USER_KEY, SourceTable
from contracts.table import Column, Table

USER_DAYS = Table(
    name="user_days",
    doc="Tiles: what a user did and got on a UTC day, by the day on which it landed. The sum of "
    "`TILES`, which are what is kept.",
    grain=("user_key", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
        *(Column(m.name, "bigint", f"{m.doc} that day.", minimum=m.minimum) for m in MEASURES),
    ),
)


def _tiles_of(table: SourceTable) -> Table:
    measures = (N_EVENTS, *table.measures, *table.received)
    return Table(
        name=f"user_days_{table.name}",
        doc=f"Tiles of {table.name}: what a user did and got on a UTC day, by the day on which it "
        "landed.",
        grain=USER_DAYS.grain,
        day=USER_DAYS.day,
        partition=USER_DAYS.partition,
        columns=(
            *(column for column in USER_DAYS.columns if column.name in USER_DAYS.grain),
            *(USER_DAYS[measure.name] for measure in measures),
        ),
    )


TILES: Mapping[str, Table] = {
    table.name: _tiles_of(table) for table in CLEAN_TABLES if table.event is not None
}
"""Clean table of what users did to its tiles: a new measure makes only those of its table anew."""

USER_ITEM_DAYS = Table(
    name="user_item_days",
    doc="Orders, items, other users and devices that a user had to do with on a UTC day, by "
    "landing day.",
    grain=("user_key", "kind", "thing_id", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("kind", "string", "What it is.", values=THINGS),
        Column("thing_id", "string", "The item; the keyed hash of an order, a user or a device."),
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
    ),
)

LATE_DATA = Table(
    name="late_data",
    doc="Days of users that got rows after they had ended: what scores of then did not know.",
    grain=("user_key", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
        Column("n_events", "bigint", "Events by the user that landed then.", minimum=0),
        Column("days_late", "int", "Days from the day to its landing.", minimum=1),
    ),
)

ITEM_DAYS = Table(
    name="item_days",
    doc="Tiles: what happened to an item on a UTC day, by the day on which it landed.",
    grain=("item_id", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("item_id", "string", "The item."),
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
        *(Column(m.name, "bigint", f"{m.doc} that day.", minimum=0) for m in ITEM_MEASURES),
    ),
)
