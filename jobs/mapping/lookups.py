"""Lookups: small files whose rows expressions see beside a raw row, found by key.

What a mapping says of them; `jobs/landing/lookup_files.py` reads them, and
`jobs/cleaning/lookup_join.py` joins them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from contracts.lookups import LOOKUP_SETTINGS, READING, USE_SETTINGS
from contracts.mapping import checked
from contracts.values import SOURCE_NAME, is_table, shown
from jobs.mapping.element_keys import ELEMENT, NUMBER
from jobs.mapping.expressions import Expression
from jobs.mapping.reading_settings import check_reading
from jobs.mapping.tokens import tokens

_ON = ".on"


@dataclass(frozen=True)
class Lookup:
    """A small file, whose columns are texts."""

    name: str
    """The column with its row, as expressions see it: `name.column`."""
    file: str
    reading: tuple[tuple[str, Any], ...]
    """Settings of a source that say how the file is read."""
    key: tuple[str, ...]
    since: str | None = None
    """The column with the day from which on a row holds; None: every row holds always."""
    rows: pa.Table | None = field(default=None, repr=False, compare=False)
    """As `jobs.landing.lookup_files` makes them; None until the file is read."""
    hashes: tuple[tuple[date, str], ...] = field(default=(), repr=False)
    """Each day from which on rows hold, and a hash of all rows that hold from it or earlier on."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict(self.reading)["columns"])

    def content(self, until: date = date.max) -> str:
        """A hash of what it says of days up to `until`; later rows change nothing of them."""
        n = bisect_right(self.hashes, until, key=lambda item: item[0])
        return self.hashes[n - 1][1] if n else "nothing"


@dataclass(frozen=True)
class LookupUse:
    """How a source's rows find theirs of a lookup."""

    lookup: Lookup
    key: tuple[str, ...]
    """An expression for each column of the lookup's key."""
    on: str | None = None
    """An expression that gives the row's day; None is the day on which the event happened."""

    @property
    def by_event(self) -> bool:
        """Whether the event's time says which row of the lookup is meant."""
        return self.lookup.since is not None and self.on is None

    @property
    def expressions(self) -> list[Expression]:
        """Those of the key, in order, then `on`."""
        at = f"lookups.{self.lookup.name}"
        named = [at] if len(self.key) == 1 else [f"{at}.key[{i}]" for i in range(len(self.key))]
        of_key = [
            Expression(place, text, column)
            for place, text, column in zip(named, self.key, self.key_columns, strict=True)
        ]
        if self.on is None:
            return of_key
        return [*of_key, Expression(f"{at}{_ON}", self.on, self.day_column)]

    @property
    def key_columns(self) -> tuple[str, ...]:
        return tuple(f"_key_{self.lookup.name}_{i}" for i in range(len(self.key)))

    @property
    def day_column(self) -> str:
        """Of what `on` gives."""
        return f"_on_{self.lookup.name}"


def is_day_of_lookup(expression: Expression) -> bool:
    return expression.place.startswith("lookups.") and expression.place.endswith(_ON)


def used(uses: Sequence[LookupUse], texts: Iterable[str]) -> tuple[LookupUse, ...]:
    """Those of which expressions name the column."""
    named = {name for text in texts for name in _columns_named(text)}
    return tuple(use for use in uses if use.lookup.name in named)


def _columns_named(text: str) -> Iterator[str]:
    before = ""
    for token in tokens(text):
        if token.kind in ("word", "name") and before != ".":
            yield token.text.strip("`").lower()
        before = token.text


def unclear_days(uses: Iterable[LookupUse], occurred_at: str, table: str, at: str) -> Iterator[str]:
    """Lookups whose row is found by the event's day, which is itself made of lookups."""
    uses = tuple(uses)
    if used(uses, [occurred_at]):
        for use in uses:
            if use.by_event:
                yield (
                    f"{at}lookups.{use.lookup.name}: which day's row is meant is said by "
                    f"occurred_at of {table}, which is made of lookups; say it with on: "
                    f'{{ key = "…", on = "…" }}'
                )


