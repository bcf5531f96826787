"""Pictures decoded in a process of its own, which may crash, hang or ask for memory without end.

Pillow's decoders are C: an exception from a timer's handler waits until they return, and a broken
file may end the process that decodes it. So there is one child, kept over many pictures, and Linux
bounds it: a timer of its processor time ends it in the midst of any call (a signal without a
handler), and its address space has a limit. The next picture gets a new child. It is told the
pictures through its standard input, so it ends when that is closed, and it is killed with the
thread that started it (`die_with_parent`): nothing is left behind, whatever happens to whom.

Processor time, not time on a clock: what is refused must not depend on what else the machine does.

Pictures go there by groups, for two processes that wait for each other after each picture spend
more on waiting than on decoding. A request is a number of pictures, and for each its length and its
bytes; all are read before any is decoded, so the two never wait for each other's pipes. An answer
is, for each, the length of a JSON head, the head, and the pixels if there are some. Where a child
ends over a group, its pictures are asked for one by one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import IO, Any

import numpy as np

from contracts.parent_process import die_with_parent
from models.content.images.decoding import Framing, Limits, Refusal, decode, file_too_large

_LENGTH = struct.Struct("<Q")
_MEMORY = 3 << 30
"""Bytes of address space: 50 megapixels with alpha take 200 million, a conversion as much again."""
_CLOSE_SECONDS = 5.0


class Decoder:
    """Decodes pictures of one framing in a child process. Close it, or use it in `with`."""

    def __init__(self, framing: Framing, limits: Limits | None = None) -> None:
        self.framing = framing
        self.limits = limits or Limits()
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> np.ndarray | Refusal:
        """As `decoding.decode`, within the limit of time and memory."""
        if len(data) > self.limits.max_megabytes * 1e6:
            return file_too_large(len(data), self.limits)
        answers = self._ask([data])
        if answers is not None:
            return answers[0]
        ended_by = self._ended_by()
        if ended_by == -signal.SIGPROF:
            return Refusal(
                "undecodable",
                f"decoding it takes more than {self.limits.max_seconds:g} s of processor time",
            )
        return Refusal("undecodable", f"decoding it ended the decoder ({_signal_name(ended_by)})")

    def decode_group(self, group: Sequence[bytes]) -> list[np.ndarray | Refusal]:
        """As `decode` says of each of a few pictures, all of which are in memory at once."""
        if all(len(data) <= self.limits.max_megabytes * 1e6 for data in group):
            answers = self._ask(group)
            if answers is not None:
                return answers
            self._ended_by()
        return [self.decode(data) for data in group]

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        _close(child.stdin)
        try:
            child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        _close(child.stdout)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, group: Sequence[bytes]) -> list[np.ndarray | Refusal] | None:
        """The child's answers; None if it has ended."""
        child = self._running()
        if child.stdin is None or child.stdout is None:
            return None
        try:
            child.stdin.write(_LENGTH.pack(len(group)))
            for data in group:
                child.stdin.write(_LENGTH.pack(len(data)))
                child.stdin.write(data)
            child.stdin.flush()
            return [self._answer_of(child.stdout) for _ in group]
        except (EOFError, BrokenPipeError):
            return None

    def _answer_of(self, stream: IO[bytes]) -> np.ndarray | Refusal:
        """The next answer in the child's output."""
        head = json.loads(_read(stream, _LENGTH.unpack(_read(stream, 8))[0]))
        if "status" in head:
            return Refusal(head["status"], head["reason"])
        size = self.framing.size
        return np.frombuffer(_read(stream, size * size * 3), np.uint8).reshape(size, size, 3)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            given = {"framing": asdict(self.framing), "limits": asdict(self.limits)}
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps(given), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libtiff writes what it thinks of a file
            )
        return self._child

    def _ended_by(self) -> int:
        """The exit code of a child that has ended; the next picture gets another."""
        child, self._child = self._child, None
        if child is None:
            return 0
        _close(child.stdin)
        _close(child.stdout)
        return child.wait()


def _close(stream: IO[bytes] | None) -> None:
    """Close a pipe whose other end may be gone."""
    try:
        if stream is not None:
            stream.close()
    except BrokenPipeError:
        pass


def _signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _read(stream: IO[bytes], n_bytes: int) -> bytes:
    """Exactly so many bytes.

    Raises:
        EOFError: the stream ends before.
    """
    data = stream.read(n_bytes)
    if len(data) < n_bytes:
        raise EOFError
    return data


def _answer(data: bytes, framing: Framing, limits: Limits) -> bytes:
    """What the child says of a picture."""
    signal.setitimer(signal.ITIMER_PROF, limits.max_seconds)
    decoded = decode(data, framing, limits)
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    head: dict[str, Any] = {}
    pixels = b""
    if isinstance(decoded, Refusal):
        head = {"status": decoded.status, "reason": decoded.reason}
    else:
        pixels = decoded.tobytes()
    told = json.dumps(head).encode()
    return _LENGTH.pack(len(told)) + told + pixels


def main() -> None:
    """The child: answers until its input ends."""
    given, parent = json.loads(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    framing, limits = Framing(**given["framing"]), Limits(**given["limits"])
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        while True:
            n_pictures = _LENGTH.unpack(_read(requests, 8))[0]
            group = [
                _read(requests, _LENGTH.unpack(_read(requests, 8))[0]) for _ in range(n_pictures)
            ]
            answers.write(b"".join(_answer(data, framing, limits) for data in group))
            answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the pipe is gone: nothing is flushed into it


if __name__ == "__main__":
    main()
