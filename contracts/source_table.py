"""What a source table is: a clean table with all that is declared of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from contracts.cleaning import (
    Amount,
    Attributes,
    Cleaning,
    ColumnRule,
    KeyedId,
    KeyedUser,
    Sql,
    Time,
)
from contracts.table import Column, Table, raise_if

USER_KEY = Column("user_key", "string", "The user: 32 hex digits of a keyed hash (HMAC-SHA256).")
OCCURRED_AT = Column("occurred_at", "timestamp", "When it happened, UTC.")
LANDED_ON = Column("landed_on", "date", "UTC day on which the row arrived.")

AD_VIEW = "ad_view"
"""Verb of an event that shows that a user was there, but is none of the sequence."""

Encoding = Literal["count", "money", "days", "ratio", "id", "attributes", "sequence", "text"]


@dataclass(frozen=True)
class Field:
    """A Spark SQL expression over the raw columns, all of which are strings.

    A required field that comes out null quarantines the row.
    """

    name: str
    doc: str
    required: bool = True
    default: str | None = None
    """The expression that stands in when the mapping leaves the field out."""


@dataclass(frozen=True)
class Measure:
    """An integer per user and day in the table's tiles; windows and `user_state` sum it, or take
    the largest."""

    name: str
    doc: str
    sql: str
    """The aggregate over the table's rows of a user and day."""
    encoding: Encoding = "count"
    combine: Literal["sum", "max"] = "sum"
    minimum: int | None = 0
    """None of one that may be below 0."""
    of_content: bool = False
    """Whether it tells what posts are like: models read it only where `inputs.content` is on."""


@dataclass(frozen=True)
class ItemMeasure:
    """An integer per item and day in `item_days`, summed by windows in `item_features`."""

    name: str
    doc: str
    sql: str
    """What a row that says an item adds to it."""


@dataclass(frozen=True)
class ItemMean:
    """What rows of an item had in the mean, by rows that landed in the `KNOWN_DAYS` before a row.

    Measures find it in the column `item_mean_milli`, in thousandths: whole, as all that is summed.
    """

    column: str
    usual: int
    """What an item has of which nobody knows anything."""
    weight: int
    """How many rows that counts for."""


KNOWN_DAYS = 90
"""Days before a row landed from which its tile may know other rows, such as the post that is liked:
a bound on what a tile reads."""


@dataclass(frozen=True)
class Thing:
    """Something that a row says its user had to do with: a row of `user_item_days`."""

    kind: str
    column: str
    where: str | None = None
    """SQL: rows that say one; None is all. A null is none, and nor is the user."""


@dataclass(frozen=True)
class Interaction:
    """Something that a row says its user did with what can be recommended, or was shown: it counts
    in `interactions`. Rows without a user, a time or a target count for none."""

    event: str
    """SQL, as is all but `target`: what was done, one of `INTERACTION_EVENTS`."""
    kind: str
    """What it was done with, one of `TARGETS`."""
    target: str
    """The column that names it."""
    where: str | None = None
    """Rows that say one; None is all."""
    units: str = "0"
    amount_minor: str = "0"
    stars: str = "0"
    position: str = "0"
    """The place at which it was shown, from 1; 0 where it is not known."""


@dataclass(frozen=True)
class Event:
    """What a row is in the sequence of a user's events."""

    id: str
    """The column by which events of one time are ordered."""
    verb: str
    """SQL, as are the other two: what was done, or `AD_VIEW`."""
    verbs: tuple[str, ...]
    """What it may be besides."""
    item: str = "''"
    amount_minor: str = "0"


