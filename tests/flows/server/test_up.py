"""What `nightjar up` started ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from flows.server.up import stop_all

STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
    "stdout=subprocess.DEVNULL); print(child.pid, flush=True); time.sleep(60)"
)


def start(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_parts_end_together_and_with_all_that_they_started() -> None:
    ready = "print(1, flush=True); import time; time.sleep(60)"
    with start(ready) as willing, start(STUBBORN) as stubborn:
        assert willing.stdout is not None
        assert stubborn.stdout is not None
        willing.stdout.readline()
        child = int(stubborn.stdout.readline())
        started = time.monotonic()
        stop_all([willing, stubborn], seconds=0.5)
        assert time.monotonic() - started < 5
        assert stubborn.poll() == -signal.SIGKILL
        assert willing.poll() not in (None, -signal.SIGKILL)
    assert is_gone(child)


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", "rb") as stream:
                if stream.read().rpartition(b")")[2].split()[0] == b"Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
