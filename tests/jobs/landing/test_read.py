from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.landing import read as rawfiles
from jobs.landing.lines import RawBytes
from jobs.landing.read import _OF_BYTES, WHOLE_FILE, raw_rows, reader
from jobs.mapping.raw_row import Row
from jobs.mapping.sources import Source


def source(format_: str, **given) -> Source:
    return Source("s", "x", format_, ("id", "text"), (), **given)


def read(path: Path, source_: Source):
    return [(r.line, r.fields, r.problem) for r in raw_rows(path, source_)]


def test_json_lines_are_read_strictly_and_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"id": 1.10, "text": "a\\u00e9", "more": [1]}\n'
        b"\n"  # a blank line is no row
        b'{"id": true, "text": {"k": [1, null]}}\r\n'
        b'{"id": 1} trailing\n'
        b'{"id": 1, "id": 2}\n'
        b'{"id": NaN}\n'
        b"[1]\n"
        b'{"text": "caf\xe9"}\n'
        b'{"id": "cut'
    )
    assert read(path, source("jsonl")) == [
        (1, ["1.10", "aé"], None),
        (3, ["true", '{"k": [1, null]}'], None),
        (4, None, "not valid JSON"),
        (5, None, "a JSON key is there twice"),
        (6, None, "NaN is no JSON value"),
        (7, None, "not a JSON object"),
        (8, None, "not valid utf-8"),
        (9, None, "the file ends in the middle of this line: was it cut off?"),
    ]


@pytest.mark.parametrize(
    ("loses", "counted"),
    [
        (lambda rows: (row for row in rows if row.line != 3), "12 are in rows"),
        (lambda rows: (row for one in rows for row in [one] * (1 + (one.line == 3))), "20 are in rows"),
    ],
    ids=["loses", "repeats"],
)  # fmt: skip
def test_a_reader_that_loses_a_line_or_tells_it_twice_is_found_out(
    tmp_path: Path, monkeypatch, loses, counted: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,a\n2,b\n3,c\n4,d\n")
    csv_rows = rawfiles._OF_BYTES["csv"]
    monkeypatch.setitem(
        rawfiles._OF_BYTES, "csv", lambda data, source: loses(csv_rows(data, source))
    )
    assert read(path, source("csv"))[-1] == (
        0,
        None,
        f"has 24 bytes, of which {counted} and 8 in none: its reader has a fault, please report it",
    )


def test_nested_json_is_reached_by_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"user": {"id": 7}}\n{"user": 3}\n')
    nested = Source("s", "x", "jsonl", ("user.id",), ())
    assert read(path, nested) == [(1, ["7"], None), (2, [None], None)]


def test_csv_columns_are_found_by_the_header_and_bad_lines_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,other,id\n"a ""b"", c",x,1\nno,2\n"open,x,3\n,x,4\nok,"x"y,5\n')
    assert read(path, source("csv")) == [
        (2, ["1", 'a "b", c'], None),
        (3, None, "expected 3 fields, found 2"),
        (4, None, "a quote is not closed or not escaped"),
        (5, ["4", None], None),
        (6, None, "a quote is not closed or not escaped"),
    ]


def test_a_quoted_record_may_span_lines_where_the_mapping_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"two\nlines"\n2,b\n')
    assert read(path, source("csv", multiline=True)) == [
        (2, ["1", "two\nlines"], None),
        (4, ["2", "b"], None),
    ]


def test_a_quote_that_is_never_closed_costs_one_line_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"open\n2,b\n3,c\n')
    assert read(path, source("csv", multiline=True)) == [
        (2, None, "a quote is not closed or not escaped"),
        (3, ["2", "b"], None),
        (4, ["3", "c"], None),
    ]


