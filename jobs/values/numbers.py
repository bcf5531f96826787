"""Texts read as numbers: exactly, to twelve decimals."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
"""Digits of other scripts, NaN, infinities and hexadecimal numbers are none."""
DECIMALS = 12
DECIMAL = f"decimal(25,{DECIMALS})"
"""Thirteen digits before the point; further decimals are rounded away, half up."""


def plain(text: Column, decimal: str | None = None, thousands: str | None = None) -> Column:
    """A number's text as Spark reads it, with a point and nothing else; null where it is none.

    Where `decimal` or `thousands` is given, people write the numbers: a currency sign may stand
    before or after them. Thousands must be grouped by two or three digits, and the last by three:
    `1.5` is no number where the point groups thousands.
    """
    if decimal is None and thousands is None:
        return F.when(text.rlike(NUMBER), text)
    around = r"[\p{Sc}\s\p{Z}]*"
    whole, group = "[0-9]+", ""
    if thousands is not None:
        group = {" ": r"[ \u00a0\u2007\u2009\u202f]", "'": "['’]"}.get(thousands, rf"\{thousands}")
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?:{group}[0-9]{{2,3}})*{group}[0-9]{{3}})"
    point = decimal or "."
    digits = rf"(?:{whole}(?:\{point}[0-9]*)?|\{point}[0-9]+)"
    written = rf"^{around}[+-]?{around}{digits}(?:[eE][+-]?[0-9]{{1,3}})?{around}$"
    bare = F.regexp_replace(text, rf"[\p{{Sc}}\s\p{{Z}}]{f'|{group}' if group else ''}", "")
    return F.when(text.rlike(written), F.translate(bare, point, "."))