def lookups_of(spec: Mapping[str, Any], problems: list[str]) -> dict[str, Lookup | None]:
    """The lookups that a mapping declares, by name; None for those that are not right."""
    return {name: _lookup(name, of, problems) for name, of in spec.items()}


def _lookup(name: str, spec: Any, problems: list[str]) -> Lookup | None:
    before, at = len(problems), f"lookups.{name}."
    if not SOURCE_NAME.fullmatch(name):
        problems.append(f"{at[:-1]}: expected lower-case letters, digits and underscores")
    if not is_table(spec):
        problems.append(f"{at[:-1]}: expected a table, found {shown(spec)}")
        return None
    given = checked(spec, (*LOOKUP_SETTINGS, *READING), at, problems)
    check_reading(given, READING, at, problems)
    columns = given.get("columns")
    of_key, since = _listed(given.get("key", ())), given.get("from")
    if columns is not None:
        problems += [
            f"{at}{setting}: {column}: no such column; expected one of {', '.join(columns)}"
            for setting, named in (("key", of_key), ("from", _listed(since or ())))
            for column in named
            if column not in columns
        ]
    if len(problems) > before:
        return None
    reading = tuple(
        (s.name, tuple(value) if isinstance(value := given[s.name], list) else value)
        for s in READING
        if s.name in given
    )
    return Lookup(name, given["file"], reading, of_key, since)


def uses_of(
    spec: Mapping[str, Any],
    lookups: Mapping[str, Lookup | None],
    columns: Collection[str],
    at: str,
    problems: list[str],
) -> tuple[LookupUse, ...]:
    """What a source says of the lookups that it uses; `columns` are its raw columns."""
    uses = []
    taken = {column.lower() for column in columns} | {ELEMENT, NUMBER, "line_number", "file_name"}
    for name, of in spec.items():
        where = f"{at}lookups.{name}"
        if name not in lookups:
            expected = ", ".join(lookups) or "none, for there is no [lookups.NAME]"
            problems.append(f"{where}: no such lookup; expected one of {expected}")
        if name in taken:
            problems.append(
                f"{where}: expressions know another column by that name; rename [lookups.{name}]"
            )
        use = _use(lookups.get(name), of, where, problems)
        if use is not None:
            uses.append(use)
    return tuple(uses)


def _use(lookup: Lookup | None, spec: Any, at: str, problems: list[str]) -> LookupUse | None:
    before = len(problems)
    if isinstance(spec, str | list):
        spec = {"key": spec}
    if not is_table(spec):
        problems.append(
            f"{at}: expected a Spark SQL expression in quotes, a list of them, or a table with "
            f"key, found {shown(spec)}"
        )
        return None
    given = checked(spec, USE_SETTINGS, f"{at}.", problems)
    key = _listed(given.get("key", ()))
    if lookup is None:
        return None
    if key and len(key) != len(lookup.key):
        problems.append(
            f"{at}.key: expected an expression for each of {', '.join(lookup.key)}, "
            f"found {len(key)}"
        )
    if "on" in given and lookup.since is None:
        problems.append(f"{at}.on: only for lookups with from")
    return LookupUse(lookup, key, given.get("on")) if len(problems) == before else None


def check_used(lookups: Mapping[str, Any], sources: Mapping[str, Any], problems: list[str]) -> None:
    """A lookup that no source uses does nothing."""
    named = {
        name
        for source in sources.values()
        if is_table(source) and is_table(source.get("lookups"))
        for name in source["lookups"]
    }
    problems += [
        f"lookups.{name}: no source uses it; say in one which expression gives its key: "
        f'lookups = {{ {name} = "…" }}'
        for name in lookups
        if name not in named
    ]


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
