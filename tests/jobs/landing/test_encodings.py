"""Raw files in any text encoding, and what is no text in it."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from tests.jobs.landing.reading import read, refusal, source


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "latin-1",
        "windows-1252",
        "utf-8-sig",
        "cp037",
        "iso8859-15",
    ],
)
@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_files_are_read_in_any_text_encoding(tmp_path: Path, encoding: str, format_: str) -> None:
    path = tmp_path / "a"
    text = {
        "csv": 'id,text\n1,"é, ""ü"""\n2,b\n',
        "jsonl": '{"id": 1, "text": "é, \\"ü\\""}\n{"id": 2, "text": "b"}\n',
        "json": '[{"id": 1, "text": "é, \\"ü\\""},\n {"id": 2, "text": "b"}]',
    }[format_]
    path.write_bytes(text.encode(encoding))
    rows = read(path, source(format_, encoding=encoding))
    assert [fields for _, fields, _ in rows] == [["1", 'é, "ü"'], ["2", "b"]]


def test_a_file_may_begin_with_several_byte_order_marks(tmp_path: Path) -> None:
    """As one has that was joined of others and saved anew."""
    path = tmp_path / "a"
    path.write_bytes(codecs.BOM_UTF8 * 3 + b"id,text\n1,a\n")
    assert read(path, source("csv")) == [(2, ["1", "a"], None)]


def test_what_cannot_be_decoded_costs_its_line_in_every_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(
        "1,a\n".encode("utf-16") + b"2\0,\0\x00\xd8\n\0" + "3,c\n".encode("utf-16-le") + b"4"
    )
    assert read(path, source("csv", header=False, encoding="utf-16")) == [
        (1, ["1", "a"], None),
        (2, None, "not valid utf-16"),
        (3, ["3", "c"], None),
        (4, None, "the file ends in the middle of this line: was it cut off?"),
    ]


def test_a_wrong_encoding_is_told_with_what_would_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("id,text\n1,a\n".encode("utf-16"))
    assert (
        refusal(path, source("csv"))
        == 'its header is not valid utf-8; it looks like text in UTF-16; encoding = "utf-16" reads it'
    )
    path.write_bytes("id,text\n1,a\n".encode("utf-16-le"))
    assert read(path, source("csv", encoding="utf-16")) == [(2, ["1", "a"], None)]
    path.write_bytes(codecs.BOM_UTF16_LE + "id,text\n1,a\n".encode("utf-16-le"))
    assert refusal(path, source("csv", encoding="utf-16-be")) == (
        "begins with the byte-order mark of another encoding than utf-16-be; encoding = "
        '"utf-16" reads it'
    )
    path.write_text("\ufeffid,text\n1,é\n")
    for encoding in ("latin-1", "windows-1252", "gb18030", "utf-16-le"):
        assert refusal(path, source("csv", encoding=encoding)) == (
            'begins with the byte-order mark of utf-8; encoding = "utf-8" reads it'
        )
    path.write_text("id,text\n1,a\n")
    assert (
        refusal(path, source("csv", encoding="utf-16"))
        == 'is no utf-16 with a byte-order mark: it looks like text in UTF-8; encoding = "utf-8" reads it'
    )
