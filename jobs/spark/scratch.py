"""Folders in which a process lays what it does not keep, and the end of those left behind.

Spark clears its shuffle files away when it ends. A process that was killed leaves them, and raw
rows and keys of users with them; whoever comes next removes what nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_LOCK = ".held"
_OLD_NAMES = ("blockmgr-*", "spark-*")
"""What earlier versions left, in no folder of their own."""
_DAY_S = 24 * 60 * 60
_held: list[int] = []


def own_folder(root: Path) -> Path:
    """A new folder below `root`, held until this process ends, however it does; what was left there
    is removed first."""
    root.mkdir(parents=True, exist_ok=True)
    remove_left(root)
    folder = Path(tempfile.mkdtemp(dir=root))
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "lock").rename(folder / _LOCK)  # nobody sees it before it is held
    _held.append(lock)  # a file that is closed is held no more
    return folder


def remove_left(root: Path) -> list[Path]:
    """Remove the folders below `root` that no living process holds, as far as that can be done.

    Returns:
        Those of which something is still there.
    """
    left = [path.parent for path in root.glob(f"*/{_LOCK}") if not _is_held(path)]
    old = [path for name in _OLD_NAMES for path in root.glob(name) if _is_old(path)]
    folders = [*left, *old]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder for folder in folders if folder.exists()]


def _is_held(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True  # another process removes it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _is_old(path: Path) -> bool:
    """A run of an earlier version may still be at work in it."""
    try:
        return path.is_dir() and path.stat().st_mtime < time.time() - _DAY_S
    except FileNotFoundError:
        return False