def test_a_csv_without_a_header_is_read_by_position(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("1;caf\xe9\n".encode("latin-1"))
    latin = source("csv", header=False, separator=";", encoding="latin-1")
    assert read(path, latin) == [(1, ["1", "café"], None)]


def test_a_missing_column_is_told_for_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,txt\n1,a\n")
    assert read(path, source("csv")) == [
        (
            WHOLE_FILE,
            None,
            "no column text; its first line has id, and besides cells such as aaa; if that is no "
            "header, say header = false and name all columns in order",
        )
    ]


def test_gzip_files_that_are_cut_or_damaged_are_told_apart(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(f'{{"id": {i}}}' for i in range(5000)).encode())
    cut, damaged, none, empty = (tmp_path / f"{n}.gz" for n in ("cut", "damaged", "none", "empty"))
    cut.write_bytes(whole[: len(whole) // 2])
    damaged.write_bytes(whole[:-8] + b"\0\0\0\0" + whole[-4:])
    none.write_bytes(b'{"id": 1}\n')
    empty.write_bytes(b"")
    problems = {p.stem: read(p, source("jsonl"))[-1] for p in (cut, damaged, none, empty)}
    assert problems["cut"] == (WHOLE_FILE, None, "the gzip stream is truncated")
    assert problems["damaged"][2].startswith("the gzip stream is corrupt: CRC check failed")
    assert problems["none"][2] == "is named .gz but is no gzip stream: it looks like JSON lines"
    assert problems["empty"][2].startswith("is empty")


def test_parquet_values_come_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1, 2], "text": ["a", None], "z": [0.5, 1]}), path)
    assert read(path, source("parquet")) == [(1, ["1", "a"], None), (2, ["2", None], None)]
    assert read(path, Source("s", "x", "parquet", ("gone",), ())) == [
        (WHOLE_FILE, None, "no column gone; its schema has id, text, z")
    ]
    path.write_bytes(b"PAR1 nonsense PAR1")
    assert read(path, source("parquet"))[0][2].startswith("not a Parquet file that can be read")


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_mutated_files_never_crash_and_lose_no_line(tmp_path: Path, format_: str) -> None:
    """Seeded mutations of good lines: each non-blank line comes out exactly once."""
    rng = random.Random(7)
    path = tmp_path / f"a.{format_}"
    plain = source(format_, header=False) if format_ == "csv" else source(format_)
    good = [
        b'{"id": "%d", "text": "w\xc3\xa9 \\" x"}' % i
        if format_ == "jsonl"
        else b'%d,"a ""q"", b"' % i
        for i in range(20)
    ]
    for _ in range(300):
        lines = [bytearray(line) for line in good]
        for _ in range(rng.randint(1, 12)):
            line = rng.choice(lines)
            place = rng.randrange(len(line) + 1)
            change = rng.choice(["cut", "byte", "insert"])
            if change == "cut":
                del line[place:]
            elif change == "byte" and place < len(line):
                line[place] = rng.choice([b for b in range(256) if b not in (10, 13)])
            else:
                line[place:place] = rng.choice([b'"', b",", b"\\", b"\xff", b"{", b"\0"])
        path.write_bytes(b"\n".join(lines))
        not_blank = [
            i
            for i, line in enumerate(path.read_bytes().split(b"\n"), 1)
            if line.strip(b" \t\r\n\x0b\x0c")
        ]
        rows = [r for r in raw_rows(path, plain) if r.line != WHOLE_FILE]
        if format_ == "csv":
            assert [r.line for r in rows] == not_blank
        else:  # where an object may have become two
            assert len({r.line for r in rows}) == len(rows) >= len(not_blank)
        assert all((r.fields is None) != (r.problem is None) for r in rows)


def test_an_unexpected_error_of_a_reader_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no value, of which the error's own text may be full; other files are read."""

    def rows(data: RawBytes, source: object) -> Iterator[Row]:
        yield Row(1, "", ["1", "a"], None, len(data.read()))
        if values:
            raise OverflowError(values.pop())

    values = ["ann@example.com"]
    monkeypatch.setitem(_OF_BYTES, "csv", rows)
    for name in ("a", "b"):
        (tmp_path / name).write_text("id,text\n")
    entries = [
        {"path": str(tmp_path / name), "file": name, "landed_on": None} for name in ("a", "b")
    ]
    read_batches = reader(source("csv"))([pa.RecordBatch.from_pylist(entries)])
    landed = [row for batch in read_batches for row in batch.to_pylist()]
    (problem,) = [row["problem"] for row in landed if row["file"] == "a" and row["line"] == 0]
    assert re.sub(r"\d+$", "N", problem) == (
        "its reader has a fault, please report it: OverflowError in landing/read.py:N"
    )
    assert [row["line"] for row in landed if row["file"] == "b"] == [1]
