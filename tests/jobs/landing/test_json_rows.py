"""from __future__ import annotations"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from decimal import Context, Decimal
from pathlib import Path

import pytest

from jobs.mapping.raw_row import MAX_LINE, hash_of_pieces
from jobs.values.json_values import MAX_DIGITS, as_whole
from tests.conftest import REPOSITORY
from tests.jobs.landing.reading import read, refusal, source
from tests.jobs.values.odd_numbers import NOT_WHOLE, WHOLE, odd_number


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


def test_numbers_within_a_value_keep_their_digits(tmp_path: Path) -> None:
    """In quotes, `from_json(…, 'struct<qty int>')` would find nothing."""
    path = tmp_path / "log.jsonl"
    inner = '{"a": [1, 2.50, 12345678901234567890, -1e400], "b": {"c": "2.50", "d": true}}'
    deep = "[" * 700 + "]" * 700
    path.write_text(f'{{"id": 7, "text": {inner}}}\n{{"id": 8, "text": {deep}}}\n')
    assert read(path, source("jsonl")) == [
        (1, ["7", inner], None),
        (2, None, "JSON nested too deep"),
    ]


@pytest.mark.parametrize(("format_", "layout"), [("json", ("[", "]")), ("jsonl", ("", ""))])
def test_a_whole_number_arrives_as_one_however_it_is_written_and_a_text_as_it_is(
    tmp_path: Path, format_: str, layout: tuple[str, str]
) -> None:
    """Ids of a column that has a null are written as 123.0, and elsewhere as 123."""
    path, (opening, closing) = tmp_path / "a", layout
    for written, arrives in (WHOLE | {text: text for text in NOT_WHOLE}).items():
        inner = '{"ids": [%s, "%s", true]}' % (written, written)  # noqa: UP031
        path.write_text(f'{opening}{{"id": {written}, "text": {inner}}}{closing}')
        assert read(path, source(format_)) == [
            (1, [arrives, inner.replace(f"[{written}", f"[{arrives}")], None)
        ]
        path.write_text(f'{opening}{{"id": "{written}", "text": null}}{closing}')
        assert read(path, source(format_)) == [(1, [written, None], None)]


def test_numbers_arrive_as_the_whole_numbers_that_decimal_arithmetic_finds() -> None:
    rng, context, n_whole = random.Random(6), Context(prec=1000), 0
    for text in (odd_number(rng) for _ in range(20_000)):
        number = context.create_decimal(text)
        whole = number.to_integral_value(context=context)
        digits = format(whole, "f").lstrip("-").lstrip("0") or "0"
        is_short = "e" not in text.lower() or len(digits) <= MAX_DIGITS
        is_whole = number == whole and is_short
        expected = ("-" if number < 0 else "") + digits if is_whole else text
        assert as_whole(text) == expected
        assert Decimal(expected) == number
        n_whole += expected != text
    assert n_whole > 5000


def test_a_very_long_line_without_an_object_is_a_line_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    one, two = b'{"id": 1, "text": "a"}\n', b'{"id": 2, "text": "b"}\n'
    path.write_bytes(one + b" " * (MAX_LINE + 1_000_000) + b"\n" + two)
    assert read(path, source("jsonl")) == [(1, ["1", "a"], None), (3, ["2", "b"], None)]


def test_a_byte_order_mark_between_joined_files_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 1, "text": "a"}\n\xef\xbb\xbf\n\xef\xbb\xbf{"id": 2, "text": "b"}\n')
    assert read(path, source("jsonl")) == [(1, ["1", "a"], None), (3, ["2", "b"], None)]


@pytest.mark.parametrize("between", [",", ""])
def test_an_object_of_more_than_the_longest_line_is_quarantined_in_bounded_memory(
    tmp_path: Path, between: str
) -> None:
    """160 MB, read by a process that may have 250 MB of addresses more than it starts with."""
    path = tmp_path / "a"
    start, piece, n = (
        b'{"id": 2, "text": [{"id": 3, "text": "',
        b'\\"}, {\\\\' * 100_000,
        200 if between else 30,
    )
    end = b'"}, {"id": 4}]}'
    with path.open("wb") as stream:
        stream.write((b"[" if between else b"") + b'{"id": 1}' + between.encode() + start)
        for _ in range(n):
            stream.write(piece)
        stream.write(end + between.encode() + b'{"id": 5}' + (b"]" if between else b""))
    program = f"""
import resource
from pathlib import Path
from jobs.landing.read import raw_rows
from jobs.mapping.sources import Source
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 250_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
of = Source("s", "x", "json", ("id", ), ())
for row in raw_rows(Path({str(path)!r}), of):
    print(row.line, row.fields, row.problem, row.row_hash, row.n_bytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    path.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    n_bytes = len(start) + n * len(piece) + len(end) + len(between)
    hashed = hash_of_pieces([start, *[piece] * n, end])
    one, long, five = done.stdout.splitlines()
    assert one.startswith("1 ['1'] None")
    assert five.startswith("3 ['5'] None")
    assert long == (f"2 None too long: an object of more than 16,777,216 bytes {hashed} {n_bytes}")
