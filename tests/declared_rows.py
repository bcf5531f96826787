"""A row that a page of the documentation declares, put into a copy of the code and set to work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import REPOSITORY


def copy_code(folder: Path, rooms: Sequence[str]) -> None:
    """Copy packages of the repository into a folder."""
    for room in rooms:
        shutil.copytree(
            REPOSITORY / room, folder / room, ignore=shutil.ignore_patterns("__pycache__")
        )


def declared(page: str, kind: str) -> str:
    """The declaration of a kind, such as `Task`, that a page of the documentation shows."""
    text = (REPOSITORY / page).read_text()
    match = re.search(rf"```python\n({kind}\(.*?\n\),)\n```", text, flags=re.S)
    assert match is not None, f"{page} shows no {kind}"
    return match.group(1)


def put(row: str, file: Path, place: str, is_after: bool) -> None:
    """Put a row, indented, after a place of a file that it has once, or before it."""
    text = file.read_text()
    assert text.count(place) == 1, f"{file.name} has another place"
    lines = "".join(f"    {line}\n" for line in row.splitlines())
    file.write_text(text.replace(place, place + lines if is_after else lines + place))


def at_work(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, on the code in a folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
