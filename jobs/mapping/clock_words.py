"""Words in quotes that Spark reads as times of the clock: `date'today'`, `to_date('yesterday')`.

It does so where the text of the mapping is read as a time; the same word in a cell is none. Whether
it is read so, types tell: `period <> 'today'` compares two texts.
"""

from __future__ import annotations

import re
from itertools import pairwise

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.mapping.tokens import Token, tokens

CLOCK_WORD = (
    "is a word that Spark reads as a time of the clock; use a time that stands in the row, or a "
    "day such as date'2025-01-31'"
)
_WORD = re.compile(r"\s*(?:epoch|now|today|tomorrow|yesterday)\b.*", re.IGNORECASE | re.DOTALL)
"""A zone may follow."""
_TYPED = frozenset({"date", "timestamp", "timestamp_ltz", "timestamp_ntz"})
_READERS = frozenset(
    {"to_date", "try_to_date", "to_timestamp", "try_to_timestamp", "to_timestamp_ltz",
     "to_timestamp_ntz", "unix_timestamp", "to_unix_timestamp"}
)  # fmt: skip
"""Functions that make a text of whatever they read as a time."""


def typed_clock_word(text: str) -> str | None:
    """A literal such as `date'today'`; None if there is none."""
    listed = tokens(text)
    for type_, token in pairwise(listed):
        if type_.text.lower() in _TYPED and _is_clock_word(token):
            return type_.text + token.text
    return None


def clock_word_read(rows: DataFrame, text: str) -> str | None:
    """A word that an expression over the rows reads as a time; None if there is none.

    A boolean in its place fits where a text is meant, and nowhere where a time is.
    """
    listed = tokens(text)
    for i, token in enumerate(listed):
        if not _is_clock_word(token):
            continue
        if i > 1 and listed[i - 1].text == "(" and _name(listed[i - 2]) in _READERS:
            return token.text
        try:
            rows.select(F.expr(text[: token.at] + " true " + text[token.end :])).schema  # noqa: B018
        except AnalysisException as error:
            if re.search("DATE|TIMESTAMP", " ".join((error.getMessageParameters() or {}).values())):
                return token.text
    return None


def _name(token: Token) -> str:
    return token.text.strip("`").lower()


def _is_clock_word(token: Token) -> bool:
    return token.kind == "string" and _WORD.fullmatch(token.text.lstrip("rR")[1:-1]) is not None
