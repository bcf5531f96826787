"""Folders and files that nobody but the pipeline's own account may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from contracts.errors import UsageError
from flows.storage.home import Home


def close_home(home: Home) -> str | None:
    """Make the home, or close one that others may read: mode 0700. A folder that holds nothing of a
    home is not ours to close.

    Returns:
        What is to be said of it; None if there is nothing to say.
    """
    folder = home.path
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700)
        return None
    about = folder.stat()
    mode = stat.S_IMODE(about.st_mode)
    if not mode & 0o077 or mode & stat.S_ISVTX or not _holds_a_home(home):
        return None
    if about.st_uid != os.geteuid():
        return None  # a shared volume, whose owner decides
    folder.chmod(0o700)
    return f"{folder}: others could read it (mode {mode:04o}); its mode is 0700 from now on"


def _holds_a_home(home: Home) -> bool:
    shared = (home.mark, home.lake, home.runs)
    local = (home.database, home.analysts_file, home.prefect)
    return any(home.storage.exists(location) for location in (*shared, *map(str, local)))


def read_private(path: Path, what: str) -> str:
    """The text of a file that nobody else may read.

    Args:
        path: The file.
        what: What it holds, such as "user key".

    Raises:
        UsageError: others may, or it cannot be read.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise UsageError(
                f"{path}: mode is {mode:04o}, so others may read the "
                f"key; expected 0600: chmod 600 {path}"
            )
        return path.read_text().strip()
    except OSError as error:
        raise UsageError(f"{path}: cannot read the {what}: {error.strerror}") from None


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, whatever there was."""
    path.unlink(missing_ok=True)
    create_private(path, text)


def create_private(path: Path, text: str) -> None:
    """Write a file of mode 0600.

    Raises:
        FileExistsError: there is one already.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


def open_log(path: Path, anew: bool = False) -> BinaryIO:
    """A log of mode 0600, to be written on at its end or anew. Its folder is made where it is
    missing, for nobody else to look into."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    how = os.O_TRUNC if anew else os.O_APPEND
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600), "wb")
