"""Every type of the contracts is one in each library: what one of them writes the others read."""

from __future__ import annotations

import dataclasses

import duckdb
import pyarrow as pa
import pytest
from mlflow.types import ColSpec
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField
from pyspark.sql.pandas.types import to_arrow_type

from contracts.column_types import COLUMN_TYPES, ColumnType
from flows.lake.iceberg import iceberg_type
from flows.release.duckdb_views import sql_type
from jobs.spark.schema import arrow_type, spark_type
from models.data import arrow_schema
from models.mlflow_run import mlflow_type

EVERY_TYPE = pytest.mark.parametrize("name", COLUMN_TYPES)


@EVERY_TYPE
def test_every_type_is_in_every_column_of_the_table(name: str) -> None:
    empty = [
        f.name
        for f in dataclasses.fields(ColumnType)
        if getattr(COLUMN_TYPES[name], f.name) in ("", ())
    ]
    assert empty == []
    assert COLUMN_TYPES[name].name == name


@EVERY_TYPE
def test_numbers_are_those_of_arrow(name: str) -> None:
    element = arrow_type(name)
    if COLUMN_TYPES[name].is_array:
        element = element.value_type
    assert COLUMN_TYPES[name].is_float == pa.types.is_floating(element)
    is_number = pa.types.is_floating(element) or pa.types.is_integer(element)
    assert COLUMN_TYPES[name].is_number == is_number


@EVERY_TYPE
def test_spark_writes_a_type_as_the_contracts_do(name: str) -> None:
    assert spark_type(name).simpleString() == name


@EVERY_TYPE
def test_jobs_and_models_mean_the_same_arrow_type_as_spark_and_iceberg(name: str) -> None:
    expected = arrow_type(name)
    assert arrow_schema.arrow_type(name) == expected
    assert to_arrow_type(spark_type(name), timestamp_utc=True) == expected
    iceberg = schema_to_pyarrow(Schema(NestedField(1, "x", iceberg_type(name, 2), required=False)))
    assert _plain(iceberg.field("x").type) == _plain(expected)


@EVERY_TYPE
def test_duckdb_gives_back_the_arrow_type_that_it_was_given(name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql(f"SELECT CAST(NULL AS {sql_type(name)}) AS x").to_arrow_table()
    assert _plain(table.schema.field("x").type) == _plain(arrow_type(name))


@EVERY_TYPE
def test_mlflow_has_a_type_for_a_column(name: str) -> None:
    assert ColSpec(mlflow_type(name), "x", required=False).name == "x"


def _plain(type_: pa.DataType) -> pa.DataType:
    """Without what libraries call the elements of a list, and without 64-bit offsets."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pa.list_(_plain(type_.value_type))
    return pa.string() if pa.types.is_large_string(type_) else type_
