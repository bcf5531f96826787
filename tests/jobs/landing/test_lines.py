from __future__ import annotations

import codecs
import encodings
import pkgutil
from pathlib import Path

import pytest

from jobs.landing.line_ends import CR_ALONE
from jobs.landing.lines import is_bytewise
from tests.jobs.landing.reading import read, refusal, source


def text_encodings() -> list[str]:
    """Names of all that Python has."""
    names = set()
    for module in pkgutil.iter_modules(encodings.__path__):
        try:
            names.add(codecs.lookup(module.name).name)
            "".encode(module.name)
        except (LookupError, UnicodeError, AttributeError):
            continue  # a module that is no encoding, or one of bytes, or of another system
    return sorted(names)


BYTEWISE = [name for name in text_encodings() if is_bytewise(name)]


def test_most_encodings_of_single_bytes_are_read_as_they_are() -> None:
    assert {"utf-8", "iso8859-1", "cp1252", "koi8-r", "mac-roman", "cp437"} < set(BYTEWISE)
    assert len(BYTEWISE) > 45


@pytest.mark.parametrize("encoding", BYTEWISE)
def test_where_lines_are_told_apart_by_bytes_each_sign_of_ascii_is_its_own_byte(
    encoding: str,
) -> None:
    """A quote that is a second byte too would be found in the text and not among the bytes."""
    for byte in range(256):
        text = bytes([byte]).decode(encoding, "replace")
        assert (text == chr(byte)) if byte < 128 else min(text) >= "\x80"


@pytest.mark.parametrize("encoding", ["mac-arabic", "mac-farsi"])
def test_signs_that_an_encoding_has_twice_are_the_same_signs(tmp_path: Path, encoding: str) -> None:
    """Writing from the right has a quote and a comma of its own."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"1,\xa2two\nlines\xa2\n2,b\n")
    assert read(path, source("csv", header=False, multiline=True, encoding=encoding)) == [
        (1, ["1", "two\nlines"], None),
        (3, ["2", "b"], None),
    ]


CUT = "the file ends in the middle of this line: was it cut off?"


def last(path: Path, content: bytes, format_: str, **given: object) -> str | None:
    """What is wrong with the last row of a file that has a good one before it."""
    path.write_bytes(content)
    *_, before, row = read(path, source(format_, **given))
    assert before[2] is None
    return row[2]


@pytest.mark.parametrize("n", range(1, len('{"id": "é", "text": ["}"]}'.encode())))
def test_a_last_line_of_json_that_is_cut_off_says_so(tmp_path: Path, n: int) -> None:
    first, cut = b'{"id": "1", "text": "x"}\n', '{"id": "é", "text": ["}"]}'.encode()[:n]
    for content in (first + cut, first.replace(b"\n", b"\r\n") + cut):
        assert last(tmp_path / "a", content, "jsonl") == CUT
    assert last(tmp_path / "a", first * 3 + cut, "json") == CUT
    assert last(tmp_path / "a", first + cut + b"\n", "jsonl") not in (CUT, None)
    assert last(tmp_path / "a", first + b'{"id": "2", "text": "x"} ' + cut, "jsonl") == CUT


def test_a_last_line_that_is_whole_or_wrong_by_itself_is_not_cut_off(tmp_path: Path) -> None:
    path, good = tmp_path / "a", b'{"id": "1", "text": "x"}\n'
    for wrong, problem in (
        (b'{"id": "2", "text": "x"}', None),
        (b'{"id": "2", "text": "x"} ', None),
        (b'{"id": "2",}', "not valid JSON"),
        (b'"x"', "not a JSON object"),
        (b'{"id": "2", "id": "3"}', "a JSON key is there twice"),
    ):
        assert last(path, good + wrong, "jsonl") == problem, wrong
    for wrong, problem in (
        (b"2,x", None),
        (b"2,", None),
        (b'2,"x"', None),
        (b"2,x,y", "expected 2 fields, found 3"),
        (b"2,x\r", None),
        (b"2,\xffx and more", "not valid utf-8"),
        (b"2\n", "expected 2 fields, found 1"),
        (b'2,"x\n', "a quote is not closed or not escaped"),
    ):
        assert last(path, b"id,text\n1,x\n" + wrong, "csv") == problem, wrong


def test_a_last_line_of_csv_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path, head = tmp_path / "a", b"id,text\n1,x\n"
    for cut in (b"2", b'2,"x', b'2,"x ""', b"2,caf\xc3", b"\xf0\x9f\x98", b'"2'):
        for multiline in (False, True):
            assert last(path, head + cut, "csv", multiline=multiline) == CUT, cut
    assert last(path, (head + "2,é".encode()).decode().encode("utf-16")[:-1], "csv",
                encoding="utf-16") == CUT  # fmt: skip
    assert last(path, b"1::x\n2", "csv", separator="::", header=False) == CUT


@pytest.mark.parametrize("row", ["7,b", '7,"b, c"', '"7","b"'])
def test_rows_that_end_in_cr_alone_are_never_one_row_among_others(tmp_path: Path, row: str) -> None:
    """However few there are, and wherever in the file."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\n1,a\n2,b\n" + f"{row}\r".encode() * 20 + b"\n3,c\n")
    assert refusal(path, source("csv")) == CR_ALONE
    path.write_bytes(b"id,text\n1,a\n2,x\r\ry,z\n3,c\n")
    assert [problem for _, _, problem in read(path, source("csv"))] == [
        None, "expected 2 fields, found 3", None
    ]  # fmt: skip
