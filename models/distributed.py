"""Several processes on one piece of work, started by torchrun: which one this is of how many."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import ContractError

_LOG = logging.getLogger(__name__)


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which one of those on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def n_local_ranks() -> int:
    """How many there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def n_ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_rank() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def check_world(n: int, setting: str) -> None:
    """Stop where more or fewer processes were started than share the work.

    Raises:
        ContractError: each of them would do its share of `n_ranks()`, and only one be kept.
    """
    if n_ranks() != n:
        raise ContractError(
            f"WORLD_SIZE is {n_ranks()}, but {setting} is {n}: each process would do its share of "
            f"the work and the others' would be lost. Start it without torchrun, with {setting} = "
            f"{n_ranks()} for as many processes"
        )


def run_ranks(n: int, words: Sequence[str], report: Path) -> int:
    """Run `python -m models WORDS` as `n` processes and wait for them.

    If one fails the others are ended, whatever the first had to report is void but for an error,
    and the exit code is not 0.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(["--standalone", f"--nproc-per-node={n}", "-m", "models", *words])
    except ChildFailedError as error:
        if report.exists() and '"error"' not in report.read_text():
            report.unlink()
        _LOG.error(f"rank {error.get_first_failure()[0]} of {n} failed")
        return 1
    return 0
