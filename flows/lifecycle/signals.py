"""Asked to stop: one sentence, nothing left running, and an exit code that says who asked.

Libraries put handlers of their own in the place of ours (Spark for SIGINT, Prefect for SIGTERM);
these raise into code that then tells of it in hundreds of lines. So no handler does the work: a
thread does, which the interpreter wakes whatever its handlers are, and it ends the process. Nothing
needs to be put right on the way out: a run that is killed at any instant is simply run again.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from flows.lifecycle.child_processes import end_children, kill_children

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "stopped"
KEPT = "stopped; what is finished is kept; run it again"
CHILD_SECONDS, LAST_SECONDS = 5.0, 20.0
"""How long children have to end by themselves, and how long stopping may take altogether."""


class _Listener:
    """What a process says and does when it is asked to stop."""

    def __init__(self) -> None:
        self.sentence = STOPPED
        self.stderr: int | None = None
        """The terminal, where it is not where the process's standard error goes."""
        self.at_stop: list[Callable[[], object]] = []
        self.asked = threading.Event()
        self._ending = threading.Lock()
        self.woken, waking = socket.socketpair()
        waking.setblocking(False)
        self._waking = waking
        for number in SIGNALS:
            # Who started us may have said that a signal is none of our business (`nohup`, `&`).
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _wake)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, name="stopping", daemon=True).start()

    def _listen(self) -> None:
        code = 0
        while True:
            number = self.woken.recv(1, socket.MSG_PEEK)[0]
            first = not self.asked.is_set()
            if number in SIGNALS:
                self.asked.set()  # before the signal is taken from where `is_asked` looks
            self.woken.recv(1)
            if number in SIGNALS and first:
                code = 128 + number
                threading.Thread(target=self._stop, args=(code,), daemon=True).start()
            elif number == signal.SIGINT:  # a second one: at once
                kill_children()
                self._end(code)

    def _stop(self, code: int) -> None:
        last = threading.Timer(LAST_SECONDS, self._end, (code,))
        last.daemon = True
        last.start()
        if self.stderr is None:
            self.stderr = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        silence()
        sys.addaudithook(_refuse_processes)
        end_children(CHILD_SECONDS)
        for act in reversed([*self.at_stop]):
            with suppress(Exception):
                act()
        kill_children()
        self._end(code)

    def _end(self, code: int) -> None:
        self._ending.acquire()  # for good: who comes second ends with the process, and says nothing
        terminal = 2 if self.stderr is None else self.stderr
        # Behind the ^C that the terminal shows, on a line of its own.
        start = "\n" if code == 128 + signal.SIGINT and os.isatty(terminal) else ""
        with suppress(OSError):
            os.write(terminal, f"{start}{self.sentence}\n".encode())
        os._exit(code)

    def is_asked(self) -> bool:
        # The thread is about to look at it; on a busy machine that takes a while.
        while not self.asked.is_set() and select.select([self.woken], [], [], 0)[0]:
            self.asked.wait(0.05)
        return self.asked.is_set()


_listener: _Listener | None = None
_silenced: list[Callable[[], object]] = []


def _wake(number: int, frame: object) -> None:
    """A handler of our own, so that the interpreter wakes the thread and does nothing else."""


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse to start another process: nobody would end it."""
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"):
        raise RuntimeError("the run is being stopped")


def listen() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP end this process, whatever it is doing."""
    global _listener
    if _listener is None:
        _listener = _Listener()


def is_listening() -> bool:
    return _listener is not None


def say_when_stopped(sentence: str, stderr: int | None = None) -> None:
    """What is said when this process is asked to stop, and where, if not on standard error."""
    if _listener is not None:
        _listener.sentence = sentence
        if stderr is not None:
            _listener.stderr = stderr


def silence_first(act: Callable[[], object]) -> None:
    """Have `act` done before anything else, so that nobody speaks but us."""
    _silenced.append(act)


def silence() -> None:
    for act in _silenced:
        act()


def clean_up_at_end(act: Callable[[], object]) -> None:
    """Have `act` done when the process ends, stopped or not."""
    if _listener is not None:
        _listener.at_stop.append(act)


def cancel_cleanup() -> None:
    """Do nothing of that after all: somebody will want to look at it."""
    if _listener is not None:
        _listener.at_stop.clear()


def clean_up() -> None:
    """Do what was to be done at the end, of a process that nobody asked to stop."""
    while _listener is not None and _listener.at_stop:
        _listener.at_stop.pop()()


def stop_with(sentence: str, code: int) -> NoReturn:
    """End this process and its children from any thread, saying why."""
    if _listener is None:
        print(sentence, file=sys.stderr, flush=True)
        kill_children()
        os._exit(code)
    _listener.sentence = sentence
    _listener.asked.set()
    _listener._stop(code)
    os._exit(code)


@contextmanager
def cleaned_up_when_stopped(act: Callable[[], object]) -> Iterator[None]:
    """Have `act` done should the process be asked to stop while the block runs."""
    if _listener is None:
        yield
        return
    _listener.at_stop.append(act)
    try:
        yield
    finally:
        if act in _listener.at_stop:
            _listener.at_stop.remove(act)


def wait_if_stopping() -> None:
    """Return unless the process was asked to stop; then wait for its end, which is under way."""
    if _listener is not None and _listener.is_asked():
        _wait_for_the_end()


def _wait_for_the_end() -> NoReturn:
    threading.Event().wait(2 * LAST_SECONDS)
    sys.exit(1)
