"""The terminal is for our own lines: what libraries write goes to a log, stacks included.

Java, MLflow's bars, Prefect's states, warnings of bindings at the very end: none of it is meant for
the person who waits, and all of it is worth keeping when something goes wrong.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console

from flows.lifecycle.errors import is_expected, stack
from flows.settings import own_code
from flows.storage.permissions import open_log

LOG = "log"
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class _NoValues(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None:
            record.exc_info = None
            record.exc_text = None if is_expected(error) else stack(error)
        return True


_NO_VALUES = _NoValues()


def hide_stacks() -> None:
    """Let Prefect log an expected error as its message alone, and of others no values."""
    for name in (*_RUN_LOGGERS, "prefect.engine"):
        logging.getLogger(name).addFilter(_NO_VALUES)


class _Ours(logging.Handler):
    """Prints what our own code says of a run, and nothing of Prefect's."""

    def __init__(self, console: Console):
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if own_code(record.pathname) is not None:
            at = datetime.fromtimestamp(record.created).astimezone()
            inset = "  " if record.name == "prefect.task_runs" else ""
            line = f"{at:%H:%M:%S} {inset}{record.getMessage()}"
            self.console.print(line, markup=False, soft_wrap=True)


@contextmanager
def following_runs(console: Console) -> Iterator[None]:
    """Print what flows and tasks say in this process, for a person to follow."""
    ours = _Ours(console)
    for name in _RUN_LOGGERS:
        logging.getLogger(name).addHandler(ours)
    try:
        yield
    finally:
        for name in _RUN_LOGGERS:
            logging.getLogger(name).removeHandler(ours)


def send_output_to_log(folder: Path, out: Console, err: Console) -> tuple[Path, int]:
    """Send what anything in this process, or a child, writes to a log in `folder`, from now on.

    Only the two consoles still reach the terminal. Returns the log, and the terminal's own stderr.
    """
    path = folder / LOG
    with open_log(path) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        out.file, err.file = _duplicate(1), _duplicate(2)
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    return path, err.file.fileno()


def _duplicate(stream: int) -> TextIO:
    return os.fdopen(os.dup(stream), "w", encoding="utf-8", errors="replace", buffering=1)
