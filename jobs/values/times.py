"""Texts read as times: the one place that decides whether a time says its offset, and what it is.

A time is an instant where it says its offset or zone; else it is read in the source's `timezone`.
An hour that clocks skip in spring is read as the hour after it; one that they repeat in autumn is
the first of the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.values import EPOCHS, ISO, has_zone
from jobs.values.numbers import plain
from jobs.values.trimming import trimmed
from jobs.values.user_key import INVISIBLE

_DAY = r"\d{4}-\d{1,2}-\d{1,2}"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
_ZONE = r"Z|UTC|GMT|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?|[A-Za-z]+(?:/[A-Za-z0-9_+-]+)+"
"""Abbreviations such as CET or BST are no zone: several share them."""
LOCAL = rf"^{_DAY}(?:[T ]{_CLOCK})?$"
INSTANT = rf"^{_DAY}[T ]{_CLOCK} ?(?:{_ZONE})$"
_ANY_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
WRITTEN_DAY = (
    rf"([+-]?\d{{4,6}}-\d{{1,2}}-\d{{1,2}})"
    rf"(?:[Tt ]{_ANY_CLOCK} ?(?:{_ZONE}|z)?(?: ?\[[^\]]*\])*)?"
)
"""A day as it is written, perhaps with a clock time behind it. Spark writes years beyond 9999."""
LOCAL_TYPES = ("timestamp_ntz", "date")
"""Types of times that are no instants."""
_UNUSUAL = r"[\[,]|\dt\d|\d ?z$|[T ]\d{1,2}:\d{2} ?[A-Z+-]"

_MICROS = {"epoch_seconds": "1000000", "epoch_millis": "1000", "epoch_micros": "1"}
_FIRST_MICROS, _MICROS_OF_YEAR_10000 = 100_000_000_000_000, 253_402_300_800_000_000
"""Of 1973-03-03: smaller numbers are no times, but 0 for want of one, or seconds where milliseconds
are looked for. So no number fits two of `EPOCHS`, whatever their order."""

LOOKS_LIKE = {
    10: 'seconds: time_format = ["epoch_seconds"]',
    13: 'milliseconds: time_format = ["epoch_millis"]',
    16: 'microseconds: time_format = ["epoch_micros"]',
    19: "nanoseconds: timestamp_micros(try_cast(… as bigint) div 1000)",
}
"""Digits of whole numbers that are times between 2001 and 2286 in one unit and in no other, and
what to write."""


def instant(text: Column, formats: Sequence[str], timezone: str) -> Column:
    """The time that a text says in the first of `formats` that fits; null where none does."""
    return F.coalesce(*(_in_format(text, name, timezone) for name in formats))


def of_type(type_: str, text: Column, formats: Sequence[str], timezone: str) -> Column:
    """The time that an expression of a type gives, as a text: what is an instant already stays one,
    whatever `timezone` is."""
    if type_ == "timestamp":
        return iso(text, "UTC")
    if type_ in LOCAL_TYPES:
        return iso(text, timezone)
    return instant(text, formats, timezone)


def iso(text: Column, timezone: str) -> Column:
    """A day, or a day and a clock time, in ISO 8601 or as databases and Java write it.

    A year, a month or a clock time alone is no time.
    """
    text = F.when(text.rlike(_UNUSUAL), _usual(text)).otherwise(text)
    time = text.try_cast("timestamp")
    return F.when(text.rlike(INSTANT), time).when(text.rlike(LOCAL), _utc(time, timezone))


def _usual(text: Column) -> Column:
    """As Spark reads it: for small letters, a comma before the fraction, a zone in brackets
    (RFC 9557) or one after the minutes."""
    for pattern, replacement in (
        (r"(\d)t(\d)", "$1T$2"),
        (r"(\d) ?z$", "$1Z"),
        (r"(\d),(\d)", "$1.$2"),
        (rf"([T ]{_CLOCK} ?(?:Z|[+-]\d[\d:]*)) ?(?:\[[^\]]*\])+$", "$1"),
        (r" ?\[([^\]]*)\]$", " $1"),
        (r"([T ]\d{1,2}:\d{2}) ?([A-Z+-])", "$1:00 $2"),
    ):
        text = F.regexp_replace(text, pattern, replacement)
    return text


def written_day(text: Column) -> Column:
    """The day that a text says, whatever clock time it says besides; null if it says none."""
    return F.regexp_extract(trimmed(text), f"^{WRITTEN_DAY}$", 1).try_cast("date")


def day_written_in(text: str) -> date | None:
    """The same of a text of Python."""
    match = re.fullmatch(WRITTEN_DAY, text.strip(INVISIBLE), re.ASCII)
    try:
        return date(*map(int, match[1].split("-"))) if match else None
    except ValueError:
        return None


def _utc(local: Column, timezone: str) -> Column:
    return local if timezone == "UTC" else F.to_utc_timestamp(local, F.lit(timezone))


def _in_format(text: Column, name: str, timezone: str) -> Column:
    if name == ISO:
        return iso(text, timezone)
    if name in EPOCHS:
        micros = plain(text).try_cast("decimal(25,9)") * F.lit(Decimal(_MICROS[name]))
        whole = F.floor(micros).try_cast("bigint")
        real = (whole >= _FIRST_MICROS) & (whole < _MICROS_OF_YEAR_10000)
        return F.when(real, F.timestamp_micros(whole))
    time = F.try_to_timestamp(text, F.lit(name))
    return time if has_zone(name) else _utc(time, timezone)
