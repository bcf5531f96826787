"""Contracts as Arrow schemas.

`jobs/spark/schema.py` has the same types: neither layer imports the other, and contracts know no
Arrow. What one writes the other reads; the tests of a whole night hold it.
"""

from __future__ import annotations

import pyarrow as pa

from contracts.table import Table

_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of the contract's columns."""
    return pa.schema(
        [
            pa.field(
                c.name,
                pa.list_(_ARROW[c.type[6:-1]]) if c.type.startswith("array<") else _ARROW[c.type],
            )
            for c in table.columns
        ]
    )
