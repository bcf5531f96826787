"""The clean tables: one row per fact, or per version of a user or item, kept by arrival day.

Each is declared in a module of `contracts/source_tables/`, and listed here.
"""

from __future__ import annotations

from contracts.errors import ContractError
from contracts.source_table import SourceTable
from contracts.source_tables.account_events import ACCOUNT_EVENTS
from contracts.source_tables.blocks import BLOCKS
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.fraud_marks import FRAUD_MARKS
from contracts.source_tables.impressions import IMPRESSIONS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.orders import ORDERS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS
from contracts.source_tables.users import USERS

CLEAN_TABLES: tuple[SourceTable, ...] = (
    ORDERS,
    USERS,
    ITEMS,
    ENGAGEMENTS,
    POSTS,
    REVIEWS,
    FOLLOWS,
    ACCOUNT_EVENTS,
    FRAUD_MARKS,
    IMPRESSIONS,
    BLOCKS,
)
"""In the order in which their measures become features: a new one goes last."""


def clean_table_named(name: str) -> SourceTable:
    """The clean table of that name.

    Raises:
        ContractError: there is none.
    """
    for table in CLEAN_TABLES:
        if table.name == name:
            return table
    raise ContractError(
        f"clean table {name!r}: expected one of {', '.join(t.name for t in CLEAN_TABLES)}"
    )
