"""A child decodes: it may crash, hang or eat memory, and the next picture comes out all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.content.images import decoder_process
from models.content.images.decoder_process import Decoder
from models.content.images.decoding import Framing, Limits, Refusal, decode
from tests.models.content.images.drawn_pictures import quarters, saved

FRAMING = Framing(16)
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")

BROKEN_CHILD = """
import os, sys, time
sys.argv[1:] = sys.argv[2:]
from models.content.images import decoder_process, decoding
def decode(data, framing, limits):
    if b"crash" in data:
        os.abort()
    if b"hang" in data:
        while True:
            pass
    if b"sleep" in data:
        time.sleep(0.2)
    decoding._plain = too_much if b"memory" in data else plain
    return whole(data, framing, limits)
def too_much(image):
    return bytearray(8 << 30)
plain = decoding._plain
whole, decoder_process.decode = decoder_process.decode, decode
decoder_process.main()
"""
"""A child whose decoder does what the bytes say."""


@pytest.fixture
def broken_child(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = subprocess.Popen

    def started(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        assert command[:3] == [sys.executable, "-m", decoder_process.__name__]
        return whole([command[0], "-c", BROKEN_CHILD, *command[2:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", started)


def test_pictures_and_refusals_are_those_of_the_decoder_itself() -> None:
    picture = saved(quarters(), "JPEG")
    with Decoder(FRAMING) as decoder:
        for data in (picture, picture[:100], b"", b"text", picture):
            expected, found = decode(data, FRAMING), decoder.decode(data)
            if isinstance(expected, Refusal):
                assert found == expected
            else:
                assert isinstance(found, np.ndarray)
                assert (found == expected).all()
        assert decoder.decode(bytes(20_000_001)) == Refusal(
            "too_large", "20 MB are more than 20 MB"
        )


@pytest.mark.usefixtures("broken_child")
def test_one_that_crashes_hangs_or_eats_memory_is_refused_and_the_next_comes_out() -> None:
    picture = saved(quarters(), "PNG")
    with Decoder(FRAMING, Limits(max_seconds=0.1)) as decoder:
        refusals = [decoder.decode(what) for what in (b"crash", b"hang", picture + b"memory")]
        assert refusals == [
            Refusal("undecodable", "decoding it ended the decoder (SIGABRT)"),
            Refusal("undecodable", "decoding it takes more than 0.1 s of processor time"),
            Refusal("too_large", "decoding it takes more memory than there is"),
        ]
        assert isinstance(decoder.decode(picture), np.ndarray)
        # Waiting is not working: a machine that is busy with other things refuses nothing.
        assert decoder.decode(b"sleep") == decode(b"sleep", FRAMING)


def test_a_closed_decoder_leaves_no_process_and_may_be_used_again() -> None:
    before = set(_children())  # of tests that ran earlier in this process
    decoder = Decoder(FRAMING)
    decoder.decode(b"text")
    first = set(_children()) - before
    decoder.close()
    assert len(first) == 1
    assert set(_children()) <= before
    decoder.decode(b"text")
    assert len(set(_children()) - before - first) == 1
    decoder.close()
    assert set(_children()) <= before


def test_the_child_of_a_killed_process_ends() -> None:
    code = (
        "import os, signal, sys\n"
        "from models.content.images.decoder_process import Decoder\n"
        "from models.content.images.decoding import Framing\n"
        "decoder = Decoder(Framing(16))\n"
        "decoder.decode(b'text')\n"
        "print(decoder._child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = Path("/proc") / said.stdout.strip()
    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_running(child)


def test_one_broken_picture_among_a_thousand_gives_999_and_a_reason() -> None:
    picture = saved(quarters(16, 16), "JPEG")
    with Decoder(FRAMING) as decoder:
        decoded = [decoder.decode(picture[:99] if i == 500 else picture) for i in range(1000)]
    assert sum(isinstance(one, np.ndarray) for one in decoded) == 999
    assert decoded[500] == Refusal("truncated", "the JPEG file ends before its picture does")


def test_a_thousand_damaged_pictures_never_crash_and_each_has_pixels_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
    wholes = [saved(Image.fromarray(noise), kind) for kind in FORMATS]
    n_refused = 0
    with Decoder(FRAMING) as decoder:
        for number in range(1002):
            decoded = decoder.decode(damaged(wholes[number % len(wholes)], rng))
            if isinstance(decoded, Refusal):
                assert decoded.reason
                n_refused += 1
            else:
                assert decoded.shape == (16, 16, 3)
    assert 100 < n_refused < 1002


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A file in which bytes were changed, cut out, or put in, anywhere or within its header."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        at = int(rng.integers(0, len(changed) if rng.random() < 0.5 else min(64, len(changed))))
        match int(rng.integers(0, 4)):
            case 0:
                changed[at] = int(rng.integers(0, 256))
            case 1:
                changed[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                del changed[at : at + int(rng.integers(1, 32))]
            case _:
                changed[at:at] = rng.bytes(int(rng.integers(1, 32)))
        if not changed:
            break
    return bytes(changed)


def _children() -> list[int]:
    return [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit() and _is_running(Path("/proc") / pid) and _parent(int(pid)) == os.getpid()
    ]


def _parent(pid: int) -> int:
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


def _is_running(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.usefixtures("broken_child")
def test_a_group_is_answered_one_by_one_where_a_picture_ends_the_decoder() -> None:
    picture = saved(quarters(), "PNG")
    with Decoder(FRAMING) as decoder:
        first, broken, last = decoder.decode_group([picture, b"crash", picture])
    assert broken == Refusal("undecodable", "decoding it ended the decoder (SIGABRT)")
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert (first == last).all()


def test_a_group_has_an_answer_for_each_of_its_pictures() -> None:
    group = [saved(quarters(), "PNG"), b"", b"no picture", saved(quarters(90, 30), "JPEG")]
    with Decoder(Framing(200)) as decoder:
        together = decoder.decode_group(group)
        alone = [decoder.decode(data) for data in group]
    for one, other in zip(together, alone, strict=True):
        if isinstance(other, Refusal):
            assert one == other
        else:
            assert isinstance(one, np.ndarray)
            assert np.array_equal(one, other)
