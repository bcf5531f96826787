"""Contracts as Arrow schemas.

`jobs/spark/schema.py` does the same, since neither layer imports the other; both take the names of
the types from `contracts/column_types.py`.
"""

from __future__ import annotations

import pyarrow as pa

from contracts.column_types import COLUMN_TYPES
from contracts.table import Table


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of the contract's columns."""
    return pa.schema([pa.field(c.name, arrow_type(c.type)) for c in table.columns])


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a contract's type."""
    column_type = COLUMN_TYPES[name]
    function, *arguments = column_type.arrow
    scalar = getattr(pa, function)(*arguments)
    return pa.list_(scalar) if column_type.is_array else scalar
