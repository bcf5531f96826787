"""Nothing that a run started outlives it, however it ends.

Spark's Java and our own processes notice that their parent is gone; the temporary server that
Prefect starts does not. A process of its own waits for the end of the run, which closes a pipe, and
then ends whatever still carries the run's mark in its environment. It imports nothing.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

MARK = "NIGHTJAR_PROCESS_MARK"
GRACE_SECONDS = 4

_WATCH = """
import os, signal, sys, time
mark = sys.argv[1].encode()
sys.stdin.buffer.read()
deadline = time.monotonic() + float(sys.argv[2])
def left():
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as stream:
                    if mark in stream.read():
                        yield int(name)
            except OSError:
                pass
while any(True for _ in left()) and time.monotonic() < deadline:
    time.sleep(0.1)
for _ in range(50):
    processes = list(left())
    if not processes:
        break
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.1)
"""


_watching: list[subprocess.Popen[bytes]] = []
"""Kept, because the pipe closes with it."""


def end_children_with_this_process() -> None:
    """Mark this process's children, and have them ended some seconds after it has ended.

    Linux only, where another process's environment can be read; elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux") or MARK in os.environ:
        return
    environment = dict(os.environ)
    mark = secrets.token_hex(8)
    dog = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCH, f"{MARK}={mark}", str(GRACE_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    _watching.append(dog)
    os.environ[MARK] = mark


def end_children(seconds: float) -> None:
    """Ask everything that the run started to end, and kill what has not after so many seconds.

    A training keeps where it is, Java removes its temporary files.
    """
    for pid in _children():
        _send(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(True for _ in _children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_children()


def kill_children() -> None:
    """End everything that the run started, and is still there, at once."""
    unseen = 0
    for _ in range(100):
        children = list(_children())
        for pid in children:
            _send(pid, signal.SIGKILL)
        # A process that is being started may not be seen the first time.
        unseen = 0 if children else unseen + 1
        if unseen == 2:
            return
        time.sleep(0.02)


def _children() -> Iterator[int]:
    """Our children, and what else has the run's mark; not the one that waits for our end.

    A child that has not become another program yet has no mark.
    """
    mark = os.environ.get(MARK)
    if mark is None or not _watching:
        return
    wanted, dogs = f"{MARK}={mark}".encode(), {dog.pid for dog in _watching}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid() or int(name) in dogs:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                state, parent = stream.read().rpartition(b")")[2].split()[:2]
            with open(f"/proc/{name}/environ", "rb") as stream:
                is_marked = wanted in stream.read()
        except OSError:
            continue
        if state not in (b"Z", b"X") and (is_marked or int(parent) == os.getpid()):
            yield int(name)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return
