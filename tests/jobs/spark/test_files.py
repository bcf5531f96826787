from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.errors import ContractError
from contracts.table import Column, Table
from contracts.tables import ITEM_FEATURES, QUARANTINE
from contracts.tile_tables import USER_DAYS, USER_ITEM_DAYS
from jobs.spark.content_hash import row_hashes
from jobs.spark.files import explain_broken, read_table, write_days
from jobs.spark.schema import spark_schema
from tests.conftest import rows_of

T = Table(
    "things",
    "Things.",
    ("id", "day"),
    "day",
    (
        Column("id", "string", "Id."),
        Column("day", "date", "Day."),
        Column("n", "int", "Number.", nullable=True, minimum=0, maximum=9),
        Column("kind", "string", "Kind.", nullable=True, values=("a", "b")),
        Column("share", "double", "Share.", nullable=True),
    ),
    partition=("day",),
)
D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


def test_days_are_files_of_their_own_and_empty_days_are_there_too(
    spark: SparkSession, table, tmp_path: Path
) -> None:
    rows = table("id | day | n\n a | 2025-01-01 | 1\n b | 2025-01-02 | 2\n c | 2025-01-01 | -", T)
    written = write_days(spark, rows, T, [D1, D2, D3], str(tmp_path))
    assert {d: m.rows for d, m in written.items()} == {D1: 2, D2: 1, D3: 0}
    assert written[D3].files == ()
    for day in (D1, D2):
        (path,) = written[day].files
        assert set(pq.read_table(path).column("day").to_pylist()) == {day}
    assert read_table(spark, T, [p for m in written.values() for p in m.files]).count() == 3


def test_the_digest_is_of_the_content_and_not_of_the_order(
    spark: SparkSession, table, tmp_path: Path
) -> None:
    def digest(text: str, name: str, files: int = 1) -> str:
        rows = table("id | day | n\n" + text, T)
        return write_days(spark, rows, T, [D1], str(tmp_path / name), files)[D1].digest

    one = digest("a | 2025-01-01 | 1\n b | 2025-01-01 | -\n c | 2025-01-01 | 3", "1")
    assert one == digest("c | 2025-01-01 | 3\n b | 2025-01-01 | -\n a | 2025-01-01 | 1", "2")
    assert one == digest("c | 2025-01-01 | 3\n b | 2025-01-01 | -\n a | 2025-01-01 | 1", "3", 3)
    assert one != digest("a | 2025-01-01 | 1\n b | 2025-01-01 | 0\n c | 2025-01-01 | 3", "4")
    assert one != digest("a | 2025-01-01 | 3\n b | 2025-01-01 | -\n c | 2025-01-01 | 1", "5")


def test_the_digest_is_of_values_and_not_of_how_arrow_holds_them() -> None:
    plain = pa.table(
        {
            "text": pa.array(["a", None, "", "äb", "a"]),
            "list": pa.array([["x", "y"], [], None, ["y", "x"], ["xy"]]),
            "n": pa.array([1, 0, None, -1, 2**60]),
        }
    ).to_batches()[0]
    hashes = row_hashes(plain)
    assert len(set(hashes.tolist())) == 5
    held = pa.RecordBatch.from_arrays(
        [
            plain["text"].dictionary_encode(),
            pa.ListArray.from_arrays(
                plain["list"].offsets, plain["list"].values.dictionary_encode(),
                mask=plain["list"].is_null(),
            ),
            plain["n"],
        ],
        names=plain.schema.names,
    )  # fmt: skip
    assert (row_hashes(held) == hashes).all()
    assert (row_hashes(held.slice(1, 3)) == hashes[1:4]).all()
    assert (row_hashes(plain.slice(2)) == hashes[2:]).all()
    assert (row_hashes(plain.rename_columns(["text", "list", "m"])) != hashes).all()


