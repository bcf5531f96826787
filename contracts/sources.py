"""What a mapping may say about each clean table, as its declaration has it."""

from __future__ import annotations

from contracts.clean_tables import CLEAN_TABLES
from contracts.source_table import Field

FIELDS: dict[str, tuple[Field, ...]] = {table.name: table.fields for table in CLEAN_TABLES}
"""Clean table to its fields."""

TIME_FIELDS = frozenset(name for table in CLEAN_TABLES for name in table.time_fields)
"""Fields that are times."""

EITHER = {table.name: table.either for table in CLEAN_TABLES if table.either is not None}
"""Clean table to two fields of which a mapping gives exactly one."""

MONEY_FIELDS = {table.name: table.money_fields for table in CLEAN_TABLES}
"""Clean table to its fields that are amounts of money."""

BOT_LIMITS = {
    table.name: table.cleaning.max_rows_of_user
    for table in CLEAN_TABLES
    if table.cleaning.max_rows_of_user is not None
}
"""Clean table to the rows that a user may have on a day."""

MAX_AMOUNT_MINOR = 10**14
"""Minor units of the reporting currency that one row may be worth: a trillion euros. 92,000 rows of
that much add up to less than a bigint holds: no sum over a history that could be real overflows."""

NULL_VALUES = ("", "NULL", "null", "\\N", "nan", "NaN", "None", "N/A", "#N/A")
"""Texts of raw cells that mean that there is no value, where a source does not say so itself."""

NULL_LIKE = frozenset(
    {
        "null", "(null)", "<null>", "\\n", "none", "nil", "n/a", "#n/a", "na", "nan", "undefined",
        "unknown", "missing", "-", "--", "?",
    }
)  # fmt: skip
"""Ids that look as if there were none, in lower case. They are taken as they are, and counted."""
