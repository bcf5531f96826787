"""A mapping: a TOML file that says how somebody's raw files fill the clean tables.

README, "Bring your own logs", is its manual; what it may say is in `contracts/mapping.py`, the
fields of each clean table are in `contracts/sources.py`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from contracts.currencies import minor_digits
from contracts.errors import UsageError
from contracts.mapping import (
    MAPPING_SETTINGS,
    MONEY_SETTINGS,
    SOURCE_SETTINGS,
    Setting,
    checked,
)
from contracts.sources import BOT_LIMITS, EITHER, FIELDS, MONEY_FIELDS, NULL_VALUES
from contracts.table_settings import attributes_of, table_settings
from contracts.values import ISO, SOURCE_NAME, is_expression, is_table, is_whole, shown
from jobs.mapping.element_keys import KeyPath, column_of, keys_of, paths_of
from jobs.mapping.lookups import (
    Lookup,
    LookupUse,
    check_used,
    lookups_of,
    unclear_days,
    used,
    uses_of,
)
from jobs.mapping.reading_settings import check_source
from jobs.values.text import TextRules


@dataclass(frozen=True)
class Reject:
    """A rule of the mapping's own: rows for which `when` holds are quarantined as `reason`."""

    reason: str
    when: str


@dataclass(frozen=True)
class TableMap:
    """How one source fills one clean table: a Spark SQL expression per field."""

    table: str
    fields: MappingOf[str, str]
    where: str | None = None
    each: str | None = None
    """For rows of several facts: an expression that gives an array."""
    rejects: tuple[Reject, ...] = ()
    attributes: MappingOf[str, str] = field(default_factory=dict)
    """Further attributes of users, or labels of content: name to expression."""
    stars_scale: tuple[int, int] | None = None
    """Of reviews: the least and the most that may be given; None takes the source's."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All its expressions but `each`."""
        return (
            *self.fields.values(),
            *(() if self.where is None else (self.where,)),
            *(rule.when for rule in self.rejects),
            *self.attributes.values(),
        )


@dataclass(frozen=True)
class Source:
    """One kind of raw file."""

    name: str
    files: str
    """Path under the raw folder; `{day}` stands for YYYY-MM-DD, `*` for anything in one name."""
    format: Literal["csv", "jsonl", "json", "parquet", "xlsx"]
    columns: tuple[str, ...]
    """Raw columns that the expressions may name; all arrive as strings."""
    tables: tuple[TableMap, ...]
    lookups: tuple[LookupUse, ...] = ()
    """Small files whose rows the expressions see besides."""
    missing: Literal["empty", "stop"] = "stop"
    landed_on: str | None = None
    """For files without `{day}`: the day on which a row counts as landed."""
    lands_after_days: int = 0
    """For files with `{day}`: a file named for a day arrives this many days after it."""
    timezone: str | None = None
    """Zone of times that carry no offset; None is UTC."""
    time_format: tuple[str, ...] = (ISO,)
    decimal: str | None = None
    """What stands before decimals; None is a point, and no currency signs."""
    thousands: str | None = None
    stars_scale: tuple[int, int] | None = None
    """What may be given in reviews; None is whole stars, 1 to 5."""
    encoding: str = "utf-8"
    separator: str = ","
    quote: str = '"'
    header: bool = True
    multiline: bool = False
    null_values: tuple[str, ...] = NULL_VALUES
    """Texts of cells that mean that there is no value."""
    missing_key: Literal["stop", "null"] = "stop"
    """For JSON: whether a key that no row of a file has stops the run."""
    sheet: str | None = None
    """For Excel: the sheet that is read; None is the only one."""
    max_undecodable_share: float = 0.01
    """The run stops when more than 10 rows of a file, and more than this share, are undecodable."""

    @property
    def daily(self) -> bool:
        return "{day}" in self.files

    def lookups_of(self, table: TableMap) -> tuple[LookupUse, ...]:
        """Those that the table's expressions name."""
        return used(self.lookups, table.texts)

    def texts_of(self, table: TableMap) -> tuple[str, ...]:
        """The table's expressions but `each`, and those by which its lookups are found."""
        keys = (key.text for use in self.lookups_of(table) for key in use.expressions)
        return (*table.texts, *keys)

    @property
    def element_paths(self) -> dict[str, frozenset[KeyPath]]:
        """What expressions reach for in the elements of each raw column that some `each` is."""
        named = {column.lower(): column for column in self.columns}
        of_columns: dict[str, frozenset[KeyPath]] = {}
        for table in self.tables:
            column = named.get((column_of(table.each or "") or "").lower())
            if column is not None:
                paths = frozenset(paths_of(keys_of(self.texts_of(table))))
                of_columns[column] = of_columns.get(column, frozenset()) | paths
        return of_columns