def test_rows_that_break_the_contract_are_told_all_at_once(
    spark: SparkSession, table, tmp_path: Path
) -> None:
    rows = table(
        """
        id | day        | n  | kind | share
        a  | 2025-01-01 | -1 | a    | 0
        a  | 2025-01-01 | 10 | c    | NaN
        -  | 2025-01-01 | 1  | b    | 0
        """,
        T,
    )
    with pytest.raises(ContractError) as error:
        write_days(spark, rows, T, [D1], str(tmp_path))
    assert str(error.value) == (
        "things breaks its contract:\n"
        "  id: null, expected a value: found 1 row\n"
        "  n: below 0: found 1 row\n"
        "  n: above 9: found 1 row\n"
        "  kind: not one of a, b: found 1 row\n"
        "  share: not a number: found 1 row\n"
        "  grain (id, day): expected one row, found 2 of a, 2025-01-01"
    )


def test_ids_of_rows_that_are_there_twice_are_told_by_their_shape_alone(table) -> None:
    """Messages go to the terminal, to Prefect and into alerts."""
    twice = table(
        """
        table_name | source | file  | line | element | landed_on  | reason | row_hash
        orders     | shop   | a.csv | 7    | 0       | 2025-01-01 | r      | h
        orders     | shop   | a.csv | 7    | 0       | 2025-01-01 | r      | h
        """,
        QUARANTINE,
    )
    with pytest.raises(ContractError) as error:
        explain_broken(twice, QUARANTINE)
    assert str(error.value) == (
        "quarantine breaks its contract:\n"
        "  grain (table_name, source, file, line, element): expected one row, found 2 of orders, "
        "shop, a.csv, 7, 0"
    )
    things = table(
        """
        id              | day        | n | kind
        ann@example.com | 2025-01-01 | 1 | a
        ann@example.com | 2025-01-01 | 1 | a
        """,
        T,
    )
    with pytest.raises(ContractError) as error:
        explain_broken(things, T)
    assert str(error.value) == (
        "things breaks its contract:\n"
        "  grain (id, day): expected one row, found 2 of aaa@aaaaaaa.aaa, 2025-01-01"
    )


def test_rows_that_are_said_to_be_broken_are_never_accepted(table) -> None:
    good = table("id | day | n | kind\n a | 2025-01-01 | 1 | a", T)
    with pytest.raises(ContractError) as error:
        explain_broken(good, T)
    assert str(error.value) == (
        "things breaks its contract:\n"
        "  whoever wrote its files found rows that break it, and reading them again finds none: "
        "nothing was committed; run it again, and if it comes back, report it"
    )


def test_rows_of_a_day_that_was_not_asked_for_are_refused(
    spark: SparkSession, table, tmp_path: Path
) -> None:
    rows = table("id | day\n a | 2025-01-02", T)
    with pytest.raises(ContractError, match="day: rows of 2025-01-02, which was not asked for"):
        write_days(spark, rows, T, [D1], str(tmp_path))


def test_no_file_is_an_empty_table(spark: SparkSession) -> None:
    assert rows_of(read_table(spark, USER_DAYS, []), *USER_DAYS.names) == []


def test_history_shares_month_files_and_each_day_keeps_its_digest(
    spark: SparkSession, tmp_path: Path
) -> None:
    days = [D1 + timedelta(days=n) for n in range(70)]
    rows = [("u", "item", f"i{n}", day, day) for n, day in enumerate(days) if n % 2]
    frame = spark.createDataFrame(rows, spark_schema(USER_ITEM_DAYS))
    whole = write_days(spark, frame, USER_ITEM_DAYS, days, str(tmp_path / "whole"))
    files = {path for written in whole.values() for path in written.files}
    assert sorted(Path(path).name[:7] for path in files) == ["2025-01", "2025-02", "2025-03"]
    some = days[:8]
    alone = write_days(
        spark,
        frame.where(F.col("landed_on") <= some[-1]),
        USER_ITEM_DAYS,
        some,
        str(tmp_path / "alone"),
    )
    assert len({path for written in alone.values() for path in written.files}) == 4
    assert {d: m.digest for d, m in alone.items()} == {d: whole[d].digest for d in some}


def test_what_is_as_of_a_day_never_shares_a_file(spark: SparkSession, tmp_path: Path) -> None:
    days = [D1 + timedelta(days=n) for n in range(70)]
    frame = spark.createDataFrame(
        [("i", d, None, *[0] * 12) for d in days], spark_schema(ITEM_FEATURES)
    )
    written = write_days(spark, frame, ITEM_FEATURES, days, str(tmp_path))
    assert len({path for m in written.values() for path in m.files}) == 70
