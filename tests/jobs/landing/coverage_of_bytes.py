"""Which bytes of a raw file are in none of its rows: found without any reader of rows.

A row says nothing of its bytes but their hash. So the bytes are walked through from the first to the
last, and each row must be what stands next, behind what may be in no row: line ends, blank lines, a
byte-order mark, the header, and what stands between the elements of an array.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import lzma
import re
from collections.abc import Iterable, Iterator

from jobs.landing.file_kind import unicode_of
from jobs.mapping.sources import Source

_BOM = b"\xef\xbb\xbf"
_UNPACKED_BY = {
    b"\x1f\x8b": gzip.decompress,
    rb"BZh.(?:1AY&SY|\x17rE8P\x90)": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_BLANK_LINES = rb"(?:[ \t\r\v\f]*\n)*(?:[ \t\r\v\f]+\Z)?"
_HEADER = rb"(?:[^\n]+\n?)?"
_BLANK = rb"[ \t\r\n]|\xef\xbb\xbf"
_BLANKS = rb"(?:" + _BLANK + rb")*"

codecs.register_error("tests.marked", lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]


def decoded(content: bytes, encoding: str) -> bytes:
    """What a file says, unpacked, and in UTF-8 where its encoding has no byte for a line end."""
    for magic, unpack in _UNPACKED_BY.items():
        if re.match(magic, content):
            content = unpack(content)
            break
    if encoding in ("utf-8", "latin-1", "windows-1252"):
        return content
    if not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        encoding = unicode_of(content) or encoding  # as "utf-16" does not say
    return content.decode(encoding, "tests.marked").encode("utf-8", "surrogatepass")


def uncovered(content: bytes, source: Source, rows: Iterable[tuple[int, str]]) -> str | None:
    """Where the first byte stands that should be in a row and is not, if there is one.

    `rows`: line and hash of each, in the order of the file.
    """
    at = n = 0
    for line, row_hash in rows:
        gap = _gap(content, at, source, is_first=n == 0)
        # what is left of a broken object may be a comma, which might also stand between two
        first = gap.end() if source.format == "csv" else gap.start()
        span = _found(content, range(first, gap.end() + 1), row_hash)
        if span is None:
            return f"row {n + 1}, line {line}, is not what stands at byte {gap.end()}"
        start, at = span
        n += 1
        if source.format == "csv" and line != content.count(b"\n", 0, start) + 1:
            return f"row {n} says line {line}, and stands at byte {start}"
    gap = _gap(content, at, source, is_first=n == 0)
    if gap.end() < len(content):
        return f"{len(content) - gap.end()} bytes behind row {n} are in no row"
    return None


def _gap(content: bytes, at: int, source: Source, is_first: bool) -> re.Match[bytes]:
    """What may stand in no row, before a row or at the end."""
    if source.format == "csv":
        start = rb"(?:\xef\xbb\xbf)?" + _BLANK_LINES
        start += _HEADER + _BLANK_LINES if source.header else b""
        pattern = start if is_first else rb"\r*(?:\n|\Z)" + _BLANK_LINES
    elif source.format == "jsonl":
        blanks = rb"(?:" + _BLANK + rb"|^[ \t\r\v\f]+$|^\x1e+)*"
        pattern = blanks + rb"(?:," + blanks + rb")?"
    elif re.match(_BLANKS + rb"\[", content):
        pattern = (rb"B\[B" if is_first else rb"B(?:,B)?") + rb"(?:\]B)?"
        pattern = pattern.replace(b"B", _BLANKS)
    else:
        pattern = _BLANKS
    gap = re.compile(pattern, re.MULTILINE).match(content, at)
    return gap or re.compile(b"").match(content, at)  # type: ignore[return-value]


def _found(content: bytes, starts: Iterable[int], row_hash: str) -> tuple[int, int] | None:
    """From where to where the bytes of that hash stand, if they begin at one of `starts`."""
    for start in starts:
        for end, hashed in _hashes(content, start):
            if hashed == row_hash:
                return start, end
    return None


def _hashes(content: bytes, start: int) -> Iterator[tuple[int, str]]:
    """Of what begins there, by where it ends."""
    running = hashlib.blake2b(digest_size=16)
    for end in range(start + 1, len(content) + 1):
        running.update(content[end - 1 : end])
        yield end, running.hexdigest()
