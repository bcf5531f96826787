"""A process ends when the one that started it does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Ask Linux to end this process when the one that started it ends, whose id is `parent`;
    elsewhere that one stops it itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, by)
        if os.getppid() != parent:
            sys.exit("the process that started this one has ended")
