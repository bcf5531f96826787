"""What lies among raw files."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from contracts.table import ContractError
from jobs.raw_folder import raw_files
from tests.jobs.reading import source


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
