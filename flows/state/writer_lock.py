"""One writer per home: who comes second is told who was first."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import (
    Connection,
    Delete,
    Engine,
    Update,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from contracts.errors import BusyError, NightjarError
from flows.lifecycle.signals import cleaned_up_when_stopped, stop_with
from flows.state.schema import RUNS, WAITING, WRITER, as_utc

BEAT_SECONDS = 10
POLL_SECONDS = 5.0
STALE = timedelta(seconds=120)
"""A writer on another machine that has not been heard of for so long is taken to be gone."""
_held: set[tuple[str, int]] = set()
"""Runs of this very process that are writing, by name and token: two runs may have one name."""


NIGHT_FIRST, AFTER_THE_NIGHT = 0, 1
"""Turns: of runs that wait, a night goes before a backfill, whoever came first."""


Clock = Callable[[Connection], datetime]


def database_time(connection: Connection) -> datetime:
    """Now, by the database's clock where it is a server: machines' own may be minutes apart."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now
    return datetime.now(UTC)


class LeaseLost(NightjarError):
    """Another run took over the right to write: this one must stop, and no second try of it may
    write either."""


OUTSIDE_THE_FENCE = "outside_the_fence"
GIVEN_UP = 0
"""Token of a run that was asked to stop: it writes no more, but did not end by itself."""


@dataclass(frozen=True)
class Lease:
    """The right of one run to write to a home."""

    engine: Engine
    run_id: str
    what: str
    token: int
    """Higher than that of every run before."""
    took_over: bool
    """Whether the writer before did not end by itself, and might still live."""
    clock: Clock = database_time

    def check(self) -> None:
        """Make sure that it still holds, and be heard of.

        Raises:
            LeaseLost: it does not.
        """
        with self.engine.begin() as connection:
            self.renew(connection)

    def fence(self, connection: Connection) -> None:
        """What is done before a transaction is committed."""
        if not connection.get_execution_options().get(OUTSIDE_THE_FENCE):
            self.renew(connection)

    def renew(self, connection: Connection) -> None:
        """The same inside a transaction, of which nothing stays if it does not hold.

        It locks the writer's row until the end of the transaction, so that nobody takes over
        between this and the commit.
        """
        renewed = connection.execute(
            update(WRITER)
            .where(WRITER.c.token == self.token)
            .values(beat_at=self.clock(connection))
        )
        if renewed.rowcount == 1:
            return
        other = connection.execute(select(WRITER)).mappings().first()
        who = (
            "another run, which has ended since,"
            if other is None
            else f"{other['what']} (run {other['run_id']}, process {other['pid']} on "
            f"{other['host']})"
        )
        raise LeaseLost(
            f"{self.what} (run {self.run_id}) stops: {who} took over the right to write to this "
            f"home after {STALE.total_seconds():.0f} s without a sign of life, as of a machine "
            "that sleeps or is cut off. What was finished before is kept; run it again"
        )


@contextmanager
def writing(
    engine: Engine,
    run_id: str,
    what: str,
    patience: timedelta = timedelta(0),
    turn: int = AFTER_THE_NIGHT,
    say: Callable[[str], None] | None = None,
    clock: Clock = database_time,
    stop: Callable[[LeaseLost], None] | None = None,
) -> Iterator[Lease]:
    """Be the only writer of the home while the block runs.

    A writer that was killed is no obstacle: on this machine its process is looked for, elsewhere
    its heartbeat. Nor is one that was asked to stop: from then on it commits nothing, and the next
    run counts as one that took over, for a commit of the other's may be under way. With `patience`
    it waits in line for that long; `say` is told once what for.

    Every transaction that `engine` commits within the block checks, as its last act, that the
    right to write still holds: a run that another took over from adds no receipt and no release.
    Once its heartbeat finds so too, `stop` ends it: by default the whole process, with exit code 1.

    Raises:
        BusyError: somebody else is writing.
        LeaseLost: another run took over, and something was to be committed.
    """
    lease = _wait_and_take(engine, run_id, what, patience, turn, say, clock)
    event.listen(engine, "commit", lease.fence)
    over = threading.Event()
    threading.Thread(target=_beat, args=(lease, over, stop or _exit), daemon=True).start()

    def leave(change: Delete | Update) -> None:
        over.set()
        outside = engine.execution_options(**{OUTSIDE_THE_FENCE: True})
        # Where the database is away the row stays, and the next run sees that nobody is behind it.
        with suppress(SQLAlchemyError), outside.begin() as connection:
            connection.execute(change.where(WRITER.c.token == lease.token))
        _held.discard((run_id, lease.token))

    try:
        # A stop comes while the block still works: the next run is to treat it as one that lives.
        with cleaned_up_when_stopped(lambda: leave(update(WRITER).values(token=GIVEN_UP))):
            yield lease
    finally:
        leave(delete(WRITER))
        event.remove(engine, "commit", lease.fence)


