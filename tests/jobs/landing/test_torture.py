"""Thousands of damaged files of every text format: each byte is in a row, or known to be in none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.landing import csv_rows, json_elements, json_rows
from jobs.landing.lines import Line, LongLine, RawBytes
from jobs.landing.read import raw_rows
from tests.jobs.landing.broken_files import torture
from tests.jobs.landing.coverage_of_bytes import uncovered
from tests.jobs.landing.reading import source


@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_every_byte_of_a_damaged_file_is_accounted_for(format_: str, tmp_path: Path) -> None:
    refused, n_rows, lost = torture(format_, 5, 800, tmp_path / "f")
    assert lost == []
    assert refused > 100
    assert n_rows > 1500


@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_a_reader_that_loses_a_row_and_books_it_as_blank_is_found_out_by_every_file(
    format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second row of each file, which holds a good one or a broken one."""
    swallowed: set[Path] = set()
    path = tmp_path / "f"
    whole_lines, whole_elements = csv_rows.lines, json_elements.Elements.read

    def lines_but_one(
        data: RawBytes, blank: bool = False, separator: bytes = b""
    ) -> Iterator[Line]:
        for n, (number, raw, size) in enumerate(whole_lines(data, blank, separator)):
            if n == 1 and not isinstance(raw, LongLine) and raw.strip():
                data.n_skipped += size
                swallowed.add(path)
            else:
                yield number, raw, size

    def elements_but_one(self: Any, between: str) -> Iterator[Any]:
        for n, element in enumerate(whole_elements(self, between)):
            if n == 1:
                self._data.n_skipped += element.n_bytes
                swallowed.add(path)
            else:
                yield element

    if format_ == "json":
        monkeypatch.setattr(json_elements.Elements, "read", elements_but_one)
    else:
        monkeypatch.setattr(csv_rows, "lines", lines_but_one)
        monkeypatch.setattr(json_rows, "lines", lines_but_one)
    n_noticed, unnoticed = 0, []
    for seed in range(250):
        swallowed.clear()
        refused, _, lost = torture(format_, seed, 1, path)
        n_noticed += any("Error" not in problem for problem in lost)
        if swallowed and not refused and not lost:
            unnoticed.append(seed)
    assert unnoticed == []
    assert n_noticed > 100


@pytest.mark.parametrize(
    ("format_", "content"),
    [
        ("csv", b'\xef\xbb\xbf\r\n id,text\n\n1,a\r\r\n \t\n2,"b\n\nc"\n3\n\n  '),
        ("jsonl", b'\xef\xbb\xbf\n\x0b\n{"id": 1} \n{"id": 2} {"id": 3}\r\n{"id"\n\xef\xbb\xbf\n'),
        ("json", b' [ {"id": 1}\n, {"id": }, {"id": 3} ] \n'),
    ],
)
def test_what_is_in_no_row_is_blank_lines_marks_the_header_and_what_stands_between_objects(
    format_: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    of = source(format_, **{"multiline": True} if format_ == "csv" else {"missing_key": "null"})
    rows = [(row.line, row.row_hash) for row in raw_rows(path, of)]
    assert len(rows) == {"csv": 3, "jsonl": 4, "json": 3}[format_]
    assert uncovered(content, of, rows) is None
    for i in range(len(rows)):
        assert uncovered(content, of, rows[:i] + rows[i + 1 :]) is not None
        assert uncovered(content, of, rows[: i + 1] + rows[i:]) is not None
