"""A command that is asked to stop: one sentence, an exit code, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.lifecycle import signals
from flows.lifecycle.child_processes import MARK as OF_A_RUN
from flows.lifecycle.signals import KEPT, STOPPED
from flows.state.schema import open_database
from flows.state.writer_lock import writing
from tests.bench.kills import MARK, marked, watches
from tests.bench.stops import heed_signals, is_line_of_a_night, stopped, words
from tests.conftest import REPOSITORY
from tests.flows.conftest import ENVIRONMENT

MARKED = f"stopping-{os.getpid()}"
"""Of what this process starts: other processes run tests beside it."""
WORKS = f"""
import os, signal, subprocess, sys, threading, time
from flows.lifecycle import child_processes, signals
signals.listen()
child_processes.end_children_with_this_process()
ends, ignores = "import time; time.sleep(60)", (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); "
    "time.sleep(60)")
child = subprocess.Popen([sys.executable, "-c", ignores if "stubborn" in sys.argv else ends],
                         stdout=subprocess.PIPE)
if "stubborn" in sys.argv:
    child.stdout.readline()
if "library" in sys.argv:  # as Spark and Prefect do
    def tell(number, frame):
        raise RuntimeError("hundreds of lines")
    signal.signal(signal.SIGINT, tell)
    signal.signal(signal.SIGTERM, tell)
signals.say_when_stopped({KEPT!r})
try:
    print("working", flush=True)
    time.sleep(60)
finally:
    # in one write: the listener's sentence may come between two
    os.write(2, b"words of a library\\n")
    signals.wait_if_stopping()
"""


def work(*how: str) -> subprocess.Popen[str]:
    """A process that has begun to work, with a child."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKS, *how],
        env=environment(),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore_hang_ups if "nohup" in how else heed_signals,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


def environment(**more: str) -> dict[str, str]:
    """Ours, as of somebody who is no run's child: commands that ran in this process mark it."""
    ours = {name: value for name, value in os.environ.items() if name != OF_A_RUN}
    return ours | {MARK: MARKED} | more


def ignore_hang_ups() -> None:
    heed_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def left() -> list[str]:
    deadline = time.monotonic() + 5
    while (processes := [p for p in marked(MARKED) if not watches(p)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    return [words(pid) for pid in processes]


@pytest.mark.parametrize("how", [(), ("library",)], ids=["alone", "where libraries have handlers"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_gives_one_sentence_and_its_exit_code(
    number: signal.Signals, code: int, how: tuple[str, ...]
) -> None:
    process = work(*how)
    process.send_signal(number)
    output, complained = process.communicate(timeout=20)
    assert (process.returncode, output) == (code, "")
    # what a library said before the process knew is not ours to take back
    assert complained.replace("words of a library\n", "") == f"{KEPT}\n"
    assert left() == []


def test_a_second_interrupt_ends_at_once_what_would_not_end_by_itself() -> None:
    process = work("stubborn")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # its child has some seconds to end
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", f"{KEPT}\n")
    assert process.returncode == 130
    assert time.monotonic() - started < 3
    assert left() == []


def test_two_ways_to_end_at_once_say_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second interrupt kills the children for which the first was waiting: both are done."""
    said: list[bytes] = []
    ended = threading.Event()
    listener = object.__new__(signals._Listener)
    listener.sentence, listener.stderr = KEPT, 2
    listener._ending = threading.Lock()
    system = SimpleNamespace(
        isatty=lambda _: False,
        write=lambda _, words: said.append(words),
        _exit=lambda _: (ended.set(), time.sleep(0.2)),
    )
    monkeypatch.setattr(signals, "os", system)
    for _ in range(2):
        threading.Thread(target=listener._end, args=(130,), daemon=True).start()
    assert ended.wait(20)
    time.sleep(0.1)
    assert said == [f"{KEPT}\n".encode()]


def test_what_the_starter_ignores_is_ignored() -> None:
    process = work("nohup")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", f"{KEPT}\n")


MAPPING = """
name = "stopped"
[sources.posts]
files = "posts.csv"
format = "csv"
columns = ["id", "user", "time"]
landed_on = "to_date(time)"
[sources.posts.tables.posts]
post_id = "id"
user_id = "user"
occurred_at = "time"
"""


def run(folder: Path, line: str, number: signal.Signals, wait: float) -> list[str]:
    """Stop a night on a hundred posts; what must hold of any moment, and what it had said."""
    variables = environment(
        **ENVIRONMENT, NIGHTJAR_HOME=str(folder / "home"), PYTHONPATH=str(REPOSITORY)
    )
    call = (
        "run",
        "--as-of",
        "2025-07-01",
        "--source",
        str(folder / "m.toml"),
        "--raw",
        str(folder),
    )
    ended = stopped(call, variables, MARKED, line, number, wait)
    assert ended.after.splitlines()[-1:] == [KEPT if line else STOPPED]
    said = ended.after.splitlines()[:-1]
    assert [text for text in said if not is_line_of_a_night(text)] == []
    assert ended.code == 128 + number
    assert ended.left == []
    return ended.before


@pytest.mark.slow
def test_a_night_that_is_stopped_says_one_sentence_and_lets_go(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    rows = [f"p{i},u{i % 9},2025-0{1 + i // 20}-1{i % 9}T10:00:00" for i in range(100)]
    (tmp_path / "posts.csv").write_text("\n".join(["id,user,time", *rows]) + "\n")
    assert run(tmp_path, "", signal.SIGINT, 0.3) == []
    said = run(tmp_path, "land_posts: reading", signal.SIGTERM, 2.0)
    assert [line[9:] for line in said][-1] == "  land_posts: reading 1 file"
    engine = open_database(f"sqlite:///{tmp_path / 'home' / 'nightjar.db'}")
    with writing(engine, "next", "the next night"):
        pass  # it waits for nobody
