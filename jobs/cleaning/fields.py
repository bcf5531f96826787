"""Pieces that the rules of several tables are made of: ids, times, money, choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.days import MAX_DAYS_EARLY
from contracts.sources import MAX_AMOUNT_MINOR
from contracts.table import Table
from contracts.values import ISO
from jobs.cleaning.verdicts import Check, user_key
from jobs.mapping.sources import Money, Source, SourceMapping
from jobs.values.numbers import DECIMAL, DECIMALS, plain
from jobs.values.text import Steps, TextRules, normalised
from jobs.values.times import LOCAL_TYPES, LOOKS_LIKE, of_type
from jobs.values.user_key import UserKey

_BEYOND = 10**13

NO_MONEY = Money("XTS", 2, {"XTS": Decimal(1)})
"""For mappings without orders, the only rows with amounts: ISO 4217's code for tests."""


@dataclass(frozen=True)
class Context:
    """What rules need to know of the mapping and the source."""

    key: UserKey
    money: Money
    text: TextRules = field(default_factory=TextRules)
    timezone: str = "UTC"
    """Of times without an offset."""
    time_format: tuple[str, ...] = (ISO,)
    decimal: str | None = None
    thousands: str | None = None
    stars_scale: tuple[int, int] | None = None
    line_totals: bool = False
    """Whether rows say what all their units cost, not what one does."""

    @staticmethod
    def of(key: UserKey, mapping: SourceMapping, source: Source, table: str) -> Context:
        """What a mapping says of a source that fills a clean table."""
        of_table = next((t for t in source.tables if t.table == table), None)
        own_scale = None if of_table is None else of_table.stars_scale
        return Context(
            key,
            mapping.money or NO_MONEY,
            mapping.text,
            source.timezone or "UTC",
            source.time_format,
            source.decimal,
            source.thousands,
            source.stars_scale if own_scale is None else own_scale,
            of_table is not None and "amount" in of_table.fields,
        )

    def key_of(self, name: str) -> Column:
        """The keyed hash of a field that names a user or device."""
        return user_key(text_id(name), self.key)

    def id_of(self, kind: str, name: str) -> Column:
        """The keyed hash of a field that names a fact, for sources make such ids of users' ids.

        Ids of one kind can be joined; a post and a user of the same id have nothing in common.
        """
        return user_key(F.concat(F.lit(f"{kind}\x1f"), text_id(name)), self.key)

    def words(self, name: str) -> Steps:
        return normalised(name, _text(name), self.text)

    def instant(self, name: str) -> Column:
        """A time as UTC. What is an instant already stays one; `timezone` is for all others."""
        type_ = F.typeof(f"in_{name}")
        instant, local, text = (
            of_type(of, text_id(name), self.time_format, self.timezone)
            for of in ("timestamp", "date", "string")
        )
        return (
            F.when(type_ == "timestamp", instant)
            .when(type_.isin(*LOCAL_TYPES), local)
            .otherwise(text)
        )

    def number(self, name: str) -> Column:
        """A number's text, as Spark reads it; null where it is none."""
        text = text_id(name)
        if self.decimal is None and self.thousands is None:
            return plain(text)
        typed = F.typeof(f"in_{name}") != "string"
        return F.when(typed, plain(text)).otherwise(plain(text, self.decimal, self.thousands))

    def whole(self, name: str) -> Column:
        """A whole number; `2.0` is one. One of more digits than are told apart is beyond every
        limit."""
        text = self.number(name)
        number, far = text.try_cast(DECIMAL), text.try_cast("double")
        beyond = F.signum(far).cast("bigint") * F.lit(_BEYOND)
        return F.when(number == F.floor(number), number.try_cast("bigint")).when(
            number.isNull(), beyond
        )

    def stars(self, name: str) -> Column:
        """1 to 5, made of the source's scale evenly and rounded half up."""
        if self.stars_scale is None:
            whole = self.whole(name)
            near = F.least(F.greatest(whole, F.lit(0)), F.lit(6)).cast("int")
            return F.when(whole.isNotNull(), near)  # what is not 1 to 5 stays so
        low, high = self.stars_scale
        number = self.number(name).try_cast(DECIMAL)
        steps = [
            F.when(8 * (number - low) >= (2 * step - 1) * (high - low), 1).otherwise(0)
            for step in range(1, 5)
        ]
        stars = F.lit(1)
        for step in steps:
            stars = stars + step
        return F.when(number.between(low, high), stars)

    def truth(self, name: str) -> Column:
        """True or false, however it is written: `t`, `yes`, `1`, `1.0`."""
        return F.regexp_replace(text_id(name), r"^([01])\.0*$", "$1").try_cast("boolean")


def _text(name: str) -> Column:
    return F.col(f"in_{name}").cast("string")


def text_id(name: str) -> Column:
    """An id as text: trimmed, and null when empty."""
    return F.col(f"text_{name}")


def missing(name: str) -> Check:
    return Check(f"{name}: missing", text_id(name).isNull())


