"""What messages say of the names and first lines of files: people are in none of them."""

from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.mapping.columns import header_places, listed
from jobs.mapping.raw_row import UnreadableError
from tests.jobs.landing.reading import refusal, source

PERSON = ("ann@example.com", "Ann Miller", "+49 30 1234567")
EXPECTED = ("user_id", "name", "phone")


def why_refused(columns: tuple[str, ...], names: tuple[str, ...]) -> str:
    with pytest.raises(UnreadableError) as error:
        header_places(columns, names)
    return str(error.value)


def test_a_row_that_stands_where_the_header_should_is_told_by_its_shape_alone(
    tmp_path: Path,
) -> None:
    message = (
        "no column user_id, name, phone; its first line has none of them, but cells such as "
        "aaa@aaaaaaa.aaa, aaa aaaaaa, +99 99 9999999; if that is no header, say header = false "
        "and name all columns in order"
    )
    path = tmp_path / "a.csv"
    path.write_text(",".join(PERSON) + "\n")
    assert refusal(path, source("csv", EXPECTED)) == message
    book = openpyxl.Workbook()
    book.active.append(PERSON)
    book.save(tmp_path / "a.xlsx")
    assert refusal(tmp_path / "a.xlsx", source("xlsx", EXPECTED)) == message


def test_names_beside_most_that_the_mapping_names_are_told_unless_they_look_like_data() -> None:
    names = ("id", "WHO", "Größe (cm)", "user.name", "", "ann@example.com", "+49 30 1234567")
    assert why_refused(("id", "who", "day"), names) == (
        "no column who, day; its header has id, WHO, Größe (cm), user.name, aaa@aaaaaaa.aaa, "
        "+99 99 9999999"
    )
    assert why_refused(("id", "who"), ("id", "")) == "no column who; its header has id"
    assert listed(["utm_source_2", "u12345", "7", "x" * 41, "a\nb", "日本"]) == (
        f"utm_source_2, a99999, 9, {'a' * 39}…, a?a, 日本"
    )


def test_a_person_beside_a_name_of_the_mapping_is_told_by_its_shape(tmp_path: Path) -> None:
    """One cell may be such a name by chance: a row is not taken for a header for that."""
    message = (
        "no column city; its first line has id, and besides cells such as aaa.aaaaaa, aaaa aaaaa "
        "aaaaaa, aaaaaa; if that is no header, say header = false and name all columns in order"
    )
    path, cells = tmp_path / "a.csv", ("id", "ann.miller", "Anna Maria Muster", "Berlin")
    path.write_text(",".join(cells) + "\n")
    assert refusal(path, source("csv", ("id", "city"))) == message
    book = openpyxl.Workbook()
    book.active.append(cells)
    book.save(tmp_path / "a.xlsx")
    assert refusal(tmp_path / "a.xlsx", source("xlsx", ("id", "city"))) == message


def test_a_header_with_another_separator_can_be_recognized() -> None:
    assert why_refused(("id", "name"), ("id;name;x",)) == (
        "no column id, name; its first line has none of them, but cells such as aa;aaaa;a; if that "
        "is no header, say header = false and name all columns in order"
    )
    assert why_refused(("id",), ("9",) * 30).startswith(
        "no column id; its first line has none of them, but 30 cells, such as 9, 9, "
    )


def test_a_column_that_is_there_twice_is_named_in_every_format(tmp_path: Path) -> None:
    assert header_places(("b", "a"), (" a ", "x", "b", "x")) == [2, 0]
    assert why_refused(("a", "b"), ("b", "a", "a", "b")) == "its header names a, b twice"
    path = tmp_path / "a"
    two = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["id", "id"])
    pq.write_table(two, path)
    assert refusal(path, source("parquet", ("id",))) == "its schema names id twice"


def test_columns_of_parquet_that_look_like_data_are_told_by_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"day": [1], "ann@example.com": [2]}), path)
    assert refusal(path, source("parquet", ("id",))) == (
        "no column id; its schema has day, aaa@aaaaaaa.aaa"
    )


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_objects_that_are_keyed_by_people_name_none_of_them(tmp_path: Path, format_: str) -> None:
    path = tmp_path / "a"
    rows = [
        {"user": 1, "at": "x", "scores": {"ann": 1, "bob@example.com": 2}},
        {"user": 2, "at": "y", "scores": {"cem": 1}, "note": "z"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert refusal(path, source(format_, ("id", "scores.total"))) == (
        "no row has the key id, scores.total; the keys there are at, note, scores, user, "
        "scores.aaa, scores.aaa@aaaaaaa.aaa, scores.aaa; if rows may lack it, say missing_key = "
        '"null" in the mapping'
    )
