"""Headers: those of files that were joined stand among rows, and are none."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import openpyxl
import pytest
from pyspark.sql import SparkSession

from jobs.landing.csv_rows import LINE_BREAK
from jobs.landing.landing import check_readable, landed
from jobs.mapping.raw_row import HEADER_AGAIN
from jobs.mapping.sources import RawFile
from tests.jobs.landing.reading import read, refusal, source

OTHER_ORDER = (
    "line {} is a header with the columns in another order, by which the rows behind it would be "
    "misread; split the file there, or say header = true if it is the first line"
)


def test_a_header_among_rows_is_no_row(tmp_path: Path) -> None:
    """As `cat` leaves it, perhaps behind a byte-order mark, or quoted."""
    path = tmp_path / "a.csv"
    again = ("id,text", "\ufeffid,text", '"id","text"')
    path.write_text("id,text\n1,a\n" + "".join(f"{line}\n2,b\n" for line in again))
    good = (["2", "b"], None)
    assert read(path, source("csv")) == [
        (2, ["1", "a"], None),
        (3, None, HEADER_AGAIN), (4, *good), (5, None, HEADER_AGAIN), (6, *good),
        (7, None, HEADER_AGAIN), (8, *good),
    ]  # fmt: skip
    assert HEADER_AGAIN == "a header where a row should be"


def test_a_header_is_no_row_of_a_source_that_expects_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,a\n")
    assert read(path, source("csv", header=False)) == [
        (1, None, HEADER_AGAIN),
        (2, ["1", "a"], None),
    ]


@pytest.mark.parametrize("header", [True, False])
def test_a_header_with_another_order_refuses_the_file(tmp_path: Path, header: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,a\ntext,id\nb,2\n")
    assert refusal(path, source("csv", header=header)) == OTHER_ORDER.format(3)
    path.write_text("text,id\nb,2\n")
    assert refusal(path, source("csv", header=False)) == OTHER_ORDER.format(1)


def test_columns_that_are_ignored_may_differ_between_joined_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("note,id,text\nx,1,a\nremark,id,text\ny,2,b\n")
    assert read(path, source("csv")) == [
        (2, ["1", "a"], None),
        (3, None, HEADER_AGAIN),
        (4, ["2", "b"], None),
    ]


def test_who_has_the_name_of_a_column_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,age\nuser,33\nage,user2\n")
    assert read(path, source("csv", ("user",))) == [(2, ["user"], None), (3, ["age"], None)]
    path.write_text("user\nann\nuser\n")
    assert read(path, source("csv", ("user",))) == [(2, ["ann"], None), (3, ["user"], None)]
    path.write_text("a,b\nb,a\n")
    assert read(path, source("csv", ("a", "b"), header=False)) == [
        (1, ["a", "b"], None),
        (2, ["b", "a"], None),
    ]


def test_a_header_among_the_rows_of_a_sheet_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    for row in (["text", "id", None], ["a", 1], ["text", "id"], ["b", 2], ["id", "text"], [3, "c"]):
        book.active.append(row)
    book.save(path)
    book.close()
    assert read(path, source("xlsx"))[:3] == [
        (2, ["1", "a"], None),
        (3, None, HEADER_AGAIN),
        (4, ["2", "b"], None),
    ]
    assert refusal(path, source("xlsx")) == OTHER_ORDER.format(5)


def test_headers_among_rows_say_nothing_against_their_file(
    spark: SparkSession, tmp_path: Path
) -> None:
    """However many there are: a day that was joined of its hours has 23."""
    path = tmp_path / "2025-06-01.csv"
    path.write_text("id,text\n1,a\n" * 24)
    of = source("csv", files="{day}.csv")
    rows = landed(spark, of, (RawFile(path, path.name, date(2025, 6, 1)),))
    check_readable(rows, of)
    assert rows.where(rows.problem == HEADER_AGAIN).count() == 23
    assert rows.where(rows.problem.isNull()).count() == 24


def test_a_header_may_have_line_breaks_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'"id\n(of the shop)","price\r\n\r\n, in EUR",text\r\n1,2,a\r\n2,3,b\r\n')
    assert read(path, source("csv", ("id\n(of the shop)", "text"), multiline=True)) == [
        (5, ["1", "a"], None),
        (6, ["2", "b"], None),
    ]
    assert refusal(path, source("csv", ("text",))) == f"its header has {LINE_BREAK}"
    path.write_text('id,"te"xt\n1,a\n')
    assert refusal(path, source("csv", multiline=True)) == (
        "its header cannot be decoded: a quote is not closed or not escaped"
    )


def test_what_cannot_be_seen_around_a_name_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\u00a0id , \u200btext\ufeff\t\n1,a\n")
    assert read(path, source("csv")) == [(2, ["1", "a"], None)]
    path.write_text("id,gro\u0308\u00dfe\n1,a\n")
    for name in ("gr\u00f6\u00dfe", "gro\u0308\u00dfe"):  # a letter and its dots are one letter
        assert read(path, source("csv", ("id", name))) == [(2, ["1", "a"], None)]
    path.write_text("\u200bid,\u200bid\n1,a\n")
    assert refusal(path, source("csv", ("id",))) == "its header names id twice"


@pytest.mark.parametrize("first", ["sep=;", "SEP=;\r", '\ufeff"sep=;"'])
def test_a_line_that_says_the_separator_to_excel_is_skipped(tmp_path: Path, first: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{first}\nid;text\n1;a\n", newline="")
    assert read(path, source("csv", separator=";")) == [(3, ["1", "a"], None)]
    assert refusal(path, source("csv")) == (
        f'its first line says {first.strip(chr(0xFEFF) + chr(13))}; separator = ";" reads it'
    )
    path.write_text("sep=;\n")
    assert read(path, source("csv", separator=";")) == []


def test_headers_are_not_among_the_rows_of_which_one_must_be_good(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\nid,text\n7\nid,text\n")
    assert refusal(path, source("csv")) == (
        "its only row cannot be decoded; the first is line 3: expected 2 fields, found 1"
    )
