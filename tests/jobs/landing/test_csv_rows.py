"""CSV: quotes, separators, line ends and limits; each row stands for its own bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.landing.csv_rows import LINE_BREAK, STRAY_QUOTE
from jobs.landing.read import raw_rows
from jobs.mapping.raw_row import LONG_CELL, LONG_LINE, MAX_CELL, MAX_LINE, row_hash
from tests.conftest import REPOSITORY
from tests.jobs.landing.reading import read, refusal, source


@pytest.mark.parametrize("multiline", [True, False])
def test_each_stray_quote_costs_its_own_row(tmp_path: Path, multiline: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "".join(
            f"{i},TV{' 40' if i in (1, 9) else ''}{chr(34) * (i in (1, 9))},x\n"
            for i in range(1, 11)
        )
    )
    of = source("csv", ("id", "item", "rest"), header=False, multiline=multiline)
    assert read(path, of) == [
        (i, None, STRAY_QUOTE) if i in (1, 9) else (i, [str(i), "TV", "x"], None)
        for i in range(1, 11)
    ]


def test_rows_between_two_cells_with_a_stray_quote_at_their_edge_are_no_text_of_a_cell(
    tmp_path: Path,
) -> None:
    """The quote of line 2 opens a cell and that of line 6 closes one: as CSV they are one record."""
    path = tmp_path / "a.csv"
    path.write_text('id,a,b,c\n1,"TV 40,x,y\n2,b,x,y\n3,b,x,y\n4,b,x,y\n5,TV 50",x,y\n6,b,x,y\n')
    of = source("csv", ("id", "a", "b", "c"), multiline=True)
    assert [(line, problem) for line, _, problem in read(path, of)] == [
        (2, STRAY_QUOTE), (3, None), (4, None), (5, None), (6, STRAY_QUOTE), (7, None),
    ]  # fmt: skip


def test_a_joined_record_of_the_wrong_width_is_given_back_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('1,"two\nlines",too many\n2,b\n')
    assert read(path, source("csv", header=False, multiline=True)) == [
        (1, None, STRAY_QUOTE),
        (2, None, STRAY_QUOTE),
        (3, ["2", "b"], None),
    ]


def test_without_multiline_no_part_of_a_record_with_a_line_break_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"one\nhello, world\nlines"\n2,b\n')
    assert read(path, source("csv")) == [
        (2, None, LINE_BREAK),
        (3, None, LINE_BREAK),
        (4, None, LINE_BREAK),
        (5, ["2", "b"], None),
    ]
    assert LINE_BREAK == "a cell with a line break; multiline = true reads it"
    assert read(path, source("csv", multiline=True)) == [
        (2, ["1", "one\nhello, world\nlines"], None),
        (5, ["2", "b"], None),
    ]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_cell_of_several_lines_is_kept_as_it_is(
    tmp_path: Path, header: bool, mark: bytes
) -> None:
    """With blank lines and whatever ends its lines; between rows a blank line is none."""
    path = tmp_path / "a.csv"
    rows = b'1,"para 1\n\n \t\npara 2\n"\n\n2,"a\r\n\r\nb\r\r\n"\r\n\r\n3,"\n\nc"\n \n4,d\n'
    path.write_bytes(mark + (b"id,text\n" if header else b"") + rows)
    of, n = source("csv", header=header, multiline=True), int(header)
    assert read(path, of) == [
        (n + 1, ["1", "para 1\n\n \t\npara 2\n"], None),
        (n + 7, ["2", "a\r\n\r\nb\r\r\n"], None),
        (n + 12, ["3", "\n\nc"], None),
        (n + 16, ["4", "d"], None),
    ]
    path.write_bytes(path.read_bytes().decode("utf-8-sig").encode("utf-16"))
    assert [row[1] for row in read(path, replace(of, encoding="utf-16"))] == [
        ["1", "para 1\n\n \t\npara 2\n"], ["2", "a\r\n\r\nb\r\r\n"], ["3", "\n\nc"], ["4", "d"],
    ]  # fmt: skip


def test_blank_lines_behind_a_quote_that_is_never_closed_are_in_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"open\n\n2,b\n\n\n3,c\n')
    assert read(path, source("csv", multiline=True)) == [
        (2, None, STRAY_QUOTE),
        (4, ["2", "b"], None),
        (7, ["3", "c"], None),
    ]


def test_blank_lines_do_not_make_one_cell_of_rows_between_two_stray_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,a,b,c\n1,"TV 40,x,y\n\n2,b,x,y\n\n5,TV 50",x,y\n6,b,x,y\n')
    of = source("csv", ("id", "a", "b", "c"), multiline=True)
    assert [(line, problem) for line, _, problem in read(path, of)] == [
        (2, STRAY_QUOTE), (4, None), (6, STRAY_QUOTE), (7, None),
    ]  # fmt: skip


def test_blanks_may_stand_around_quotes_and_odd_line_ends_within(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('1, "a, b" \n2,"c ""d"""\n3,x\u2028y\n"4",x\u2028y\n', newline="")
    assert read(path, source("csv", header=False)) == [
        (1, ["1", "a, b"], None),
        (2, ["2", 'c "d"'], None),
        (3, ["3", "x\u2028y"], None),
        (4, ["4", "x\u2028y"], None),
    ]