@dataclass(frozen=True)
class Money:
    """The reporting currency, its decimal digits, and what one unit of each currency is worth."""

    reporting_currency: str
    digits: int
    rates: MappingOf[str, Decimal]

    @functools.cached_property
    def factors(self) -> MappingOf[str, tuple[int, int]]:
        """Currency to what one unit is worth in minor units: `m` and `e` of m / 10**e."""
        return {code: _factor(rate, self.digits) for code, rate in sorted(self.rates.items())}


MAX_RATE_DIGITS = 12
MIN_RATE, MAX_RATE = Decimal("1e-12"), Decimal("1e18")
"""Within these, an amount times a rate fits into Spark's longest decimal, exactly."""


def _factor(rate: Decimal, digits: int) -> tuple[int, int]:
    significand, e = _significand(rate)
    e -= digits
    while e <= -MAX_RATE_DIGITS:
        significand, e = significand * 10, e + 1
    return significand, e


def _significand(rate: Decimal) -> tuple[int, int]:
    """`m` and `e` of m / 10**e, m without zeros at its end."""
    _, places, exponent = rate.as_tuple()
    significand, e = int("".join(map(str, places))), -int(exponent)
    while significand and significand % 10 == 0:
        significand, e = significand // 10, e - 1
    return significand, e


@dataclass(frozen=True)
class SourceMapping:
    """A whole mapping file."""

    name: str
    sources: tuple[Source, ...]
    money: Money | None = None
    text: TextRules = field(default_factory=TextRules)
    bots: MappingOf[str, int] = field(default_factory=dict)
    """Clean table to the things that a user may do on a day, as far as they land together; of the
    others, any number."""
    lookups: tuple[Lookup, ...] = ()

    @property
    def mapped_tables(self) -> frozenset[str]:
        """Clean tables that at least one source fills."""
        return frozenset(t.table for s in self.sources for t in s.tables)

    @property
    def mapped(self) -> frozenset[str]:
        """The same, and the fields that they fill of those, as `table.field`."""
        tables = (t for s in self.sources for t in s.tables)
        return self.mapped_tables | {f"{t.table}.{name}" for t in tables for name in t.fields}

    def feeding(self, table: str) -> tuple[tuple[Source, TableMap], ...]:
        return tuple((s, t) for s in self.sources for t in s.tables if t.table == table)


@dataclass(frozen=True)
class RawFile:
    """A raw file, and the day on which its rows land if its name says so."""

    path: Path
    name: str
    landed_on: date | None


