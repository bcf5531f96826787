"""Texts without what cannot be seen at their ends."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.values.user_key import INVISIBLE_CLASS

_SEEN = (ord("!"), ord("~"))
"""The first and last ASCII character that shows something."""
_INVISIBLE_ENDS = (
    f"^[{INVISIBLE_CLASS}]++|(?<![{INVISIBLE_CLASS}])[{INVISIBLE_CLASS}]++$"  # reads no run twice
)


def trimmed(text: Column) -> Column:
    """Without blanks and invisible characters at its ends; null when nothing is left."""
    last = F.ascii(F.substring(text, -1, 1))
    bare = F.ascii(text).between(*_SEEN) & last.between(*_SEEN)  # as nearly all are
    return F.when(bare, text).otherwise(
        F.nullif(F.regexp_replace(text, _INVISIBLE_ENDS, ""), F.lit(""))
    )


def trimmed_fields(names: Iterable[str]) -> list[Column]:
    """`text_…` of the fields, which are columns named `in_…`: rules use each a dozen times."""
    return [trimmed(F.col(f"in_{name}").cast("string")).alias(f"text_{name}") for name in names]