def record_run(connection: Connection, run_id: str, what: str, at: datetime) -> int:
    """Remember a run that writes files: what it leaves may be cleaned up. Its token."""
    recorded = connection.execute(insert(RUNS).values(run_id=run_id, what=what, started_at=at))
    (token,) = recorded.inserted_primary_key or (0,)
    return int(token)


def _wait_and_take(
    engine: Engine,
    run_id: str,
    what: str,
    patience: timedelta,
    turn: int,
    say: Callable[[str], None] | None,
    clock: Clock,
) -> Lease:
    deadline, since = time.monotonic() + patience.total_seconds(), datetime.now(UTC)
    is_said = False
    try:
        while True:
            try:
                if patience:
                    _announce_waiting(engine, run_id, what, turn, since)
                return _take(engine, run_id, what, clock)
            except BusyError as busy:
                if time.monotonic() >= deadline:
                    raise
                if say is not None and not is_said:
                    say(f"waiting for its turn: {busy}")
                is_said = True
                time.sleep(POLL_SECONDS)
    finally:
        if patience:
            with engine.begin() as connection:
                connection.execute(delete(WAITING).where(WAITING.c.run_id == run_id))


def _announce_waiting(engine: Engine, run_id: str, what: str, turn: int, since: datetime) -> None:
    """Say that this run waits.

    Raises:
        BusyError: another one comes first.
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
        raise BusyError(f"{first['what']} (run {first['run_id']}) comes first")


def _take(engine: Engine, run_id: str, what: str, clock: Clock) -> Lease:
    try:
        with engine.begin() as connection:
            row = connection.execute(select(WRITER)).mappings().first()
            now = clock(connection)
            if row is not None:
                gone = (
                    not _is_alive(row, now)
                    and connection.execute(
                        # Nobody is taken over from who was heard of meanwhile.
                        delete(WRITER).where(
                            WRITER.c.run_id == row["run_id"], WRITER.c.beat_at == row["beat_at"]
                        )
                    ).rowcount
                )
                if not gone:
                    raise BusyError(
                        f"{row['what']} (run {row['run_id']}, process {row['pid']} on "
                        f"{row['host']}) is writing to this home; run again when it has ended"
                    )
            token = record_run(connection, run_id, what, now)
            connection.execute(
                insert(WRITER).values(
                    id=1,
                    run_id=run_id,
                    what=what,
                    host=_here(),
                    pid=os.getpid(),
                    beat_at=now,
                    token=token,
                )
            )
            _held.add((run_id, token))  # before others of this process can see the row
    except IntegrityError:
        raise BusyError(
            "another run began to write to this home at the same moment; run again when it has "
            "ended"
        ) from None
    return Lease(engine, run_id, what, token, row is not None, clock)


def _is_alive(row: RowMapping, now: datetime) -> bool:
    """Whether the writer of a row may still write."""
    if row["token"] == GIVEN_UP:
        return False
    if row["host"] != _here():
        return now - as_utc(row["beat_at"]) < STALE
    if row["pid"] == os.getpid():  # ours, or of a process that had our number before
        return (row["run_id"], row["token"]) in _held
    return _is_ours(row["pid"])


def _beat(lease: Lease, over: threading.Event, stop: Callable[[LeaseLost], None]) -> None:
    while not over.wait(BEAT_SECONDS):
        try:
            lease.check()
        except LeaseLost as lost:
            if not over.is_set():
                stop(lost)
            return
        except SQLAlchemyError:
            pass  # a database that is locked or away for a moment will have the next beat


def _exit(lost: LeaseLost) -> None:
    """End this process at once, and with it its children: whatever it still did would not count."""
    stop_with(str(lost), 1)


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
