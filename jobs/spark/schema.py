"""Contracts as Spark and Arrow schemas."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import types as T

from contracts.table import Table

_SPARK: dict[str, T.DataType] = {
    "string": T.StringType(),
    "int": T.IntegerType(),
    "bigint": T.LongType(),
    "float": T.FloatType(),
    "double": T.DoubleType(),
    "boolean": T.BooleanType(),
    "date": T.DateType(),
    "timestamp": T.TimestampType(),
    "array<int>": T.ArrayType(T.IntegerType()),
    "array<float>": T.ArrayType(T.FloatType()),
    "array<string>": T.ArrayType(T.StringType()),
    "array<bigint>": T.ArrayType(T.LongType()),
}


def spark_schema(table: Table) -> T.StructType:
    return T.StructType([T.StructField(c.name, _SPARK[c.type], True) for c in table.columns])


def spark_types(schema: T.StructType) -> dict[str, str]:
    """Contract types of a Spark schema's columns, for comparison with a table's."""
    return {field.name: field.dataType.simpleString() for field in schema}


def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type of a contract's type."""
    if type_.startswith("array<"):
        return pa.list_(arrow_type(type_[6:-1]))
    return {
        "string": pa.string(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }[type_]


def arrow_schema(table: Table) -> pa.Schema:
    return pa.schema([pa.field(c.name, arrow_type(c.type)) for c in table.columns])
