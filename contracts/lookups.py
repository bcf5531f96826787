"""What a mapping may say of small files whose rows are joined to raw rows by key."""

from __future__ import annotations

from contracts.mapping import SOURCE_SETTINGS, Setting
from contracts.values import is_expression, is_file, is_one_or_more

MAX_LOOKUP_ROWS = 100_000
MAX_LOOKUP_BYTES = 16 << 20
"""What a lookup may hold: it is kept in memory, and every task of Spark's has a copy."""

LOOKUP_SETTINGS = (
    Setting(
        "file",
        "Its path, under the raw folder or beside the mapping.",
        "a path such as campaigns.csv, without .., * and {day}",
        is_file,
        required=True,
    ),
    Setting(
        "key",
        "The column, or a list of columns, by which its rows are found. No two rows have the same, "
        "or, with `from`, not from the same day on.",
        'a column such as "campaign", or a list of columns',
        is_one_or_more,
        required=True,
    ),
    Setting(
        "from",
        "For rows that hold from a day on: the column with that day, as YYYY-MM-DD. A raw row sees "
        "the newest row of its key that holds on its day.",
        "a column",
        is_expression,
    ),
)
"""Besides `READING`."""

_OF_READING = (
    "format", "columns", "encoding", "separator", "quote", "header", "multiline", "sheet",
    "null_values", "missing_key",
)  # fmt: skip
READING = tuple(setting for setting in SOURCE_SETTINGS if setting.name in _OF_READING)
"""How its file is read: as a source's files are."""

USE_SETTINGS = (
    Setting(
        "key",
        "An expression, or a list with one for each column of the lookup's `key`.",
        "a Spark SQL expression in quotes, or a list of them",
        is_one_or_more,
        required=True,
    ),
    Setting(
        "on",
        "For lookups with `from`: an expression that gives the raw row's day; without it that is "
        "the day of the table's `occurred_at` in the source's `timezone`.",
        "a Spark SQL expression in quotes",
        is_expression,
    ),
)
"""What a source may say of a lookup that it uses; expressions alone are its `key`."""
