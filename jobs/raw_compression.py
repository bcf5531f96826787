"""Raw files as streams of bytes: how one is compressed is told by its first bytes, not its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import IO, Any

import pyarrow as pa

from jobs.raw_kind import binary_kind
from jobs.raw_row import UnreadableError

_HEAD = 4096
_BLOCK = 1 << 16

MAX_DICTIONARY = 128 << 20
"""Bytes of what was unpacked before that a codec may have to keep. A stream says how many it wants,
and is given them before a byte of it is read."""
_BESIDE_IT = 1 << 20
"""Bytes that xz takes besides its dictionary."""
_TOO_HUNGRY = (
    f"asks for a dictionary of more than {MAX_DICTIONARY >> 20} MiB to be unpacked; pack it again "
    "with a smaller one"
)


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
    if members[0].compress_type == zipfile.ZIP_LZMA:
        _check_dictionary(path, members[0])
    return archive.open(members[0])


_LOCAL_HEADER = Struct("<26xHH")
"""Of a member of a zip archive; at its end how long its name is, and what else comes before its
data."""
_LZMA_PROPERTIES = Struct("<xxHxI")
"""How long the properties are, and the size of the dictionary in them."""


def _check_dictionary(path: Path, member: zipfile.ZipInfo) -> None:
    """Python's zipfile gives LZMA whatever it asks for."""
    with path.open("rb") as plain:
        plain.seek(member.header_offset)
        name, extra = _LOCAL_HEADER.unpack(plain.read(_LOCAL_HEADER.size).ljust(30, b"\0"))
        plain.seek(name + extra, 1)
        _, size = _LZMA_PROPERTIES.unpack(plain.read(_LZMA_PROPERTIES.size).ljust(9, b"\0"))
    if size > MAX_DICTIONARY:
        raise UnreadableError(f"the zip stream {_TOO_HUNGRY}")


class _Xz:
    """The streams of an xz file, one behind the other, in bounded memory.

    `lzma.open` knows no limit, and leaves out in silence what is no stream.
    """

    def __init__(self, path: Path):
        self._file = path.open("rb")
        self._stream: lzma.LZMADecompressor | None = None
        self._packed = b""

    def read(self, size: int) -> bytes:
        while True:
            stream = self._stream = self._stream or self._next()
            if stream is None:
                return b""
            if stream.needs_input and not self._packed:
                self._packed = self._file.read(_BLOCK)
                if not self._packed:
                    raise EOFError
            block = stream.decompress(self._packed, size)
            self._packed = stream.unused_data
            if stream.eof:
                self._stream = None
            if block:
                return block

    def _next(self) -> lzma.LZMADecompressor | None:
        """The next stream, if there is one; zeros may stand between two."""
        while not (packed := self._packed.lstrip(b"\0")):
            self._packed = self._file.read(_BLOCK)
            if not self._packed:
                return None
        self._packed = packed
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY + _BESIDE_IT)

    def close(self) -> None:
        self._file.close()


_KINDS: tuple[tuple[bytes, str, str, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", "gzip", ".gz", gzip.open),
    (b"BZh", "bzip2", ".bz2", bz2.open),
    (b"\xfd7zXZ\x00", "xz", ".xz", _Xz),
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
            if "Memory usage limit" in text or "requires too much memory" in text:
                raise UnreadableError(f"the {self._kind} stream {_TOO_HUNGRY}") from None
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
