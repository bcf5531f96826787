"""Files that are not what their source says: what they are is told, whatever the source expects."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs.landing.reading import read, refusal, source


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns or {"id": ["1"], "text": ["a"]}), buffer)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "id,text\n1,a\n" if name.endswith(".csv") else "")
    return buffer.getvalue()


HTML = b"<html>\n<body>503</body>\n</html>\n"
ERROR = b'{"error": "unauthorized"}\n'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
CSV = b"id,text\n1,a\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (HTML, "is no Parquet file: it looks like an HTML page"),
        (ERROR, 'is no Parquet file: it looks like JSON lines; format = "jsonl" reads them'),
        (LFS, "is no Parquet file: it looks like a pointer of Git LFS; git lfs pull fetches the file"),
        (CSV, "is no Parquet file: it looks like text"),
        (b"ORC\0\0", "is no Parquet file: it looks like an ORC file; export it as text, such as CSV"),
        (b"\x80\x81\x82", "is no Parquet file"),
        (bytes(99), "is no Parquet file: it looks like zeros, as a crash leaves them or a log that is "
         "cut while it is written"),
        (b"", "is empty, where even a Parquet file without rows has some bytes"),
        (b"PARE\1\2", "is an encrypted Parquet file, which is not read; decrypt it"),
        (gzip.compress(parquet()), "is packed with gzip; unpack it, as Parquet packs by itself"),
        (parquet()[:-20], "begins as a Parquet file and does not end as one: was it cut off?"),
        (b"PAR1", "begins as a Parquet file and does not end as one: was it cut off?"),
    ],
)  # fmt: skip
def test_what_is_no_parquet_file_says_what_it_is(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    assert refusal(path, source("parquet")) == why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (CSV, "is no Excel workbook (.xlsx): it looks like text"),
        (b"", "is empty, where even a workbook without rows has some bytes"),
        (zipped("mimetype", "content.xml"),
         "is an OpenDocument file, such as .ods; save it as .xlsx"),
        (zipped("xl/workbook.bin"), "is a binary Excel workbook (.xlsb); save it as .xlsx"),
    ],
)  # fmt: skip
def test_what_is_no_workbook_says_what_it_is(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    assert refusal(path, source("xlsx")) == why


def test_what_is_not_packed_as_its_name_says_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(HTML)
    assert refusal(path, source("csv")) == (
        "is named .gz but is no gzip stream: it looks like an HTML page"
    )
    path = tmp_path / "a.csv.br"
    path.write_bytes(pa.compress(CSV, codec="brotli", asbytes=True))
    assert refusal(path, source("csv")) == (
        "seems to be packed as its name says, in .br; unpack it, or compress it with gzip, zstd, "
        "bzip2 or xz"
    )
    path.write_bytes(CSV)
    assert read(path, source("csv")) == [(2, ["1", "a"], None)]


def test_frames_of_zstd_that_hold_nothing_may_come_first(tmp_path: Path) -> None:
    """As pzstd writes them, which packs in parallel."""
    path = tmp_path / "a.csv.zst"
    packed = pa.compress(CSV, codec="zstd", asbytes=True)
    path.write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + packed + b"\x5f\x2a\x4d\x18\0\0\0\0")
    assert read(path, source("csv")) == [(2, ["1", "a"], None)]


def test_what_desktops_leave_in_a_zip_archive_is_no_file_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(".DS_Store", "days/Thumbs.db", "days/._a.csv", "days/a.csv"))
    assert read(path, source("csv")) == [(2, ["1", "a"], None)]


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf\r\n", b"<!-- cdn -->\n", b'<?xml version="1.0"?>\n']
)
@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_an_html_page_is_told_whatever_stands_before_it(
    tmp_path: Path, before: bytes, format_: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(before + b'<!DOCTYPE html>\n<html lang="en"><body>503</body></html>\n')
    assert "it looks like an HTML page" in (refusal(path, source(format_)) or "")


def test_no_line_of_an_html_page_is_a_row_of_one_cell(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(HTML)
    of = source("csv", ("id",), header=False)
    assert refusal(path, of) == "looks like an HTML page, such as servers send instead of a file"
    path.write_text("<b>\n<i>\n")
    assert read(path, of) == [(1, ["<b>"], None), (2, ["<i>"], None)]
