"""How what works tells of its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes a line for a person to follow: a flow gives its run's log, a command the terminal."""


def say_on_stderr(line: str | None) -> None:
    """Say a line, if there is one, where no run has a log yet."""
    if line is not None:
        print(line, file=sys.stderr, flush=True)
