"""Nothing that a run started outlives it, however it ends.

Spark's Java and our own processes notice that their parent is gone; the temporary server that
Prefect starts does not. A process of its own waits for the end of the run, which closes a pipe, and
then ends whatever still carries the run's mark in its environment. It imports nothing.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

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
    found = list(left())
    if not found:
        break
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.1)
"""


_watching: list[subprocess.Popen[bytes]] = []
"""Kept, because the pipe closes with it."""


def leave_nothing_behind() -> None:
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
