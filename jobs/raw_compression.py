"""Raw files as streams of bytes: how one is compressed is told by its first bytes, not its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from jobs.raw_kind import binary_kind
from jobs.raw_row import UnreadableError

_HEAD = 4096


def _pyarrow(codec: str) -> Callable[[Path], Any]:
    return lambda path: pa.input_stream(path, compression=codec)


def _zip(path: Path) -> IO[bytes]:
    """The one file in a zip archive."""
    archive = zipfile.ZipFile(path)
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX/")
    ]
    if any(info.filename == "xl/workbook.xml" for info in members):
        raise UnreadableError('is an Excel workbook; format = "xlsx" reads it')
    if len(members) != 1:
        raise UnreadableError(f"is a zip archive of {len(members)} files, where one is expected")
    if members[0].flag_bits & 1:
        raise UnreadableError("is a zip archive with a password, which is not asked for")
    return archive.open(members[0])


_KINDS: tuple[tuple[bytes, str, str, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", "gzip", ".gz", gzip.open),
    (b"BZh", "bzip2", ".bz2", bz2.open),
    (b"\xfd7zXZ\x00", "xz", ".xz", lzma.open),
    (b"\x28\xb5\x2f\xfd", "zstd", ".zst", _pyarrow("zstd")),
    (b"\x04\x22\x4d\x18", "lz4", ".lz4", _pyarrow("lz4")),
    (b"PK\x03\x04", "zip", ".zip", _zip),
    (b"PK\x05\x06", "zip", ".zip", _zip),
)
"""First bytes, name, suffix, and what opens it."""


class Decompressed:
    """The bytes of a raw file; what is wrong with its compression is one sentence."""

    def __init__(self, path: Path):
        with path.open("rb") as plain:
            magic = plain.read(_HEAD)
        self._kind, opened = _kind_of(path, magic)
        self._stream: Any = self._told(lambda: opened(path))
        try:
            self.head = self._first = self.read(_HEAD)
            """What it begins with."""
            binary = binary_kind(self.head)
            if binary is not None:
                raise UnreadableError(f"is {binary}")
        except BaseException:
            self.close()
            raise

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        first = self.__dict__.pop("_first", b"")
        return first or bytes(self._told(lambda: self._stream.read(size)))

    def close(self) -> None:
        self._stream.close()

    def _told(self, do: Callable[[], Any]) -> Any:
        """What a codec gives; or that the stream is cut, or damaged, whichever codec says so."""
        try:
            return do()
        except EOFError:
            raise UnreadableError(f"the {self._kind} stream is truncated") from None
        except _BROKEN as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            text = str(error)
            if "runcated" in text or "ended before" in text:
                raise UnreadableError(f"the {self._kind} stream is truncated") from None
            raise UnreadableError(f"the {self._kind} stream is corrupt: {text}") from None


_BROKEN = (
    OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, pa.ArrowException,
)  # fmt: skip
"""What codecs raise at damaged streams."""


def _kind_of(path: Path, magic: bytes) -> tuple[str, Callable[[Path], Any]]:
    """What the file is compressed with, and what opens it."""
    for first, kind, _, opened in _KINDS:
        if magic.startswith(first) and (kind != "bzip2" or magic[4:10] in _BZIP2_BLOCKS):
            return kind, opened
    for _, kind, suffix, _ in _KINDS:
        if path.suffix == suffix:
            raise UnreadableError(
                f"is named {suffix} but is no {kind} stream"
                if magic
                else f"is empty, where even an empty {kind} stream has some bytes"
            )
    return "plain", lambda path: path.open("rb")


_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""How the first block begins, or the end of a stream without one."""
