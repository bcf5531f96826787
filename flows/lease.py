"""One writer per home: who comes second is told who was first."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from contracts.table import ContractError
from flows.database import WAITING, WRITER, as_utc
from flows.stopping import undone_when_stopped

BEAT_SECONDS = 10
POLL_SECONDS = 5.0
STALE = timedelta(seconds=120)
"""A writer on another machine that has not been heard of for so long is taken to be gone."""
_held: set[str] = set()
"""Runs of this very process that are writing."""


NIGHT_FIRST, AFTER_THE_NIGHT = 0, 1
"""Turns: of runs that wait, a night goes before a backfill, whoever came first."""


@contextmanager
def writing(
    engine: Engine,
    run_id: str,
    what: str,
    patience: timedelta = timedelta(0),
    turn: int = AFTER_THE_NIGHT,
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Be the only writer of the home while the block runs.

    The lake refuses two commits of one day anyway; this keeps two runs from mixing their days
    across tables, and says so before either has worked for an hour. A writer that was killed is
    no obstacle: on this machine its process is looked for, elsewhere its heartbeat. With
    `patience` it waits in line for that long; `say` is told once what for.

    Raises:
        ContractError: somebody else is writing.
    """
    _wait_and_take(engine, run_id, what, patience, turn, say)
    _held.add(run_id)
    over = threading.Event()
    threading.Thread(target=_beat, args=(engine, run_id, over), daemon=True).start()

    def leave() -> None:
        over.set()
        _held.discard(run_id)
        with engine.begin() as connection:
            connection.execute(delete(WRITER).where(WRITER.c.run_id == run_id))

    try:
        with undone_when_stopped(leave):
            yield
    finally:
        leave()


def _wait_and_take(
    engine: Engine,
    run_id: str,
    what: str,
    patience: timedelta,
    turn: int,
    say: Callable[[str], None] | None,
) -> None:
    deadline, since = time.monotonic() + patience.total_seconds(), datetime.now(UTC)
    told = False
    try:
        while True:
            try:
                if patience:
                    _stand_in_line(engine, run_id, what, turn, since)
                return _take(engine, run_id, what)
            except ContractError as busy:
                if time.monotonic() >= deadline:
                    raise
                if say is not None and not told:
                    say(f"waiting for its turn: {busy}")
                told = True
                time.sleep(POLL_SECONDS)
    finally:
        if patience:
            with engine.begin() as connection:
                connection.execute(delete(WAITING).where(WAITING.c.run_id == run_id))


def _stand_in_line(engine: Engine, run_id: str, what: str, turn: int, since: datetime) -> None:
    """Say that this run waits.

    Raises:
        ContractError: another one comes first.
    """
    now = datetime.now(UTC)
    with engine.begin() as connection:
        connection.execute(delete(WAITING).where(WAITING.c.run_id == run_id))
        connection.execute(delete(WAITING).where(WAITING.c.beat_at < now - STALE))
        connection.execute(
            insert(WAITING).values(run_id=run_id, what=what, turn=turn, since=since, beat_at=now)
        )
        first = connection.execute(
            select(WAITING).order_by(WAITING.c.turn, WAITING.c.since, WAITING.c.run_id)
        ).mappings().first()  # fmt: skip
    if first is not None and first["run_id"] != run_id:
        raise ContractError(f"{first['what']} (run {first['run_id']}) comes first")


def _take(engine: Engine, run_id: str, what: str) -> None:
    with engine.connect() as connection:
        row = connection.execute(select(WRITER)).mappings().first()
    if row is not None:
        here = row["host"] == _here()
        age = datetime.now(UTC) - as_utc(row["beat_at"])
        if here and row["pid"] == os.getpid():  # ours, or of a process that had our number before
            alive = row["run_id"] in _held
        else:
            alive = _is_ours(row["pid"]) if here else age < STALE
        if alive:
            raise ContractError(
                f"{row['what']} (run {row['run_id']}, process {row['pid']} on {row['host']}) is "
                "writing to this home; run again when it has ended"
            )
        with engine.begin() as connection:
            connection.execute(delete(WRITER).where(WRITER.c.run_id == row["run_id"]))
    try:
        with engine.begin() as connection:
            connection.execute(
                insert(WRITER).values(
                    id=1,
                    run_id=run_id,
                    what=what,
                    host=_here(),
                    pid=os.getpid(),
                    beat_at=datetime.now(UTC),
                )
            )
    except IntegrityError:
        raise ContractError(
            "another run began to write to this home at the same moment; run again when it has "
            "ended"
        ) from None


def _beat(engine: Engine, run_id: str, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        # a database that is locked or away for a moment will have the next beat
        with suppress(OperationalError), engine.begin() as connection:
            connection.execute(
                update(WRITER).where(WRITER.c.run_id == run_id).values(beat_at=datetime.now(UTC))
            )


def _here() -> str:
    """This machine since its last start: another start has none of its processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        boot = "?"
    return f"{socket.gethostname()}/{boot}"


def _is_ours(pid: int) -> bool:
    """Whether a process of that number runs, and is not a stranger that got the number later."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return b"python" in words or b"nightjar" in words