@dataclass(frozen=True, kw_only=True)
class SourceTable(Table):
    """A clean table that sources fill, and what its rows count for."""

    fields: tuple[Field, ...]
    """What a mapping may say of it."""
    either: tuple[str, str] | None = None
    """Two fields of which a mapping gives exactly one."""
    cleaning: Cleaning
    event: Event | None = None
    """None of tables that say what users and items are, or that nobody did."""
    measures: tuple[Measure, ...] = ()
    """Of what the user did."""
    received: tuple[Measure, ...] = ()
    """Of what others did to the user, or to the user's posts."""
    things: tuple[Thing, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    item_measures: tuple[ItemMeasure, ...] = ()
    """Of the rows that say an item: those of its thing `item`."""
    scored_text: str | None = None
    """The column with a text that heads of content have scored: measures find what they say in the
    columns `sentiment` and `toxicity`, the most probable classes, and `sentiment_milli`, by how
    many thousandths it is more probably positive than negative; null where nothing was said."""
    item_mean: ItemMean | None = None
    """What measures of the user may compare with what earlier rows of the item have, whoever's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        filled = {_column_of(rule) for rule in self.cleaning.columns}
        named = {field.name for field in self.fields}
        read = {_field_of(rule) for rule in self.cleaning.columns} - {None}
        problems = [
            f"  {name}: no rule of its cleaning makes it"
            for name in self.names
            if name not in filled | {"landed_on"}
        ]
        problems += [
            f"  {name}: its cleaning reads this field, which it does not declare"
            for name in sorted(name for name in read if name is not None and name not in named)
        ]
        columns = {"its cleaning's id": self.cleaning.id}
        if self.event is not None:
            columns["its event's id"] = self.event.id
        columns |= {f"its thing {thing.kind}": thing.column for thing in self.things}
        columns |= {f"its interaction {i.event}": i.target for i in self.interactions}
        if self.scored_text is not None:
            columns["its scored text"] = self.scored_text
        if self.item_mean is not None:
            columns["its item mean"] = self.item_mean.column
            columns["what its item mean is of"] = "item_id"
        problems += [
            f"  {name}: {what} is no column of it"
            for what, name in columns.items()
            if name not in self.names
        ]
        if self.event is None and (self.measures or self.received):
            problems.append("  it has measures, but no event: nobody did anything")
        if self.item_measures and "item" not in {thing.kind for thing in self.things}:
            problems.append("  it measures items, but has no thing of kind item")
        raise_if(self, problems)

    @property
    def time_fields(self) -> frozenset[str]:
        """Fields that are times."""
        return frozenset(rule.field for rule in self.cleaning.columns if isinstance(rule, Time))

    @property
    def id_fields(self) -> tuple[str, ...]:
        """Fields that name something."""
        return tuple(field.name for field in self.fields if field.name.endswith("_id"))

    @property
    def money_fields(self) -> frozenset[str]:
        """Fields that are amounts of money: a mapping that gives one needs `[money]`."""
        amounts = [rule for rule in self.cleaning.columns if isinstance(rule, Amount)]
        fields = {name for rule in amounts for name in (rule.field, rule.unit_price)}
        return frozenset(name for name in fields if name is not None)

    @property
    def user_columns(self) -> tuple[str, ...]:
        """Columns that name users: keyed hashes of them, and not of devices."""
        devices = {thing.column for thing in self.things if thing.kind == "device"}
        keyed = {rule.column for rule in self.cleaning.columns if isinstance(rule, KeyedUser)}
        return tuple(name for name in self.names if name in keyed - devices)


def _column_of(rule: ColumnRule) -> str:
    match rule:
        case Time():
            return rule.name
        case _:
            return rule.column


def _field_of(rule: ColumnRule) -> str | None:
    """The field that a rule reads; None if it says so in SQL, or reads none."""
    match rule:
        case Sql() | Attributes():
            return None
        case KeyedId(column, _, field):
            return field or column
        case Amount(field) | Time(field) | KeyedUser(_, field):
            return field
        case _:
            return rule.column


_NOT_OF_ROWS = ("doc", "of_content")
"""Fields of declarations that no row depends on."""


def content(declaration: Any) -> Any:
    """A declaration without its prose, in lists, texts and numbers: what rows depend on."""
    if dataclasses.is_dataclass(declaration) and not isinstance(declaration, type):
        return [
            type(declaration).__name__,
            *(
                content(getattr(declaration, field.name))
                for field in dataclasses.fields(declaration)
                if field.name not in _NOT_OF_ROWS
            ),
        ]
    if isinstance(declaration, tuple | list):
        return [content(part) for part in declaration]
    if isinstance(declaration, set | frozenset):
        return sorted(content(part) for part in declaration)
    if isinstance(declaration, dict):
        return {str(name): content(part) for name, part in declaration.items()}
    return declaration
