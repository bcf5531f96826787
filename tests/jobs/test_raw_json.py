from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.raw_row import MAX_LINE
from tests.jobs.reading import read, refusal, source


def test_objects_side_by_side_on_a_line_are_rows_with_places_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"id": 1, "text": "a"}{"id": 2, "text": "b"} {"id": 3}\n\n{"id": 4}\n')
    assert read(path, source("jsonl")) == [
        (1, ["1", "a"], None),
        (2, ["2", "b"], None),
        (3, ["3", None], None),
        (5, ["4", None], None),
    ]


def test_a_broken_object_among_others_on_a_line_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"id":1,"text":"a"}{"id":oops}{"id":3}{"id":4,"id":5}{"id":6}{"id":')
    assert [(line, problem) for line, _, problem in read(path, source("jsonl"))] == [
        (1, None),
        (2, "not valid JSON"),
        (3, None),
        (4, "a JSON key is there twice"),
        (5, None),
        (6, "the file ends in the middle of this line: was it cut off?"),
    ]


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_objects_side_by_side_are_read_beyond_the_longest_line(
    tmp_path: Path, format_: str
) -> None:
    path = tmp_path / "a"
    one = '{"id": %d, "text": "' + "é" * 5000 + '"}'
    n = MAX_LINE // 8000
    path.write_text("".join(one % i for i in range(n)) + '\n{"id": "last", "text": null}\n')
    rows = read(path, source(format_))
    assert [fields[0] for _, fields, _ in rows if fields] == [*map(str, range(n)), "last"]
    assert [line for line, _, _ in rows] == list(range(1, n + 2))


@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_that_is_one_array_is_read_element_by_element(
    tmp_path: Path, indent: int | None
) -> None:
    path = tmp_path / "a"
    records = [{"id": i, "text": f"a}},{{ {i}"} for i in range(2000)]
    path.write_text(json.dumps(records, indent=indent))
    assert read(path, source("json")) == [
        (i + 1, [str(i), f"a}},{{ {i}"], None) for i in range(2000)
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        (" [ ] ", []),
        ('{\n "id": 1,\n "text": "a"\n}\n{"id": 2}', [(1, ["1", "a"], None), (2, ["2", None], None)]),
        (
            '[{"id": 1, "text": "a"}, {"id": oops}, {"id": 3}, 7, {"id": 5}]',
            [
                (1, ["1", "a"], None),
                (2, None, "not valid JSON"),
                (3, ["3", None], None),
                (4, None, "not a JSON object"),
                (5, ["5", None], None),
            ],
        ),
    ],
)  # fmt: skip
def test_elements_of_an_array_are_rows_or_problems(
    tmp_path: Path, text: str, rows: list[object]
) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    assert read(path, source("json")) == rows


@pytest.mark.parametrize(
    ("format_", "text", "why"),
    [
        ("json", '[{"id": 1, "text": "a"}, {"id": 2}', "its array is never closed: the file is cut off"),
        ("json", "<html></html>", "is no JSON: it looks like an HTML page"),
        (
            "jsonl",
            '[{"id": 1, "text": "a"}, {"id": 2}]',
            'its only row cannot be decoded; it looks like one JSON array; format = "json" reads it; '
            "the first is line 1: not a JSON object",
        ),
        (
            "jsonl",
            '[\n{"id": 1, "text": "a"},\n{"id": 2, "text": "b"}\n]',
            '3 of 4 rows cannot be decoded; it looks like one JSON array; format = "json" reads it; '
            "the first is line 1: not valid JSON",
        ),
        (
            "jsonl",
            '{\n  "id": 1\n}',
            "none of its 3 rows can be decoded; it looks like JSON that is spread over lines; "
            'format = "json" reads it; the first is line 1: not valid JSON',
        ),
        (
            "csv",
            '{"id": 1}\n{"id": 2}\n',
            "its header cannot be decoded: a quote is not closed or not escaped; it looks like JSON "
            'lines; format = "jsonl" reads them',
        ),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_told_with_the_setting_that_reads_it(
    tmp_path: Path, format_: str, text: str, why: str
) -> None:
    path = tmp_path / "a"
    path.write_text(text)
    assert refusal(path, source(format_)) == why


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_a_key_that_no_row_of_a_file_has_is_told_unless_the_source_allows_it(
    tmp_path: Path, format_: str
) -> None:
    path = tmp_path / "a"
    path.write_text('{"u": {"id": 1, "name": "x"}, "countryCode": "DE"}\n{"u": {"id": 2}}\n')
    of = source(format_, ("u.id", "u.mail", "country"))
    assert refusal(path, of) == (
        "no row has the key country, u.mail; the keys there are countryCode, u, u.id, u.name; if "
        'rows may lack it, say missing_key = "null" in the mapping'
    )
    allowed = source(format_, ("u.id", "u.mail", "country"), missing_key="null")
    assert read(path, allowed) == [(1, ["1", None, None], None), (2, ["2", None, None], None)]
    path.write_text('{"u.id": 3, "u": {"mail": null}, "country": null}\n')
    assert read(path, of) == [(1, ["3", None, None], None)]
    path.write_text("\n")
    assert read(path, of) == []


def test_numbers_within_a_value_are_as_the_file_writes_them(tmp_path: Path) -> None:
    """In quotes, `from_json(…, 'struct<qty int>')` would find nothing."""
    path = tmp_path / "log.jsonl"
    inner = '{"a": [1, 2.50, 12345678901234567890, -1e400], "b": {"c": "2.50", "d": true}}'
    deep = "[" * 700 + "]" * 700
    path.write_text(f'{{"id": 7, "text": {inner}}}\n{{"id": 8, "text": {deep}}}\n')
    assert read(path, source("jsonl")) == [
        (1, ["7", inner], None),
        (2, None, "JSON nested too deep"),
    ]


def test_a_very_long_line_without_an_object_is_a_line_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    one, two = b'{"id": 1, "text": "a"}\n', b'{"id": 2, "text": "b"}\n'
    path.write_bytes(one + b" " * (MAX_LINE + 1_000_000) + b"\n" + two)
    assert read(path, source("jsonl")) == [(1, ["1", "a"], None), (3, ["2", "b"], None)]


def test_a_byte_order_mark_between_joined_files_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 1, "text": "a"}\n\xef\xbb\xbf\n\xef\xbb\xbf{"id": 2, "text": "b"}\n')
    assert read(path, source("jsonl")) == [(1, ["1", "a"], None), (3, ["2", "b"], None)]