@pytest.mark.parametrize(
    ("separator", "text"),
    [
        ("::", '1::a:b\n"2"::"c::d"\n'),
        ("whitespace", '  1 \t a:b\n"2"   "c::d" \n'),
        ("\t", '1\ta:b\n"2"\t"c::d"\n'),
        ("|", '1|a:b\n"2"|"c::d"\n'),
    ],
)
def test_a_separator_may_be_any_text_or_runs_of_blanks(
    tmp_path: Path, separator: str, text: str
) -> None:
    path = tmp_path / "without-suffix"
    path.write_text(text)
    assert read(path, source("csv", header=False, separator=separator)) == [
        (1, ["1", "a:b"], None),
        (2, ["2", "c::d"], None),
    ]


@pytest.mark.parametrize("separator", ["\t", ";"])
@pytest.mark.parametrize("multiline", [True, False])
def test_a_row_of_empty_cells_is_a_row_whatever_separates_them(
    tmp_path: Path, separator: str, multiline: bool
) -> None:
    path = tmp_path / "a"
    rows = ["id;text", "1;a", ";", "", " ", ";;", '2;"open', ";", "3;b"]
    path.write_text("\n".join(rows).replace(";", separator))
    assert read(path, source("csv", separator=separator, multiline=multiline)) == [
        (2, ["1", "a"], None),
        (3, [None, None], None),
        (6, None, "expected 2 fields, found 3"),
        (7, None, STRAY_QUOTE),
        (8, [None, None], None),
        (9, ["3", "b"], None),
    ]


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("id,text\r1,Ann Miller\r2,b\r", {}),
        ('id,text\r1,"Ann, Miller"\r2,"b"\r', {"multiline": True}),
        ("id,text\r1,Ann Miller\n2,b\n", {}),
        ("1,a\r2,b", {"header": False}),
        ("a\rb\rc\r", {"header": False, "columns": ("id",)}),
        ("id,text\r" + "1,b\r" * (MAX_LINE // 3), {}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_whose_lines_end_in_cr_alone_is_told_as_such(
    tmp_path: Path, text: str, given: dict[str, Any], encoding: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(text.encode(encoding))
    assert refusal(path, source("csv", encoding=encoding, **given)) == (
        "a line of it ends in CR alone, as on old Macs, which ends no line here: write the file again "
        "with LF, such as by tr '\\r' '\\n'"
    )


def test_a_cr_within_a_row_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'id,text\r\n1,x\ry\r\n2,"x\r\ny"\r\n')
    rows = [["1", "x\ry"], ["2", "x\r\ny"]]
    assert [fields for _, fields, _ in read(path, source("csv", multiline=True))] == rows
    path.write_bytes(b'2,"x\ry"\n')
    assert read(path, source("csv", header=False)) == [(1, ["2", "x\ry"], None)]
    path.write_bytes(b'1,x\ry"\n2,b\n')
    assert [fields for _, fields, _ in read(path, source("csv", header=False))] == [
        None,
        ["2", "b"],
    ]
    path.write_bytes(b'2,"x\ry\n"\n')
    assert read(path, source("csv", header=False, multiline=True)) == [(1, ["2", "x\ry\n"], None)]


def test_without_a_quote_it_is_a_character_like_others(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('1\tTV 40"\n2\t"x\n')
    assert read(path, source("csv", header=False, separator="\t", quote="")) == [
        (1, ["1", 'TV 40"'], None),
        (2, ["2", '"x'], None),
    ]


@pytest.mark.parametrize("multiline", [True, False])
def test_a_cell_is_kept_up_to_a_megabyte_and_a_longer_one_is_told_as_such(
    tmp_path: Path, multiline: bool
) -> None:
    path, x = tmp_path / "a.csv", "x" * MAX_CELL
    path.write_text(f'1,"{x}"\n2,"{x}y"\n3,{x}\n4,{x}y\n5,b\n')
    of = source("csv", header=False, multiline=multiline)
    assert [(line, problem) for line, _, problem in read(path, of)] == [
        (1, None), (2, LONG_CELL), (3, None), (4, LONG_CELL), (5, None),
    ]  # fmt: skip
    assert LONG_CELL == "too long: a cell of more than 1,048,576 characters"


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_a_line_of_any_length_takes_bounded_memory(tmp_path: Path, format_: str) -> None:
    """600 MB on one line, read by a process that may have 500 MB of addresses more than it starts
    with; its hash is that of all its bytes."""
    path = tmp_path / "a"
    n = 600
    with path.open("wb") as stream:
        stream.write(b'{"id": 1, "text": "b"}\n' if format_ == "jsonl" else b"1,b\n")
        for _ in range(n):
            stream.write(b"x" * 1_000_000)
        stream.write(b'\n{"id": 2, "text": "c"}\n' if format_ == "jsonl" else b"\n2,c\n")
    program = f"""
import resource
from pathlib import Path
from jobs.landing.read import raw_rows
from jobs.mapping.sources import Source
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 500_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
of = Source("s", "x", {format_!r}, ("id", "text"), (), header=False)
for row in raw_rows(Path({str(path)!r}), of):
    print(row.line, row.fields, row.problem, row.row_hash)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    path.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    one, long, two = done.stdout.splitlines()
    assert one.startswith("1 ['1', 'b'] None")
    assert two.startswith("3 ['2', 'c'] None")
    assert long == f"2 None {LONG_LINE} {HASH_OF_600_MB}"


HASH_OF_600_MB = "07d1faee799b1a45eb98d9da86193cbc"


def test_the_line_after_a_line_that_is_too_long_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"1,a\n" + b"x" * (MAX_LINE + 5000) + b"\r\n2,b\n3,c\n")
    rows = list(raw_rows(path, source("csv", header=False)))
    assert [(r.line, r.problem) for r in rows] == [(1, None), (2, LONG_LINE), (3, None), (4, None)]
    assert rows[1].row_hash == row_hash(b"x" * (MAX_LINE + 5000) + b"\r")


def test_texts_that_mean_nothing_are_null_in_every_format(tmp_path: Path) -> None:
    path = tmp_path / "a"
    texts = ["", " ", "NULL", " null ", "\\N", "nan", "NaN", "None", "N/A", "#N/A"]
    kept = ["NA", "Null", "none", "-", " x "]
    path.write_text("".join(f"{i},{t}\n" for i, t in enumerate(texts + kept)))
    assert [f[1] for _, f, _ in read(path, source("csv", header=False)) if f] == [
        *[None] * len(texts), *kept,
    ]  # fmt: skip
    path.write_text("".join(json.dumps({"id": 1, "text": text}) + "\n" for text in texts + kept))
    assert [f[1] for _, f, _ in read(path, source("jsonl")) if f] == [*[None] * len(texts), *kept]
    only = source("csv", header=False, null_values=("", "-"))
    path.write_text("1,NULL\n2,\n3,-\n")
    assert [f[1] for _, f, _ in read(path, only) if f] == ["NULL", None, None]


def test_what_cannot_be_seen_around_a_text_that_means_nothing_does_not_count(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    texts = ["\u00a0NULL", "NULL\u200b", "\ufeff \u00a0", "N\u200bULL", "\u00a0x", "é"]
    expected = [None, None, None, "N\u200bULL", "\u00a0x", "é"]
    path.write_text("".join(f"1,{text}\n" for text in texts))
    assert [f[1] for _, f, _ in read(path, source("csv", header=False)) if f] == expected
    path.write_text("".join(json.dumps({"id": 1, "text": text}) + "\n" for text in texts))
    assert [f[1] for _, f, _ in read(path, source("jsonl")) if f] == expected


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff", "id,text\n", "\ufeffid,text\r\n\r\n"])
def test_a_file_without_rows_is_a_day_without_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, newline="")
    assert read(path, source("csv")) == []


def test_a_file_of_which_no_row_is_good_is_refused_however_short(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("<html>\n<body>503</body>\n</html>\n")
    assert refusal(path, source("jsonl")) == (
        "none of its 3 rows can be decoded; it looks like an HTML page; the first is line 1: not "
        "valid JSON"
    )
    path.write_text("1;b\n")
    assert refusal(path, source("csv", header=False)) == (
        "its only row cannot be decoded; it seems to have semicolons between cells; "
        'separator = ";" reads it; the first is line 1: expected 2 fields, found 1'
    )


def test_a_line_that_is_most_of_the_file_counts_as_the_rows_that_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1,b\n" * 100 + b"1,b," * 50_000 + b"\n")
    assert refusal(path, source("csv", header=False)) == (
        "200,001 of 200,401 bytes cannot be decoded, as much as 50,000 rows, more than "
        "max_undecodable_share = 0.01 allows; the first is line 101: expected 2 fields, found 100001"
    )


@pytest.mark.parametrize(
    ("content", "settings", "why"),
    [
        ("id,größe\n1,2\n".encode("latin-1"), {},
         'its header is not valid utf-8; encoding = "windows-1252" may read it'),
        (b"id,\x81\n1,2\n", {"encoding": "windows-1252"},
         'its header is not valid windows-1252; encoding = "latin-1" may read it'),
        (b"id,text\n1,\xf6\n2,\xe4\n", {},
         "none of its 2 rows can be decoded; the first is line 2: not valid utf-8; "
         'encoding = "windows-1252" may read it'),
        (b"id,text\n1,a\n", {"encoding": "utf-16"},
         'is no utf-16 with a byte-order mark: it looks like text in UTF-8; encoding = "utf-8" reads it'),
        (b"id,text\n1,a\n2,b", {"encoding": "utf-16-le"},
         "its header is not valid utf-16-le; it looks like text in UTF-8; "
         'encoding = "utf-8" reads it'),
        (b"id;text\n1;a\n", {},
         'its header seems to have semicolons between cells; separator = ";" reads it'),
        (b'"ID"\t"text"\t"a,b"\n1\ta\tb\n', {},
         'its header seems to have tabs between cells; separator = "\\t" reads it'),
        (b"id,text\n1,a\n", {"separator": ";"},
         'its header seems to have commas between cells; separator = "," reads it'),
        (b"id::text\n1::a\n", {"separator": "|"},
         'its header seems to have double colons between cells; separator = "::" reads it'),
        (b"id  text\n1   a\n", {},
         'its header seems to have blanks between cells; separator = "whitespace" reads it'),
        (b"7;ann\n8;bob\n", {},
         "no column id, text; its first line has none of them, but cells such as 9;aaa; if that is no "
         'header, say header = false and name all columns in order; it seems to have semicolons between '
         'cells; separator = ";" reads it'),
        (b"7|ann\n8|bob\n", {"header": False},
         "none of its 2 rows can be decoded; it seems to have bars between cells; separator = \"|\" reads "
         "it; the first is line 1: expected 2 fields, found 1"),
        (b"Not found\n10:00\n", {"header": False},
         "none of its 2 rows can be decoded; the first is line 1: expected 2 fields, found 1"),
    ],
)  # fmt: skip
def test_a_file_that_another_setting_would_read_is_refused_with_that_setting(
    tmp_path: Path, content: bytes, settings: dict[str, object], why: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert refusal(path, source("csv", **settings)) == why
