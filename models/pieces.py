"""Independent pieces of work, done by several processes at once.

The processes are forked from this one, so that what it has imported is there at once, and each
computes in one thread: how many there are changes no result. A piece leaves what it has done as a
file, whole or not at all, and one whose file is there is not done again: work that was killed goes
on where it was. Several ranks of torchrun, on one machine or on many that share a disk, share the
pieces out among them.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch.distributed as dist

from contracts.errors import ContractError
from contracts.parent_process import die_with_parent
from models.distributed import n_local_ranks, n_ranks, rank

_LOG = logging.getLogger(__name__)

AT_MOST = 4
"""Processes, unless more are asked for: each takes memory of its own, and a container may have
fewer cores to use than it can see."""


@dataclass(frozen=True)
class Piece:
    """Work that depends on no other piece."""

    name: str
    """What its line of progress begins with."""
    path: Path
    """The file that is there once it is done."""
    work: Callable[[], str]
    """Does it, and says in few words what came of it; nothing where nobody waits for it."""
    cost: float
    """Beside that of others, in any unit: what takes longest begins first."""


def do_pieces(
    pieces: Sequence[Piece], processes: int | None, setting: str = "ranking.processes"
) -> None:
    """Do all pieces, and wait for those of other ranks.

    Args:
        pieces: what is to be done.
        processes: how many work at once; None: one for each core, up to `AT_MOST`.
        setting: what a person calls that.

    Raises:
        ContractError: a process was killed.
        Exception: what the first piece that failed has raised. What has begun is finished, and what
            is done stays.
    """
    in_order = sorted(pieces, key=lambda piece: -piece.cost)
    todo = [piece for piece in in_order[rank() :: n_ranks()] if not piece.path.exists()]
    n = n_processes(processes)
    if n > 1 and todo:  # a single piece as well: what has computed here could not be forked later
        _do_together(todo, min(n, len(todo)), setting)
    else:
        for piece in todo:
            _say(_done(piece))
    wait_for_ranks()


def n_processes(setting: int | None) -> int:
    """As many as are asked for, else one for each core that is left to this rank, up to
    `AT_MOST`."""
    if setting is not None:
        return setting
    # Elsewhere than on Linux a process may use all of them.
    ours = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return min(max(len(ours(0)) // n_local_ranks(), 1), AT_MOST)


def wait_for_ranks() -> None:
    """Until all ranks are here."""
    if n_ranks() > 1:
        if not dist.is_initialized():
            dist.init_process_group("gloo")
        dist.barrier()


def _do_together(pieces: Sequence[Piece], n: int, setting: str) -> None:
    """Do pieces in `n` processes, which end when this one does."""
    processes = ProcessPoolExecutor(
        n, get_context("fork"), initializer=_begin, initargs=(os.getpid(), pieces)
    )
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of threads at a fork: those of libraries are idle by then.
            warnings.simplefilter("ignore", DeprecationWarning)
            begun = [processes.submit(_do, i) for i in range(len(pieces))]
        for done in as_completed(begun):
            _say(done.result())
    except BrokenProcessPool:
        raise ContractError(
            f"one of {n} processes that worked at once was killed, most often for lack of memory; "
            f"set {setting} to fewer: what is done is kept"
        ) from None
    finally:
        processes.shutdown(cancel_futures=True)


_pieces: Sequence[Piece] = ()
"""In a process that was forked for them: it takes them by number, so that nothing is copied."""


def _begin(parent: int, pieces: Sequence[Piece]) -> None:
    global _pieces
    die_with_parent(parent)
    _pieces = pieces


def _do(number: int) -> str:
    return _done(_pieces[number])


def _done(piece: Piece) -> str:
    """The line of a piece that is done, or none."""
    started = time.monotonic()
    said = piece.work()
    return f"{piece.name}: {said}, {time.monotonic() - started:.1f} s" if said else ""


def _say(line: str) -> None:
    if line:
        _LOG.info(line)
