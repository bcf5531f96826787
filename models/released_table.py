"""Released tables that declare a function for their rows: a Parquet file for each day.

Nothing but that function is special about such a table: see docs/adding-a-table.md.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import ContractError
from contracts.specs import TableDay, TableSpec
from contracts.table import Table, raise_if
from contracts.tables import released_named
from models.data.arrow_schema import arrow_schema

Rows = Callable[[TableDay], Iterable[pa.Table]]
"""The rows of a day, in as many pieces as fit in memory one by one."""


def write_days(spec: TableSpec) -> dict[str, Any]:
    """Write a Parquet file for each day of a released table.

    Raises:
        ContractError: the table declares no function for its rows, or one that there is not, or a
            piece of them has other columns than its contract.
    """
    released = released_named(spec.table)
    if released.rows is None:
        raise ContractError(f"{spec.table} declares no function for its rows")
    rows = rows_function(released.table, released.rows)
    return {"days": [{"rows": write_day(released.table, day, rows)} for day in spec.days]}


def rows_function(table: Table, name: str) -> Rows:
    """The function that a released table declares for its rows.

    Raises:
        ContractError: there is none of that name.
    """
    try:
        function: Rows = pkgutil.resolve_name(name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ContractError(
            f"{table.name}: rows: expected the function {name}, found none: {error}"
        ) from error
    return function


def write_day(table: Table, day: TableDay, rows: Rows) -> int:
    """Write the day's rows to its file, and return how many there are.

    Raises:
        ContractError: a piece of them has other columns than the contract.
    """
    schema = arrow_schema(table)
    path = Path(day.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    n = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for piece in rows(day):
            checked = conforming(table, piece)
            if checked.num_rows:  # there are no row groups without rows
                writer.write_table(checked)
            n += checked.num_rows
    return n


def conforming(table: Table, rows: pa.Table) -> pa.Table:
    """The rows with their columns in the contract's order.

    Raises:
        ContractError: a column is missing, not agreed, or of another type; all of it is named.
    """
    expected = {field.name: field.type for field in arrow_schema(table)}
    found = {field.name: field.type for field in rows.schema}
    raise_if(
        table,
        [
            f"  {name}: expected {expected.get(name, 'no such column')}, "
            f"found {found.get(name, 'no such column')}"
            for name in dict.fromkeys([*expected, *found])
            if expected.get(name) != found.get(name)
        ],
    )
    return rows.select(list(expected))
