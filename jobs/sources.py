"""A mapping: a TOML file that says how somebody's raw files fill the clean tables.

README, "Bring your own logs", is its manual; the fields are in `contracts/sources.py`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal
from zoneinfo import available_timezones

from contracts.sources import BOT_LIMITS, FIELDS
from contracts.table import CallError, ContractError
from jobs.text import TextRules

_SOURCE_KEYS = {
    "files",
    "format",
    "columns",
    "missing",
    "landed_on",
    "lands_after_days",
    "timezone",
    "encoding",
    "separator",
    "quote",
    "header",
    "multiline",
    "max_undecodable_share",
    "tables",
}
_TABLE_KEYS = {"where", "reject"}


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
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class Source:
    """One kind of raw file."""

    name: str
    files: str
    """Path under the raw folder; `{day}` stands for YYYY-MM-DD, `*` for anything in one name."""
    format: Literal["csv", "jsonl", "parquet"]
    columns: tuple[str, ...]
    """Raw columns that the expressions may name; all arrive as strings."""
    tables: tuple[TableMap, ...]
    missing: Literal["empty", "stop"] = "stop"
    landed_on: str | None = None
    """For files without `{day}`: the day on which a row counts as landed."""
    lands_after_days: int = 0
    """For files with `{day}`: a file named for a day arrives this many days after it."""
    timezone: str | None = None
    """Zone of times that carry no offset; None is UTC."""
    encoding: str = "utf-8"
    separator: str = ","
    quote: str = '"'
    header: bool = True
    multiline: bool = False
    max_undecodable_share: float = 0.01
    """The run stops when more than 10 rows of a file, and more than this share, are undecodable."""

    @property
    def daily(self) -> bool:
        return "{day}" in self.files


@dataclass(frozen=True)
class Money:
    """The reporting currency, its decimal digits, and what one unit of each currency is worth."""

    reporting_currency: str
    digits: int
    rates: MappingOf[str, Decimal]


@dataclass(frozen=True)
class SourceMapping:
    """A whole mapping file."""

    name: str
    sources: tuple[Source, ...]
    money: Money | None = None
    text: TextRules = field(default_factory=TextRules)
    bots: MappingOf[str, int] = field(default_factory=lambda: dict(BOT_LIMITS))
    """Clean table to the rows of one user that may land on a day."""

    @property
    def mapped_tables(self) -> frozenset[str]:
        """Clean tables that at least one source fills."""
        return frozenset(t.table for s in self.sources for t in s.tables)

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
        CallError: it is no TOML, or something in it is unknown, missing or out of range; every
            problem is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise CallError(f"{path}: no such mapping") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallError(f"{path}: not a TOML file: {error}") from None
    problems: list[str] = []
    _unknown(raw, {"name", "money", "text", "bots", "sources"}, "", problems)
    sources = tuple(
        source
        for name, spec in raw.get("sources", {}).items()
        if (source := _source(name, spec, problems)) is not None
    )
    if not raw.get("sources"):
        problems.append("sources: expected at least one [sources.NAME]")
    money = _money(raw["money"], problems) if "money" in raw else None
    amounts = [
        t.table for s in sources for t in s.tables if {"unit_price", "amount"} & set(t.fields)
    ]
    if amounts and "money" not in raw:
        problems.append(f"money: {amounts[0]} need [money] with reporting_currency and rates")
    text_rules = TextRules.from_toml(raw.get("text", {}), problems)
    bots = _bots(raw.get("bots", {}), problems)
    if problems:
        raise CallError(
            "\n".join(
                [f"{path} is not a valid mapping:", *(f"  {problem}" for problem in problems)]
            )
        )
    return SourceMapping(raw.get("name", path.stem), sources, money, text_rules, bots)


def _bots(spec: MappingOf[str, Any], problems: list[str]) -> dict[str, int]:
    _unknown(spec, set(BOT_LIMITS), "bots.", problems)
    problems += [
        f"bots.{table}: expected a whole number of rows, 1 or more, found {limit!r}"
        for table, limit in spec.items()
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
    ]
    return {**BOT_LIMITS, **spec}


def _unknown(spec: MappingOf[str, Any], known: set[str], where: str, problems: list[str]) -> None:
    problems += [
        f"{where}{key}: unknown; expected one of {', '.join(sorted(known))}"
        for key in spec
        if key not in known
    ]


def _money(spec: MappingOf[str, Any], problems: list[str]) -> Money | None:
    _unknown(spec, {"reporting_currency", "digits", "rates"}, "money.", problems)
    currency = spec.get("reporting_currency")
    if not isinstance(currency, str):
        problems.append('money.reporting_currency: expected an ISO code such as "EUR"')
        return None
    rates = {currency: Decimal(1)}
    for code, rate in spec.get("rates", {}).items():
        try:
            rates[code] = Decimal(str(rate))
        except InvalidOperation:
            rates[code] = Decimal(0)
        if not rates[code].is_finite() or rates[code] <= 0:
            problems.append(f"money.rates.{code}: expected a number above 0, found {rate!r}")
    if rates[currency] != 1:
        problems.append(
            f"money.rates.{currency}: the reporting currency's own rate is 1, "
            f"found {rates[currency]}"
        )
    digits = spec.get("digits", 2)
    if digits not in range(5):
        problems.append(f"money.digits: expected 0 to 4, found {digits!r}")
    return Money(currency, digits, rates)


def _source(name: str, spec: MappingOf[str, Any], problems: list[str]) -> Source | None:
    at = f"sources.{name}."
    before = len(problems)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        problems.append(f"sources.{name}: expected lower-case letters, digits and underscores")
    _unknown(spec, _SOURCE_KEYS, at, problems)
    for key in ("files", "format", "columns", "tables"):
        if not spec.get(key):
            problems.append(f"{at}{key}: missing")
    _choice(spec, "format", ("csv", "jsonl", "parquet"), at, problems)
    _choice(spec, "missing", ("empty", "stop"), at, problems)
    daily = "{day}" in str(spec.get("files", ""))
    if daily and "landed_on" in spec:
        problems.append(f"{at}landed_on: the {{day}} in files says it already")
    if not daily and "landed_on" not in spec:
        problems.append(
            f"{at}landed_on: files has no {{day}}, so an expression must say on which "
            'day a row landed, such as "to_date(time)"'
        )
    if not daily and ("missing" in spec or "lands_after_days" in spec):
        problems.append(f"{at}missing and lands_after_days: only for files with {{day}}")
    share = spec.get("max_undecodable_share", 0.01)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        problems.append(f"{at}max_undecodable_share: expected 0 to 1, found {share!r}")
    zone = spec.get("timezone")
    if zone is not None and zone not in available_timezones():
        problems.append(f"{at}timezone: no such time zone: {zone!r}")
    lag = spec.get("lands_after_days", 0)
    if not isinstance(lag, int) or lag < 0:
        problems.append(f"{at}lands_after_days: expected 0 or more, found {lag!r}")
    for key in ("separator", "quote"):
        if key in spec and len(spec[key]) != 1:
            problems.append(f"{at}{key}: expected one character, found {spec[key]!r}")
    try:
        "".encode(spec.get("encoding", "utf-8"))
    except LookupError:
        problems.append(f"{at}encoding: no such encoding: {spec['encoding']!r}")
    tables = tuple(
        _table(table, t, f"{at}tables.{table}.", problems)
        for table, t in spec.get("tables", {}).items()
    )
    if len(problems) > before:
        return None
    given = {key: value for key, value in spec.items() if key not in ("columns", "tables")}
    return Source(name=name, columns=tuple(spec["columns"]), tables=tables, **given)


def _choice(
    spec: MappingOf[str, Any], key: str, options: tuple[str, ...], at: str, problems: list[str]
) -> None:
    if key in spec and spec[key] not in options:
        problems.append(f"{at}{key}: expected one of {', '.join(options)}, found {spec[key]!r}")


def _table(table: str, spec: MappingOf[str, Any], at: str, problems: list[str]) -> TableMap:
    if table not in FIELDS:
        problems.append(
            f"{at.removesuffix('.')}: no such clean table; expected one of {', '.join(FIELDS)}"
        )
        return TableMap(table, {})
    fields = FIELDS[table]
    _unknown(spec, {f.name for f in fields} | _TABLE_KEYS, at, problems)
    for f in fields:
        if f.name not in spec and f.required and f.default is None:
            problems.append(f"{at}{f.name}: missing ({f.doc})")
    expressions = {
        f.name: spec.get(f.name, f.default)
        for f in fields
        if f.name in spec or f.default is not None
    }
    for name, expression in expressions.items():
        if not isinstance(expression, str):
            problems.append(
                f"{at}{name}: expected a Spark SQL expression in quotes, found {expression!r}"
            )
    rejects = []
    for rule in spec.get("reject", ()):
        if set(rule) != {"reason", "when"}:
            problems.append(f"{at}reject: expected {{reason = …, when = …}}, found {rule!r}")
        else:
            rejects.append(Reject(rule["reason"], rule["when"]))
    return TableMap(
        table, {k: str(v) for k, v in expressions.items()}, spec.get("where"), tuple(rejects)
    )


def raw_files(source: Source, folder: Path) -> tuple[RawFile, ...]:
    """The files of `source` that lie under `folder` now, by name.

    Raises:
        ContractError: there is none, or a name has something else where its day should be.
    """
    pattern = source.files.replace("{day}", "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9]")
    found = sorted(folder.glob(pattern))
    if not found:
        raise ContractError(f"{source.name}: no file matches {folder / source.files}")
    parts = re.split(r"(\{day\}|\*)", source.files)
    shape = re.compile(
        "".join(
            r"(\d{4}-\d\d-\d\d)" if part == "{day}" else "[^/]*" if part == "*" else re.escape(part)
            for part in parts
        )
    )
    files = []
    for path in found:
        name = path.relative_to(folder).as_posix()
        day = None
        if source.daily:
            match = shape.fullmatch(name)
            try:
                day = date.fromisoformat(match.group(1)) if match else None
            except ValueError:
                day = None
            if day is None:
                raise ContractError(f"{source.name}: {name} names no day that exists")
            day += timedelta(days=source.lands_after_days)
        files.append(RawFile(path, name, day))
    return tuple(files)


def missing_days(source: Source, files: tuple[RawFile, ...], as_of: date) -> tuple[date, ...]:
    """Days from the source's first file up to `as_of` on which no file landed."""
    there = {file.landed_on for file in files if file.landed_on is not None}
    if not there:
        return ()
    first = min(there)
    return tuple(
        day for n in range((as_of - first).days) if (day := first + timedelta(days=n)) not in there
    )
