"""The types that a column may have, and what each library calls them.

Names only: each layer takes its library's object by the name, as `jobs/spark/schema.py`,
`models/data/arrow_schema.py` and `flows/lake/iceberg.py` do. A new type is one row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ColumnType:
    """A type of the contracts. The libraries' names are, for an array, those of its elements."""

    name: str
    """As Spark SQL writes it."""
    spark: str
    """The class in `pyspark.sql.types`."""
    arrow: tuple[str, ...]
    """The function of `pyarrow` that makes it, then its arguments."""
    iceberg: str
    """The class in `pyiceberg.types`."""
    duckdb: str
    """As DuckDB's SQL writes it."""
    mlflow: str
    """The member of `mlflow.types.DataType`, which has no days of its own."""
    is_array: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it has fractions, and with them NaN; of an array, whether its elements have."""
        return self.spark in ("FloatType", "DoubleType")

    @property
    def is_number(self) -> bool:
        """Whether it can be measured and summed; of an array, whether its elements can."""
        return self.is_float or self.spark in ("IntegerType", "LongType")


SCALARS = (
    ColumnType("string", "StringType", ("string",), "StringType", "VARCHAR", "string"),
    ColumnType("int", "IntegerType", ("int32",), "IntegerType", "INTEGER", "integer"),
    ColumnType("bigint", "LongType", ("int64",), "LongType", "BIGINT", "long"),
    ColumnType("float", "FloatType", ("float32",), "FloatType", "FLOAT", "float"),
    ColumnType("double", "DoubleType", ("float64",), "DoubleType", "DOUBLE", "double"),
    ColumnType("boolean", "BooleanType", ("bool_",), "BooleanType", "BOOLEAN", "boolean"),
    ColumnType("date", "DateType", ("date32",), "DateType", "DATE", "datetime"),
    ColumnType(
        "timestamp",
        "TimestampType",
        ("timestamp", "us", "UTC"),
        "TimestamptzType",
        "TIMESTAMPTZ",
        "datetime",
    ),
)
IN_ARRAYS = ("int", "float", "string", "bigint")
"""Types that arrays may have as elements."""

COLUMN_TYPES: Mapping[str, ColumnType] = {
    **{scalar.name: scalar for scalar in SCALARS},
    **{
        f"array<{scalar.name}>": replace(scalar, name=f"array<{scalar.name}>", is_array=True)
        for element in IN_ARRAYS
        for scalar in SCALARS
        if scalar.name == element
    },
}
