"""What a person at a terminal sees of runs in this process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from flows.lifecycle.log_filters import following_runs


@contextmanager
def lines_at_a_terminal() -> Iterator[list[str]]:
    """The lines of runs in this process that a terminal shows, once they have ended."""
    console, lines = Console(file=io.StringIO(), width=1000), list[str]()
    with following_runs(console):
        yield lines
    assert isinstance(console.file, io.StringIO)
    lines += console.file.getvalue().splitlines()
