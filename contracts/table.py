"""What a table is: columns with types, ranges and docs, and the grain that makes a row unique."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.column_types import COLUMN_TYPES, ColumnType
from contracts.errors import ContractError

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")


def require_identifier(name: str, what: str) -> None:
    """Refuse names that could not be a column, a module or a metric.

    Raises:
        ContractError: `name` is not lower-case letters, digits and underscores.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ContractError(
            f"{what} {name!r}: expected lower-case letters, digits and underscores, "
            "starting with a letter"
        )


ELEMENT, VALUE = ERASED = ("element", "value")
"""What goes with a person whom a column names, where it is not the row: the element of an array,
with those beside it; or the value alone, which is null then, of an array empty."""


@dataclass(frozen=True)
class Column:
    """One column. `minimum` and `maximum` are inclusive; for strings `values` lists what may be."""

    name: str
    type: str
    doc: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None
    beside: str | None = None
    """An array of the same table: of each of its elements this one has an element as well, in the
    same order, or it is empty."""
    erased: str | None = None
    """What goes with a person whom it names: of `ERASED`. None: the row, of a text, and nothing of
    an array."""
    if_erased: str | None = None
    """What it says of a row that an erasure took an element of."""

    def __post_init__(self) -> None:
        require_identifier(self.name, "column")
        if self.erased not in (None, *ERASED):
            raise ContractError(
                f"column {self.name}: erased: expected one of {', '.join(ERASED)}, "
                f"found {self.erased!r}"
            )
        if self.erased == ELEMENT and self.type != "array<string>":
            raise ContractError(
                f"column {self.name}: erased: expected an array<string> to lose elements, "
                f"found {self.type}"
            )
        if self.type not in COLUMN_TYPES:
            raise ContractError(
                f"column {self.name}: expected a type out of {', '.join(COLUMN_TYPES)}, "
                f"found {self.type!r}"
            )
        if not self.doc.endswith("."):
            raise ContractError(
                f"column {self.name}: its doc must be a sentence, found {self.doc!r}"
            )

    @property
    def column_type(self) -> ColumnType:
        """What libraries call its type, and what can be done with its values."""
        return COLUMN_TYPES[self.type]

    @property
    def is_float(self) -> bool:
        """Whether each row has one number with fractions."""
        return self.column_type.is_float and not self.column_type.is_array


@dataclass(frozen=True)
class Table:
    """A table: one row per `grain`, replaced by whole days of the column `day`.

    Files are partitioned by `partition`, which starts with `day`; a small table has none.
    """

    name: str
    doc: str
    grain: tuple[str, ...]
    day: str
    columns: tuple[Column, ...]
    partition: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_identifier(self.name, "table")
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ContractError(f"{self.name}: columns declared twice: {', '.join(twice)}")
        for name in (*self.grain, self.day, *self.partition):
            if name not in names:
                raise ContractError(
                    f"{self.name}: its grain, day or partition names {name}, which is no column"
                )
            if self[name].nullable:
                raise ContractError(
                    f"{self.name}: {name} is in the grain, day or "
                    "partition and must not be nullable"
                )
        for column in self.columns:
            if column.beside is not None and (
                column.beside not in names or not self[column.beside].column_type.is_array
            ):
                raise ContractError(
                    f"{self.name}: {column.name} is beside {column.beside}, which is no array of it"
                )

    def __getitem__(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: it has none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def happened(self) -> str | None:
        """The column that says when what a row is about happened; None where nothing does."""
        return next((name for name in ("day", "occurred_at") if name in self.names), None)


def check_columns(table: Table, types: Mapping[str, str]) -> None:
    """Compare column names and types with the contract.

    Raises:
        ContractError: something is missing, of another type, or not agreed; all of it is named.
    """
    problems = [
        f"  {column.name}: expected {column.type}, found "
        + (types.get(column.name, "no such column"))
        for column in table.columns
        if types.get(column.name) != column.type
    ]
    problems += [
        f"  {name}: found {type_}, expected no such column"
        for name, type_ in types.items()
        if name not in table.names
    ]
    raise_if(table, problems)


def raise_if(table: Table, problems: Sequence[str]) -> None:
    """Raise every problem at once, under the table's name."""
    if problems:
        raise ContractError("\n".join([f"{table.name} breaks its contract:", *problems]))
