"""What lies among raw files."""

from __future__ import annotations

import os
import socket
from datetime import date
from pathlib import Path

import pytest

from contracts.errors import ContractError
from jobs.landing.raw_folder import missing_days, raw_files
from jobs.mapping.sources import read_mapping
from tests.jobs.landing.reading import source
from tests.jobs.mapping.mappings import GOOD, written


def test_what_is_no_file_among_raw_files_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2025-06-01.csv").write_text("id,at\n")
    (tmp_path / "2025-06-02.csv").mkdir()
    (tmp_path / "2025-06-03.csv").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "2025-06-04.csv")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        server.bind("2025-06-05.csv")
        (tmp_path / "2025-13-01.csv").write_text("")
        with pytest.raises(ContractError) as error:
            raw_files(source("csv", files="{day}.csv"), tmp_path)
    assert str(error.value) == (
        "s: 2025-06-02.csv is a folder, such as Spark writes: name the files in it, files = "
        '"{day}.csv/*", or move it away; 2025-06-03.csv is a link to a file that is not there: mend '
        "it, or take it away; 2025-06-04.csv is no file but a pipe, socket or device: move it away; "
        "2025-06-05.csv is no file but a pipe, socket or device: move it away; 2025-13-01.csv names "
        "no day that exists"
    )


def test_what_spark_and_desktops_leave_beside_files_is_none(tmp_path: Path) -> None:
    """Unless the mapping names it."""
    folder = tmp_path / "2025-06-01.csv"
    folder.mkdir()
    marks = ("_SUCCESS", "._SUCCESS.crc", ".part-0.csv.crc", "_committed_7", "_started_7",
             "_metadata", "_common_metadata", ".DS_Store")  # fmt: skip
    for name in (*marks, "part-0.csv", "_orders.csv"):
        (folder / name).write_text("")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary/part-1.csv").write_text("")
    for pattern, names in (
        ("{day}.csv/*", ["_orders.csv", "part-0.csv"]),
        ("*/*", ["_orders.csv", "part-0.csv"]),
        ("{day}.csv/_*", ["_SUCCESS", "_committed_7", "_common_metadata", "_metadata",
                          "_orders.csv", "_started_7"]),
    ):  # fmt: skip
        files = raw_files(source("csv", files=pattern), tmp_path)
        assert [file.path.name for file in files] == names


def test_files_are_found_by_day_and_gaps_are_seen(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD)).sources
    (tmp_path / "log").mkdir()
    for day in ("2025-01-01", "2025-01-03"):
        (tmp_path / f"log/{day}.jsonl").write_text("")
    files = raw_files(source, tmp_path)
    assert [(f.name, f.landed_on) for f in files] == [
        ("log/2025-01-01.jsonl", date(2025, 1, 1)),
        ("log/2025-01-03.jsonl", date(2025, 1, 3)),
    ]
    assert missing_days(files, date(2025, 1, 6)) == (
        date(2025, 1, 2),
        date(2025, 1, 4),
        date(2025, 1, 5),
    )


def test_a_day_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD)).sources
    (tmp_path / "log").mkdir()
    (tmp_path / "log/2025-02-30.jsonl").write_text("")
    with pytest.raises(ContractError, match="log: log/2025-02-30.jsonl names no day that exists"):
        raw_files(source, tmp_path)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD)).sources
    with pytest.raises(ContractError, match="log: no file matches"):
        raw_files(source, tmp_path)


def test_a_name_of_a_file_may_hold_what_globs_take_for_a_pattern(tmp_path: Path) -> None:
    (source,) = read_mapping(written(tmp_path, GOOD.replace("log/", "log[1]/"))).sources
    (tmp_path / "log[1]").mkdir()
    (tmp_path / "log[1]/2025-01-01.jsonl").write_text("")
    assert [file.name for file in raw_files(source, tmp_path)] == ["log[1]/2025-01-01.jsonl"]
