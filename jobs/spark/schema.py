"""Contracts as Spark and Arrow schemas."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import types as T

from contracts.column_types import COLUMN_TYPES
from contracts.table import Table


def spark_schema(table: Table) -> T.StructType:
    return T.StructType([T.StructField(c.name, spark_type(c.type), True) for c in table.columns])


def spark_type(name: str) -> T.DataType:
    """The Spark type of a contract's type."""
    column_type = COLUMN_TYPES[name]
    scalar: T.DataType = getattr(T, column_type.spark)()
    return T.ArrayType(scalar) if column_type.is_array else scalar


def spark_types(schema: T.StructType) -> dict[str, str]:
    """Contract types of a Spark schema's columns, for comparison with a table's."""
    return {field.name: field.dataType.simpleString() for field in schema}


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of the contract's columns. `models/data/arrow_schema.py` has the same lines:
    jobs and models do not import each other, and contracts import no library."""
    return pa.schema([pa.field(c.name, arrow_type(c.type)) for c in table.columns])


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a contract's type."""
    column_type = COLUMN_TYPES[name]
    function, *arguments = column_type.arrow
    scalar = getattr(pa, function)(*arguments)
    return pa.list_(scalar) if column_type.is_array else scalar
