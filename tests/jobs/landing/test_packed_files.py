"""Compressed files and Excel workbooks."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs.landing.reading import read, refusal, source

TEXT = b"id,text\n" + b"".join(b"%d,b\n" % i for i in range(3000))
ROWS = [(i + 2, [str(i), "b"], None) for i in range(3000)]


def zipped(content: bytes, *names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("a.csv", "__MACOSX/._a.csv", "folder/"):
            archive.writestr(name, content if name == "a.csv" else b"")
    return packed.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd, "zip": zipped,
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKERS)
def test_what_a_file_is_packed_with_is_told_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(PACKERS[kind](TEXT))
    assert read(path, source("csv")) == ROWS


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_streams_one_behind_the_other_are_one_file(tmp_path: Path, kind: str) -> None:
    path, half = tmp_path / "a", TEXT.index(b"\n1500,")
    path.write_bytes(PACKERS[kind](TEXT[:half]) + PACKERS[kind](TEXT[half:]))
    assert read(path, source("csv")) == ROWS


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_that_is_cut_or_damaged_is_told(tmp_path: Path, kind: str) -> None:
    path, whole = tmp_path / "a", PACKERS[kind](TEXT)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    cut = "corrupt: File is not a zip file" if kind == "zip" else "truncated"
    assert refusal(path, source("csv")) == f"the {kind} stream is {cut}"
    middle = 8 if kind == "zstd" else len(whole) // 2  # which may have no checksum
    path.write_bytes(whole[:middle] + b"\x5a\xa5" * 9 + whole[middle + 18 :])
    why = refusal(path, source("csv")) or ""
    # bzip2 hands out a block before it looks at its checksum, and there its header is not found
    assert why.startswith("no column" if kind == "bzip2" else f"the {kind} stream is corrupt: ")


def zip_that_wants(dictionary: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", TEXT)
    content = bytearray(packed.getvalue())
    # behind the name: version, length and first byte of properties
    at = content.index(b"a.csv") + 10
    content[at : at + 4] = dictionary.to_bytes(4, "little")
    return bytes(content)


def xz_that_wants(dictionary: int) -> bytes:
    return lzma.compress(
        TEXT, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": dictionary}]
    )


def zstd_that_wants(dictionary: int) -> bytes:
    return zstd(b"")[:4] + bytes([0, (dictionary.bit_length() - 11) << 3]) + b"\x19\0\0abc"


@pytest.mark.parametrize(
    ("kind", "wants"), [("xz", xz_that_wants), ("zip", zip_that_wants), ("zstd", zstd_that_wants)]
)
def test_a_stream_that_asks_for_a_lot_of_memory_is_refused(
    tmp_path: Path, kind: str, wants: Callable[[int], bytes]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(wants(1 << 28))
    assert refusal(path, source("csv")) == (
        f"the {kind} stream asks for a dictionary of more than 128 MiB to be unpacked; pack it "
        "again with a smaller one"
    )
    if kind != "zstd":  # whose test stream holds no table
        path.write_bytes(wants(1 << 27))
        assert read(path, source("csv")) == ROWS


def lz4(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "lz4") as stream:
        stream.write(content)
    return bytes(packed.getvalue().to_pybytes())


STREAMS = {kind: pack for kind, pack in PACKERS.items() if kind != "zip"} | {"lz4": lz4}


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_zeros_may_follow_a_stream_of_gzip_or_xz(tmp_path: Path, kind: str) -> None:
    path, half = tmp_path / "a", TEXT.index(b"\n1500,")
    first, second = STREAMS[kind](TEXT[:half]), STREAMS[kind](TEXT[half:])
    path.write_bytes(first + bytes(8) + second + bytes(100_000))
    assert read(path, source("csv")) == ROWS


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize(
    "follows",
    ["rows", "a line end", "a second stream whose first byte is damaged", "a letter at its end"],
)
def test_what_follows_a_stream_and_is_none_is_never_left_out(
    tmp_path: Path, kind: str, follows: str
) -> None:
    """Such as the plain rows of another day, or a file that was damaged on its way."""
    path, pack = tmp_path / "a", STREAMS[kind]
    one, two = pack(TEXT), pack(b"7,c\n8,d\n")
    path.write_bytes(
        {
            "rows": one + b"7,c\n8,d\n",
            "a line end": one + b"\n",
            "a second stream whose first byte is damaged": one + b"?" + two[1:],
            "a letter at its end": one + two + b"x",
        }[follows]
    )
    why = refusal(path, source("csv"))
    if kind in ("gzip", "bzip2", "xz"):
        assert why == f"what follows the {kind} stream is not another {kind} stream"
    else:
        assert why in (
            f"the {kind} stream is truncated",
            "the zstd stream is corrupt: ZSTD decompress failed: Unknown frame descriptor",
            "the lz4 stream is corrupt: LZ4 decompress failed: ERROR_frameType_unknown",
        )


def as_streamed(content: bytes) -> bytes:
    """An archive written to a pipe, whose sizes stand behind the data."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
        archive.writestr("folder/", b"")
    return pipe.written


