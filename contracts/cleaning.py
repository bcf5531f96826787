"""How the columns of a clean table are made of a mapping's fields, and which rows are dropped.

Declarations: `jobs/cleaning/rules.py` says in Spark what each means. SQL is Spark's, over the
columns made so far and `text_FIELD`, a field's trimmed text, null where nothing is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeyedId:
    """The keyed hash of a field that names a fact."""

    column: str
    kind: str
    """Ids of one kind can be joined; a post and a user of the same id have nothing in common."""
    field: str = ""
    """The field, if it is not called like the column."""


@dataclass(frozen=True)
class KeyedUser:
    """The keyed hash of a field that names a user or device."""

    column: str
    field: str


@dataclass(frozen=True)
class Text:
    """The trimmed text of the field of the same name, such as a choice or an item's id."""

    column: str


@dataclass(frozen=True)
class Words:
    """What somebody wrote, normalised as the mapping says."""

    column: str


@dataclass(frozen=True)
class WholeNumber:
    """A whole number; `2.0` is one. As a check: it is one, from `minimum` to `maximum`."""

    column: str
    maximum: int
    minimum: int = 1
    optional: bool = False
    """Whether it may be missing."""


@dataclass(frozen=True)
class Stars:
    """1 to 5 stars, made of the source's scale. As a check: they lie on it."""

    column: str


@dataclass(frozen=True)
class TrueOrFalse:
    """True or false, however it is written. As a check: it is one of them."""

    column: str
    optional: bool = False
    """Whether it may be missing."""


@dataclass(frozen=True)
class Time:
    """A time as UTC. As a check: it is one, and lies between 1970 and the day after it landed."""

    field: str = "occurred_at"
    column: str = ""
    """The column, if it is not called like the field."""
    optional: bool = False
    """Whether it may be missing."""
    from_ever: bool = False
    """Whether it may be the first day of 1970, which is what systems write where they know no time:
    something may hold since then, but nothing happened."""

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column or self.field


@dataclass(frozen=True)
class Attributes:
    """Whatever else the mapping says, as sorted texts `name=value`. As a check: none is too
    long."""

    column: str


@dataclass(frozen=True)
class Amount:
    """An amount in major units of the field `currency`, in minor units of the reporting one. As a
    check: there is a rate for it, and it is exact."""

    field: str
    unit_price: str | None = None
    """The field with the price of one unit, which a mapping may give instead."""
    units: str | None = None
    """The column with which a price of one unit is multiplied."""
    where: str | None = None
    """SQL: rows that have one; None is all."""
    column: str = "amount_minor"


@dataclass(frozen=True)
class Sql:
    """A column that an expression gives."""

    column: str
    sql: str


@dataclass(frozen=True)
class Required:
    """A check: the field is there, where `where` holds."""

    field: str
    where: str | None = None


@dataclass(frozen=True)
class OneOf:
    """A check: the field has one of the values that its column allows, or none."""

    field: str


@dataclass(frozen=True)
class Fails:
    """A check: rows for which `sql` holds are quarantined as `reason`."""

    reason: str
    sql: str


ColumnRule = (
    KeyedId | KeyedUser | Text | Words | WholeNumber | Stars | TrueOrFalse | Time | Attributes
    | Amount | Sql
)  # fmt: skip
Check = Required | OneOf | Fails | WholeNumber | Stars | TrueOrFalse | Time | Attributes | Amount


@dataclass(frozen=True)
class Cleaning:
    """How a table's rows are made, and judged."""

    id: str
    """Column by which retries of a row are known."""
    columns: tuple[ColumnRule, ...]
    """One after another; names with an underscore first are none of the table's."""
    checks: tuple[Check, ...]
    """In order: the first that fails gives the reason."""
    is_dimension: bool = False
    """A dimension keeps the newest row of an id per day; a fact the first within the look-back."""
    max_rows_of_user: int | None = None
    """Rows that a user may have on a day: whoever did more, of what landed together, is a bot, and
    all of that user's rows of that day are quarantined. Retries count once, also those of the
    look-back, and rows without a time not at all. A mapping's `[bots]` changes it."""
