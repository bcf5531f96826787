"""Pieces that the rules of several tables are made of: ids, times, money, choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.table import Table
from jobs.clean import Check, user_key
from jobs.sources import Money
from jobs.text import TextRules, normalised
from jobs.user_key import UserKey

MAX_DAYS_EARLY = 1
"""A row may carry a time up to the end of the day after it landed: clocks and zones differ."""


@dataclass(frozen=True)
class Context:
    """What rules need to know of the mapping and the source."""

    key: UserKey
    money: Money
    text: TextRules = field(default_factory=TextRules)
    timezone: str = "UTC"
    """Of times without an offset."""

    def key_of(self, name: str) -> Column:
        """The keyed hash of a field that names a user or device."""
        return user_key(text_id(name), self.key)

    def words(self, name: str) -> Column:
        return normalised(F.col(f"in_{name}").cast("string"), self.text)

    def instant(self, name: str) -> Column:
        """A time as UTC. Texts with an offset keep it; `timezone` is for those without."""
        text = F.col(f"in_{name}").cast("string")
        value = F.try_to_timestamp(text)
        has_offset = text.rlike(r"\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)\s*$")
        return F.when(has_offset, value).otherwise(F.to_utc_timestamp(value, F.lit(self.timezone)))


def text_id(name: str) -> Column:
    """An id as text: trimmed, and null when empty."""
    return trimmed(F.col(f"in_{name}").cast("string"))


def trimmed(text: Column) -> Column:
    """Without blanks at its ends; null when nothing is left."""
    return F.nullif(F.trim(text), F.lit(""))


def missing(name: str) -> Check:
    return Check(f"{name}: missing", text_id(name).isNull())


def time_checks(name: str = "occurred_at", optional: bool = False) -> tuple[Check, ...]:
    """A time is one, and lies between 1970 and the day after it landed."""
    latest = F.date_add(F.col("_landed.landed_on"), MAX_DAYS_EARLY + 1)
    checks = (
        missing(name),
        Check(f"{name}: not a time", text_id(name).isNotNull() & F.col(name).isNull()),
        Check(f"{name}: before 1970", F.col(name) < F.lit("1970-01-01").cast("timestamp")),
        Check(f"{name}: more than a day after it landed", F.col(name) >= latest.cast("timestamp")),
    )
    return checks[1:] if optional else checks


def whole(name: str, type_: str) -> Column:
    return F.col(f"in_{name}").cast("string").try_cast(type_)


def one_of(name: str, table: Table) -> Check:
    """A field has a value that its column allows; null is for `missing` to judge."""
    values = table[name].values or ()
    return Check(f"{name}: not one of {', '.join(values)}", ~text_id(name).isin(*values))


@dataclass(frozen=True)
class Amount:
    """A price or amount in major units of some currency, as minor units of the reporting one."""

    name: str
    money: Money
    times: Column | None = None
    """What it is multiplied by before it is rounded."""
    there: Column | None = None
    """Rows that have one; all, if it is not said."""

    @property
    def derive(self) -> tuple[tuple[str, Column], ...]:
        """`_price`, `_rate`, `_exact`, `_converted` and `amount_minor`."""
        scale = Decimal(10**self.money.digits)
        rates = F.create_map(
            *(
                lit
                for code, rate in sorted(self.money.rates.items())
                for lit in (F.lit(code), F.lit(str(rate * scale)).cast("decimal(18,9)"))
            )
        )
        minor = F.col("_price") * F.lit(10**self.money.digits)
        factor = F.lit(1) if self.times is None else self.times
        exact = factor.try_cast("decimal(10,0)") * F.col("_converted")
        rounded = F.round(exact, 0).try_cast("bigint")
        return (
            ("_price", F.col(f"in_{self.name}").cast("string").try_cast("decimal(18,6)")),
            ("_rate", F.try_element_at(rates, text_id("currency"))),
            ("_exact", minor == F.floor(minor)),
            ("_converted", (F.col("_price") * F.col("_rate")).try_cast("decimal(27,9)")),
            ("amount_minor", rounded if self.there is None else F.when(self.there, rounded)),
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is wrong with it."""
        found = (
            missing(self.name),
            Check(f"{self.name}: not a number", F.col("_price").isNull()),
            Check(f"{self.name}: below 0", F.col("_price") < 0),
            missing("currency"),
            Check("currency: no rate for it", F.col("_rate").isNull()),
            Check(
                f"{self.name}: finer than a minor unit",
                (text_id("currency") == self.money.reporting_currency) & ~F.col("_exact"),
            ),
        )
        if self.there is None:
            return found
        return tuple(Check(c.reason, self.there & c.fails) for c in found)