def time_checks(
    name: str = "occurred_at",
    optional: bool = False,
    column: str | None = None,
    from_ever: bool = False,
) -> tuple[Check, ...]:
    """A time is one, and lies between 1970 and the day after it landed.

    The first day of 1970 is what systems write where they know no time: something may hold
    `from_ever`, but nothing happened then. `column` holds the time, if it is not called like its
    field.
    """
    time = F.col(column or name)
    second_day = F.lit("1970-01-02").cast("timestamp")
    latest = F.date_add(F.col("_landed.landed_on"), MAX_DAYS_EARLY + 1)
    checks = (
        missing(name),
        *(
            Check(
                f"{name}: {n} digits look like {unit}",
                time.isNull() & text_id(name).rlike(rf"^[+-]?[0-9]{{{n}}}(\.[0-9]*)?$"),
            )
            for n, unit in LOOKS_LIKE.items()
        ),
        Check(f"{name}: not a time", text_id(name).isNotNull() & time.isNull()),
        Check(f"{name}: before 1970", time < F.lit("1970-01-01").cast("timestamp")),
        *(() if from_ever else (Check(f"{name}: 1970-01-01 is no time", time < second_day),)),
        Check(f"{name}: more than a day after it landed", time >= latest.cast("timestamp")),
    )
    return checks[1:] if optional else checks


def one_of(name: str, table: Table) -> Check:
    """A field has a value that its column allows; null is for `missing` to judge."""
    values = table[name].values or ()
    return Check(f"{name}: not one of {', '.join(values)}", ~text_id(name).isin(*values))


@dataclass(frozen=True)
class Amount:
    """A price or amount in major units of some currency, as minor units of the reporting one.

    Exact: it is rounded once, half up, after it was multiplied by everything. Spark rounds products
    that need more than 38 digits in silence, so all of it is whole numbers that need fewer: of
    an amount in units of 10**-12 (25 digits), and of a rate (12 digits).
    """

    name: str
    given: Context
    times: str | None = None
    """The column that it is multiplied by."""
    where: Column | None = None
    """Rows that have one; all, if it is not said."""
    column: str = "amount_minor"

    @property
    def derive(self) -> tuple[tuple[str, Column], ...]:
        """`_number`, `_price`, `_rate`, `_exact`, `_beyond` and the amount in minor units."""
        rates = F.create_map(
            *(
                part
                for code, factor in self.given.money.factors.items()
                for part in (F.lit(code), _rate(*factor))
            )
        )
        line = F.col("_price")
        if self.times is not None:
            line = (line * F.col(self.times).try_cast("decimal(10,0)")).try_cast(DECIMAL)
        tiny = (line * F.lit(Decimal(10**DECIMALS))).cast("decimal(25,0)")
        exact = tiny * F.col("_rate.significand") + F.col("_rate.half")
        whole = F.try_divide(F.col("_exact") - F.col("_beyond"), F.col("_rate.unit"))
        rounded = whole.try_cast("bigint")
        valued = F.when(rounded <= MAX_AMOUNT_MINOR, rounded)
        return (
            ("_number", self.given.number(self.name)),
            ("_price", F.col("_number").try_cast(DECIMAL)),
            ("_rate", F.try_element_at(rates, text_id("currency"))),
            ("_exact", exact),
            ("_beyond", F.col("_exact") % F.col("_rate.unit")),
            (self.column, valued if self.where is None else F.when(self.where, valued)),
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is wrong with it.

        A number that was computed with floats, such as 2.5500000000000003, is not finer than a
        minor unit: a millionth of one is let pass.
        """
        reporting = self.given.money.reporting_currency
        off = F.abs(F.col("_beyond") - F.col("_rate.half"))
        _, e = self.given.money.factors.get(reporting, (1, 0))
        tolerance = F.lit(Decimal(10 ** max(e + DECIMALS - 6, 0)))
        checks = (
            missing(self.name),
            Check(f"{self.name}: not a number", F.col("_number").isNull()),
            Check(f"{self.name}: below 0", F.col("_price") < 0),
            missing("currency"),
            Check("currency: no rate for it", F.col("_rate").isNull()),
            Check(f"{self.name}: too large", F.col(self.column).isNull()),
            Check(
                f"{self.name}: finer than a minor unit",
                (text_id("currency") == reporting) & (off > tolerance),
            ),
        )
        if self.where is None:
            return checks
        return tuple(Check(c.reason, self.where & c.fails) for c in checks)


def _rate(significand: int, e: int) -> Column:
    """A rate for amounts in units of 10**-12: they times `significand`, in `unit`s, are minor
    units; with `half` a unit more, cutting off rounds."""
    unit = 10 ** (e + DECIMALS)
    return F.struct(
        F.lit(Decimal(significand)).cast("decimal(12,0)").alias("significand"),
        F.lit(Decimal(unit // 2)).cast("decimal(38,0)").alias("half"),
        F.lit(Decimal(unit)).cast("decimal(38,0)").alias("unit"),
    )
