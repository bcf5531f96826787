"""Progress of a process: log records of `models`, which the person who waits reads as lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from models.distributed import rank


def show_progress() -> None:
    """Write records from INFO on to standard output, message by message; of several processes on
    one piece of work only the first does, for all have the same to say."""
    logger = logging.getLogger("models")
    if rank() != 0:
        logger.setLevel(logging.CRITICAL)
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


@contextmanager
def without_progress() -> Iterator[None]:
    """No records of training below WARNING: of trainings within another piece of work, which has
    lines of its own."""
    logger = logging.getLogger("models.training")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
