"""From raw files to landed rows, in Spark: on which day each lands, and which stop the run."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.errors import ContractError
from jobs.landing.landing import TOO_EARLY, TOO_LATE, check_readable, landed, unfolded
from jobs.mapping.sources import RawFile, Source
from tests.conftest import rows_of
from tests.jobs.cleaning.shop import DAY, HEADER, MAPPING, Shop
from tests.jobs.landing.reading import source


def all_history(tmp_path: Path, text: str, landed_on: str) -> tuple[Source, list[RawFile]]:
    (tmp_path / "all.csv").write_text(text)
    of = source("csv", ("id", "at"), files="all.csv", landed_on=landed_on)
    return of, [RawFile(tmp_path / "all.csv", "all.csv", None)]


def test_a_row_lands_on_no_day_that_cannot_be(spark: SparkSession, tmp_path: Path) -> None:
    """What cannot be placed lands on its file's first possible day, as it is in the file."""
    days = [
        "2025-06-02 10:00:00", "0001-01-01 00:00:00", "9999-12-31 00:00:00", "1989-12-31",
        "1990-01-01", "not a time", "0000-00-00 00:00:00", "2100-01-01", "2099-12-31",
    ]  # fmt: skip
    text = "".join(f"{number},{day}\n" for number, day in enumerate(days, 1))
    of, files = all_history(tmp_path, f"id,at\n{text}", "to_date(at)")
    rows = landed(spark, of, files)
    check_readable(rows, of)
    first = date(1990, 1, 1)
    every = rows.orderBy("line").collect()
    assert [r.fields for r in every] == [[str(i), day] for i, day in enumerate(days, 1)]
    assert [(r.line - 1, r.landed_on, r.problem) for r in every] == [
        (1, date(2025, 6, 2), None),
        (2, first, TOO_EARLY),
        (3, first, TOO_LATE),
        (4, first, TOO_EARLY),
        (5, first, None),
        (6, first, None),
        (7, first, None),
        (8, first, TOO_LATE),
        (9, date(2099, 12, 31), None),  # whatever day it is: a night in 2100 sees it
    ]
    # but a check of tonight knows what day it is
    tonight = landed(spark, of, files, before=date(2025, 6, 2)).where("line IN (2, 10)")
    assert [(r.landed_on, r.problem) for r in tonight.collect()] == [(first, TOO_LATE)] * 2


def test_a_file_whose_rows_say_no_day_at_all_is_named(spark: SparkSession, tmp_path: Path) -> None:
    of, files = all_history(tmp_path, "id,at\n1,never\n2,1900-01-01\n", "to_date(at)")
    with pytest.raises(ContractError) as error:
        check_readable(landed(spark, of, files), of)
    assert str(error.value) == (
        "source s cannot be landed:\n  all.csv: no row says on which day it landed: landed_on = "
        "'to_date(at)' gave no day between 1990 and 2099"
    )


def test_a_row_knows_its_place_so_that_equal_rows_may_have_ids(
    spark: SparkSession, tmp_path: Path
) -> None:
    of, files = all_history(tmp_path, "id,at\na,2025-06-02\na,2025-06-02\n", "to_date(at)")
    rows = unfolded(landed(spark, of, files), of)
    ids = rows.selectExpr("concat_ws('-', file_name, line_number) id").orderBy("id").collect()
    assert [row.id for row in ids] == ["all.csv-2", "all.csv-3"]


def test_rows_without_a_day_land_on_their_files_first(spark: SparkSession, tmp_path: Path) -> None:
    history = MAPPING.replace(
        'files = "{day}.csv"', 'files = "all.csv"\nlanded_on = "to_date(time)"'
    ).replace('missing = "empty"\n', "")
    (tmp_path / "all.csv").write_text(
        HEADER
        + """
l1,o1,ann,i1,purchase,1,1,EUR,2025-01-05T10:00:00
l2,o1,ann,i1,purchase,1,1,EUR,2025-01-03T10:00:00
l3,o1,ann,i1
"""
    )
    shop = Shop(spark, tmp_path, {}, history)
    assert rows_of(shop.landed, "line", "landed_on") == [
        (2, date(2025, 1, 5)),
        (3, date(2025, 1, 3)),
        (4, date(2025, 1, 3)),
    ]
    fields = [r.fields for r in shop.landed.orderBy("line").collect()]
    rest = ["ann", "i1", "purchase", "1", "1", "EUR"]
    assert fields == [
        ["l1", "o1", *rest, "2025-01-05T10:00:00"],
        ["l2", "o1", *rest, "2025-01-03T10:00:00"],
        None,  # of which there are too few cells
    ]


def test_unreadable_files_stop_the_run_and_are_all_named(
    spark: SparkSession, tmp_path: Path
) -> None:
    good = "l1,o1,ann,i1,purchase,1,1,EUR,2025-01-01T10:00:00"
    days = [DAY + timedelta(days=n) for n in range(5)]
    shop = Shop(
        spark,
        tmp_path,
        {
            days[0]: "\n".join([good] * 20),
            days[1]: "\n".join([good] * 20 + ["cut"] * 11),  # over 10 and over 1 %
            days[2]: "\n".join([good] * 3 + ["cut"] * 3),  # a few never stop a run
            days[3]: good,
            days[4]: "\n".join([good] * 20 + [good.replace("ann", "zoë")] * 11),
        },
    )
    (tmp_path / f"{days[3]}.csv").write_text("id,user\n1,2\n")
    last = tmp_path / f"{days[4]}.csv"
    last.write_bytes(last.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(ContractError) as error:
        check_readable(shop.landed, shop.mapping.sources[0])
    assert str(error.value) == "\n".join(
        [
            "source log cannot be landed:",
            "  2025-01-02.csv: 11 of 31 rows cannot be decoded, more than max_undecodable_share = 0.01 "
            "allows; the first is line 22: expected 9 fields, found 1",
            "  2025-01-04.csv: no column order, item, kind, qty, price, cur, time; its header has id, "
            "user",
            "  2025-01-05.csv: 11 of 31 rows cannot be decoded, more than max_undecodable_share = 0.01 "
            'allows; the first is line 22: not valid utf-8; encoding = "windows-1252" may read it',
        ]
    )
