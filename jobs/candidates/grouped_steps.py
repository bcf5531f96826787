"""Steps of counting candidates: Arrow tables of one world at a time, in parts of users or items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

WORLD = ("as_of", "surface", "fold")
"""What candidates of one are never mixed with those of another."""

Key = tuple[pa.Scalar, ...]


def cogrouped(
    left: DataFrame,
    right: DataFrame,
    keys: Sequence[str],
    compute: Callable[[Key, pa.Table, pa.Table], pa.Table],
    schema: pa.Schema,
) -> DataFrame:
    """What `compute` makes of the rows of both sides that agree in `keys`.

    Both may be made of the same table, of which Spark must not take one for the other: hence the
    other names of the keys on the right.
    """

    def step(key: Key, left: pa.Table, right: pa.Table) -> pa.Table:
        return compute(key, left, right)  # Spark counts the arguments, and a method has one more

    renamed = right.withColumnsRenamed({key: f"right_{key}" for key in keys})
    right_groups = renamed.groupBy(*(f"right_{key}" for key in keys))
    return left.groupBy(*keys).cogroup(right_groups).applyInArrow(step, spark_columns(schema))


def spark_columns(schema: pa.Schema) -> StructType:
    """The columns of Arrow tables, as Spark asks for them."""
    return from_arrow_schema(schema)


def every_part(n_parts: int) -> Column:
    """The number of each of the parts."""
    return F.array(*(F.lit(number) for number in range(n_parts)))


def part_of(id_: str, n_parts: int) -> Column:
    """The number of the part to which an id belongs."""
    return F.pmod(F.xxhash64(id_), F.lit(n_parts)).cast("int")