def read_mapping(path: Path) -> SourceMapping:
    """Read and validate a mapping.

    Raises:
        UsageError: it is no TOML, or something in it is unknown, missing or out of range; every
            problem is named.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such mapping") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    problems: list[str] = []
    mapping = mapping_of(raw, path.stem, problems)
    if mapping is None or problems:
        raise UsageError(
            "\n".join(
                [f"{path} is not a valid mapping:", *(f"  {problem}" for problem in problems)]
            )
        )
    return mapping


def mapping_of(raw: MappingOf[str, Any], name: str, problems: list[str]) -> SourceMapping | None:
    """The mapping that a file says; what is wrong with it is added to `problems`."""
    given = checked(raw, MAPPING_SETTINGS, "", problems)
    lookups = lookups_of(given.get("lookups", {}), problems)
    sources = [
        _source(source, spec, lookups, problems)
        for source, spec in given.get("sources", {}).items()
    ]
    check_used(given.get("lookups", {}), given.get("sources", {}), problems)
    money = _money(given["money"], problems) if "money" in given else None
    _need_money(given, problems)
    text = TextRules.from_toml(given.get("text", {}), problems)
    bots = _bots(given.get("bots", {}), problems)
    right = tuple(source for source in sources if source is not None)
    if problems:
        return None
    declared = tuple(lookup for lookup in lookups.values() if lookup is not None)
    return SourceMapping(given.get("name", name), right, money, text, bots, declared)


def _need_money(given: MappingOf[str, Any], problems: list[str]) -> None:
    """Amounts need a currency to be reported in."""
    if "money" in given:
        return
    amounts = [
        f"sources.{name}.tables.{table}"
        for name, source in given.get("sources", {}).items()
        if is_table(source) and is_table(source.get("tables"))
        for table, fields in source["tables"].items()
        if is_table(fields) and MONEY_FIELDS.get(table, frozenset()) & set(fields)
    ]
    if amounts:
        problems.append(f"money: {amounts[0]} needs [money] with reporting_currency and rates")


def _bots(spec: MappingOf[str, Any], problems: list[str]) -> dict[str, int]:
    limits = tuple(
        Setting(table, "", "a whole number of rows, 1 or more", is_whole(1, 10**9))
        for table in BOT_LIMITS
    )
    return {**BOT_LIMITS, **checked(spec, limits, "bots.", problems)}


def _money(spec: MappingOf[str, Any], problems: list[str]) -> Money | None:
    given = checked(spec, MONEY_SETTINGS, "money.", problems)
    currency = given.get("reporting_currency")
    if currency is None:
        return None
    rates = {currency: Decimal(1)}
    for code, rate in given.get("rates", {}).items():
        try:
            rates[code] = Decimal(str(rate))
        except (InvalidOperation, ValueError):
            rates[code] = Decimal(0)
        if not rates[code].is_finite() or rates[code] <= 0:
            problems.append(f"money.rates.{code}: expected a number above 0, found {shown(rate)}")
    if rates[currency] != 1:
        problems.append(
            f"money.rates.{currency}: the reporting currency's own rate is 1, "
            f"found {rates[currency]}"
        )
    problems += [
        f"money.rates.{code}: expected at most {MAX_RATE_DIGITS} digits, between {MIN_RATE:f} and "
        f"{MAX_RATE:f}, found {rate}"
        for code, rate in rates.items()
        if rate.is_finite()
        and rate > 0
        and not (MIN_RATE <= rate <= MAX_RATE and _significand(rate)[0] < 10**MAX_RATE_DIGITS)
    ]
    return Money(currency, given.get("digits", minor_digits(currency)), rates)


def _source(
    name: str, spec: Any, lookups: MappingOf[str, Lookup | None], problems: list[str]
) -> Source | None:
    before = len(problems)
    if not SOURCE_NAME.fullmatch(name):
        problems.append(f"sources.{name}: expected lower-case letters, digits and underscores")
    if not is_table(spec):
        problems.append(f"sources.{name}: expected a table, found {shown(spec)}")
        return None
    at = f"sources.{name}."
    given = checked(spec, SOURCE_SETTINGS, at, problems)
    check_source(given, at, problems)
    if any(is_table(t) and "each" in t for t in given.get("tables", {}).values()):
        problems += [
            f"{at}columns: {column}: in a source whose tables say `each` that is an element's name"
            for column in given.get("columns", ())
            if column.lower() == "each"
        ]
    problems += [
        f"{at}columns: {column}: names that begin with _ are Nightjar's own"
        for column in given.get("columns", ())
        if column.startswith("_")
    ]
    tables = tuple(
        _table(table, t, f"{at}tables.{table}", problems)
        for table, t in given.get("tables", {}).items()
    )
    uses = uses_of(given.get("lookups", {}), lookups, given.get("columns", ()), at, problems)
    if len(problems) == before:
        named = used(uses, (text for table in tables for text in table.texts))
        problems += [
            f"{at}lookups.{use.lookup.name}: no expression of its tables names it"
            for use in uses
            if use not in named
        ]
        for table in tables:
            occurred_at = table.fields.get("occurred_at", "")
            problems += unclear_days(used(uses, table.texts), occurred_at, table.table, at)
    if len(problems) > before:
        return None
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
    }
    return Source(**settings | {"name": name, "tables": tables, "lookups": uses})


def _table(table: str, spec: Any, at: str, problems: list[str]) -> TableMap:
    if table not in FIELDS:
        problems.append(f"{at}: no such clean table; expected one of {', '.join(FIELDS)}")
        return TableMap(table, {})
    if not is_table(spec):
        problems.append(f"{at}: expected a table, found {shown(spec)}")
        return TableMap(table, {})
    fields = FIELDS[table]
    keys = tuple(
        Setting(f.name, f.doc, "a Spark SQL expression in quotes", is_expression) for f in fields
    )
    given = checked(spec, (*keys, *table_settings(table)), f"{at}.", problems)
    problems += [
        f"{at}.{f.name}: missing ({f.doc})"
        for f in fields
        if f.name not in spec and f.required and f.default is None
    ]
    if table in EITHER and len(set(EITHER[table]) & set(spec)) != 1:
        problems.append(
            f"{at}: expected exactly one of {' and '.join(EITHER[table])}, found "
            + ("both" if set(EITHER[table]) <= set(spec) else "neither")
        )
    expressions = {f.name: given.get(f.name, f.default) for f in fields}
    return TableMap(
        table,
        {name: text for name, text in expressions.items() if text is not None},
        given.get("where"),
        given.get("each"),
        tuple(Reject(rule["reason"], rule["when"]) for rule in given.get("reject", ())),
        dict(sorted(given.get(attributes_of(table) or "", {}).items())),
        None if "stars_scale" not in given else tuple(given["stars_scale"]),
    )
