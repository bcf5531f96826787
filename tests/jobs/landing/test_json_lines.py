"""JSON lines that are not quite: commas and marks between objects, arrays of them, absent keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.landing.json_rows import BY_COLUMNS, NOT_JSON
from tests.jobs.landing.reading import read, refusal, source

ONE, TWO, THREE = (f'{{"id": {i}, "text": "{t}"}}' for i, t in enumerate("abc", start=1))
ROWS = [(1, ["1", "a"], None), (2, ["2", "b"], None), (3, ["3", "c"], None)]


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE},\n{TWO},\n{THREE},\n",  # what is inside of an array
        f"{ONE},\r\n{TWO},\r\n{THREE}\r\n",
        f"{ONE}, {TWO} ,{THREE}",
        f"{ONE}\n{TWO},{THREE}\n",
        f"\x1e{ONE}\n\x1e{TWO}\n\x1e{THREE}\n",  # a JSON text sequence
        f"\ufeff{ONE},{TWO}\n\x1e{THREE}",
    ],
)
def test_commas_and_marks_between_objects_of_a_line_are_no_part_of_them(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text, newline="")
    assert read(path, source("jsonl")) == ROWS


def test_an_object_that_lost_a_bracket_is_no_row_with_a_key_too_few(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{ONE}\n{{"id": 2, "text": "b"}}, "at": 3}}\n{THREE}\n')
    assert read(path, source("jsonl")) == [ROWS[0], (2, None, NOT_JSON), ROWS[2]]


def test_hundreds_of_objects_on_one_line_among_others_are_hundreds_of_rows(tmp_path: Path) -> None:
    """Short as they are: one bad row more would stop no run."""
    path = tmp_path / "a.jsonl"
    path.write_text(f"{ONE}\n" + ",".join([TWO] * 300) + f"\n{THREE}\n")
    assert [row[0] for row in read(path, source("jsonl"))] == list(range(1, 303))
    path.write_text(f"{ONE}\n[" + ",".join([TWO] * 300) + f"]\n{THREE}\n")
    assert refusal(path, source("jsonl")) == (
        "line 2 is an array of 300 values, where JSON lines have one object on each: write each on a "
        "line of its own"
    )
    path.write_text(f'{ONE}\n["a", "b"]\n{THREE}\n')
    assert read(path, source("jsonl"))[1] == (2, None, "not a JSON object")


def test_a_broken_object_between_commas_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    broken = ONE.replace("1", "NaN")
    for text in (f"{ONE},{broken},{THREE}", f"{ONE},\n{broken},\n{THREE},\n"):
        path.write_text(text)
        assert read(path, source("jsonl")) == [
            ROWS[0],
            (2, None, "NaN is no JSON value"),
            ROWS[2],
        ]
    path.write_text(f"{ONE},{TWO}] {THREE}\n{THREE}\n")
    assert read(path, source("jsonl")) == [
        *ROWS[:2],
        (3, None, NOT_JSON),
        (4, ["3", "c"], None),
    ]


def test_a_file_that_is_an_array_is_not_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("[" + ",\n".join([ONE] * 30) + "]")
    assert refusal(path, source("jsonl")) == (
        'none of its 30 rows can be decoded; it looks like one JSON array; format = "json" reads it; '
        "the first is line 1: not valid JSON"
    )


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_a_null_says_nothing_of_the_keys_below_it(tmp_path: Path, format_: str) -> None:
    """On a day on which nobody had a coupon no key was renamed."""
    path = tmp_path / "a"
    of = source(format_, ("id", "coupon.code"))
    path.write_text('{"id": 1, "coupon": null}\n{"id": 2, "coupon": null}\n')
    assert read(path, of) == [(1, ["1", None], None), (2, ["2", None], None)]
    path.write_text('{"id": 1, "coupon": null}\n{"id": 2, "coupon": {"name": "x"}}\n')
    assert (refusal(path, of) or "").startswith(
        "no row has the key coupon.code; the keys there are "
    )


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_keys_may_be_missing_but_not_all_of_them(tmp_path: Path, format_: str) -> None:
    """What a server says instead of a file is no row, as in Parquet."""
    path = tmp_path / "a"
    of = source(format_, missing_key="null")
    path.write_text(json.dumps({"error": "unauthorized"}))
    assert refusal(path, of) == "no row has any of the keys id, text; the keys there are aaaaa"
    path.write_text('{"error": "x"}\n{"text": null}\n')
    assert read(path, of) == [(1, [None, None], None), (2, [None, None], None)]
    path.write_text("\n")
    assert read(path, of) == []


@pytest.mark.parametrize("format_", ["jsonl", "json"])
@pytest.mark.parametrize("missing_key", ["stop", "null"])
def test_a_table_column_by_column_is_not_one_row(
    tmp_path: Path, format_: str, missing_key: str
) -> None:
    path = tmp_path / "a"
    of = source(format_, missing_key=missing_key)
    for table in (
        {"id": {"0": 1, "1": 2}, "text": {"0": "a", "1": "b"}},
        {"id": [1, 2], "text": ["a", "b"], "more": 7},
    ):
        path.write_text(json.dumps(table))
        assert refusal(path, of) == BY_COLUMNS
    assert BY_COLUMNS == (
        "is a table column by column, as to_json() of pandas writes it; orient = 'records' writes rows"
    )
    path.write_text('{"id": 1, "text": ["a", "b"]}')
    assert read(path, of) == [(1, ["1", '["a", "b"]'], None)]