def with_comment(content: bytes) -> bytes:
    packed = io.BytesIO(zipped(content))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.comment = b"of the 1st"
    return packed.getvalue()


@pytest.mark.parametrize("pack", [zipped, as_streamed, with_comment])
def test_bytes_that_belong_to_no_file_of_a_zip_archive_are_never_left_out(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path, whole = tmp_path / "a", pack(TEXT)
    path.write_bytes(whole)
    assert read(path, source("csv")) == ROWS
    directory = whole.index(b"PK\x01\x02")
    for content in (
        zipped(b"id,text\n7,c\n") + whole,
        whole + zipped(b"id,text\n7,c\n"),
        whole + b"7,c\n",
        whole + bytes(1),
        whole[:directory] + b"7,c\n" * 9 + whole[directory:],
    ):
        path.write_bytes(content)
        assert refusal(path, source("csv")) == (
            "has bytes beside its zip archive that belong to no file in it; pack it again, with "
            "one archive in a file and nothing before or behind it"
        )


def in_tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("a.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


UNPACK = "unpack it, or compress it with gzip, zstd, bzip2 or xz"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (zipped(TEXT, "a.csv", "b.csv"), "is a zip archive of 2 files, where one is expected"),
        (zipped(b""[:0], "folder/"), "is a zip archive of 0 files, where one is expected"),
        (b"7z\xbc\xaf\x27\x1c\x00", "is a 7z archive; unpack it, or compress it with gzip, zstd, bzip2 or xz"),
        (b"PAR1\x00\x00", 'is a Parquet file; format = "parquet" reads it'),
        (gzip.compress(b"PAR1\x00\x00", mtime=0), 'is a Parquet file; format = "parquet" reads it'),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel file of before 2007 (.xls) or with a password; save it as .xlsx without one"),
        (in_tar(TEXT), f"is a tar archive; {UNPACK}"),
        (gzip.compress(in_tar(TEXT)), f"is a tar archive; {UNPACK}"),
        (lzma.compress(in_tar(TEXT)), f"is a tar archive; {UNPACK}"),
        (zlib.compress(TEXT), f"is a zlib stream; {UNPACK}"),
        (zlib.compress(TEXT * 99, 1), f"is a zlib stream; {UNPACK}"),
        (gzip.compress(gzip.compress(TEXT)), "is gzip within gzip; unpack it once"),
        (zipped(bz2.compress(TEXT)), "is bzip2 within zip; unpack it once"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture (PNG); export it as text, such as CSV"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "is a picture (JPEG); export it as text, such as CSV"),
        (b"GIF89a\0\1", "is a picture (GIF); export it as text, such as CSV"),
        (b"%PDF-1.7\n%\xe2", "is a PDF; export it as text, such as CSV"),
        (b"Obj\x01\0", "is an Avro file; export it as text, such as CSV"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_read_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    assert refusal(path, source("csv")) == why


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".zip"])
def test_a_file_that_is_named_for_a_packer_must_be_of_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(TEXT)
    assert (refusal(path, source("csv")) or "").startswith(f"is named {suffix} but is no ")
    path.write_bytes(b"")
    assert (refusal(path, source("csv")) or "").startswith("is empty, where even an empty ")


def test_a_header_that_begins_like_some_binary_format_is_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x^2,GIF8\n1,a\n")  # as a stream of zlib may begin
    assert read(path, source("csv", ("x^2", "GIF8"))) == [(2, ["1", "a"], None)]
    path.write_text("ORCID,BZh\n1,a\n")
    assert read(path, source("csv", ("ORCID", "BZh"))) == [(2, ["1", "a"], None)]


def workbook(path: Path, rows: list[list[object]], *more: str) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "orders"
    for row in rows:
        sheet.append(row)
    for name in more:
        book.create_sheet(name)
    book.save(path)
    book.close()


def test_a_sheet_is_read_by_its_types(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    rows: list[list[object]] = [
        ["note", "text", "id"],
        [None, "b", 1234567890123],
        [],
        [None, 0.5, 2.0],
        [None, datetime(2025, 6, 1, 10, 30), True],
        [None, date(2025, 6, 1), "NULL"],
        [None, time(9, 30), " x "],
        [None, "#REF!", "#DIV/0!"],
    ]
    workbook(path, rows, "other")
    assert read(path, source("xlsx", sheet="orders")) == [
        (2, ["1234567890123", "b"], None),
        (4, ["2", "0.5"], None),
        (5, ["true", "2025-06-01T10:30:00"], None),
        (6, [None, "2025-06-01T00:00:00"], None),
        (7, [" x ", "09:30:00"], None),
    ]  # a row of nothing but errors is empty
    rows[-1] = [None, "#REF!", 7]
    workbook(path, rows)
    assert read(path, source("xlsx"))[-1] == (8, ["7", None], None)


@pytest.mark.parametrize("header", [True, False])
def test_a_row_that_is_wider_than_its_sheet_says_loses_no_cell_unseen(
    tmp_path: Path, header: bool
) -> None:
    """As in CSV, of which a comma in a name makes such rows. Empty cells at the end are none."""
    path = tmp_path / "a.xlsx"
    rows: list[list[object]] = [["id", "text"]] if header else []
    rows += [[1, "a"], [2, "Smith", "John", 7], [3, "b", None, " "], [4]]
    workbook(path, rows)
    n = int(header)
    assert read(path, source("xlsx", header=header)) == [
        (n + 1, ["1", "a"], None),
        (n + 2, None, "expected 2 fields, found 4"),
        (n + 3, ["3", "b"], None),
        (n + 4, ["4", None], None),
    ]


def test_ids_of_many_digits_are_the_same_texts_in_excel_and_parquet(tmp_path: Path) -> None:
    numbers = [1234567890123450.0, 12345678901234560.0, -9e18, 1e19, 0.5]
    texts = ["1234567890123450", "12345678901234560", "-9000000000000000000", "1e+19", "0.5"]
    workbook(tmp_path / "a.xlsx", [["id"], *([number] for number in numbers)])
    pq.write_table(pa.table({"id": numbers}), tmp_path / "a.parquet")
    for format_ in ("xlsx", "parquet"):
        rows = read(tmp_path / f"a.{format_}", source(format_, ("id",)))
        assert [fields[0] for _, fields, _ in rows if fields] == texts


def test_what_a_workbook_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    workbook(path, [["id", "txt"], [1, "a"]], "b")
    assert refusal(path, source("xlsx")) == (
        'it has several sheets, and the mapping names none; its sheets are orders, b; say sheet = "…"'
    )
    assert refusal(path, source("xlsx", sheet="c")) == (
        'no sheet c; its sheets are orders, b; say sheet = "…"'
    )
    assert refusal(path, source("xlsx", sheet="orders")) == (
        "no column text; its first line has id, and besides cells such as aaa; if that is no header, "
        "say header = false and name all columns in order"
    )
    assert read(path, source("xlsx", sheet="b")) == []
    assert refusal(path, source("csv")) == 'is an Excel workbook; format = "xlsx" reads it'
    path.write_text("<html></html>")
    assert refusal(path, source("xlsx")) == (
        "is no Excel workbook (.xlsx): it looks like an HTML page"
    )


def test_of_two_workbooks_one_behind_the_other_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    workbook(path, [["id", "text"], [1, "a"]])
    path.write_bytes(path.read_bytes() * 2)
    assert refusal(path, source("xlsx")) == (
        "has bytes beside its zip archive that belong to no file in it; pack it again, with one "
        "archive in a file and nothing before or behind it"
    )


def test_a_workbook_that_is_too_large_unpacked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.xlsx"
    workbook(path, [["id", "text"], [1, "a"]])
    monkeypatch.setattr("jobs.landing.excel_rows.MAX_UNPACKED", 1000)
    assert (refusal(path, source("xlsx")) or "").endswith(
        " bytes when unpacked, more than 1,000: save it as CSV"
    )
