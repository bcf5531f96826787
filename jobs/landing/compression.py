"""Raw files as streams of bytes: how one is compressed is told by its first bytes, not its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from os import SEEK_END
from pathlib import Path
from struct import Struct
from typing import IO, Any, Protocol

import pyarrow as pa

from contracts.foreign import without_values
from jobs.landing.file_kind import UNPACK, binary_kind, is_utf_8, looks_like, resemblance
from jobs.mapping.raw_row import UnreadableError

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


_LEFT_BY_DESKTOPS = re.compile(
    r"^__MACOSX/|(?:^|/)(?:\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)$"
)
"""Files that are nobody's."""


def _zip(path: Path) -> IO[bytes]:
    """The one file in a zip archive."""
    archive = zipfile.ZipFile(path)
    check_whole(path, archive)
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not _LEFT_BY_DESKTOPS.search(info.filename)
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


def check_whole(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a file that holds more than one archive.

    Of several archives one behind the other Python's zipfile reads the last, and leaves out the
    others in silence.

    Raises:
        UnreadableError: bytes before, between or behind its members belong to none.
    """
    end, most_behind = 0, 0
    with path.open("rb") as plain:
        for member in sorted(archive.infolist(), key=lambda info: info.header_offset):
            _check_gap(member.header_offset - end, most_behind)
            plain.seek(member.header_offset)
            name, extra = _LOCAL_HEADER.unpack(plain.read(_LOCAL_HEADER.size).ljust(30, b"\0"))
            end = plain.tell() + name + extra + member.compress_size
            most_behind = _DESCRIPTOR if member.flag_bits & _STREAMED else 0
        _check_gap(archive.start_dir - end, most_behind)
        plain.seek(-len(_END + archive.comment) - _END_FIELDS.size, SEEK_END)
        is_end = plain.read(len(_END)) == _END
        (n_comment,) = _END_FIELDS.unpack(plain.read(_END_FIELDS.size))
        if not is_end or n_comment != len(archive.comment):
            raise UnreadableError(_BESIDE_ARCHIVE)


def _check_gap(n_bytes: int, most: int) -> None:
    if not 0 <= n_bytes <= most:
        raise UnreadableError(_BESIDE_ARCHIVE)


_BESIDE_ARCHIVE = (
    "has bytes beside its zip archive that belong to no file in it; pack it again, with one "
    "archive in a file and nothing before or behind it"
)
_END, _END_FIELDS = b"PK\x05\x06", Struct("<16xH")
"""How the end of an archive begins; at its end how long the comment is that follows."""
_STREAMED = 8
"""Flag of a member whose size was not known when it was begun, and stands behind its data."""
_DESCRIPTOR = 24
"""Bytes that are for it at most."""
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


class _Decompressor(Protocol):
    """Of one stream, as `bz2` and `lzma` have them."""

    @property
    def needs_input(self) -> bool: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Streams:
    """The streams of a file, one behind the other, in bounded memory.

    `bz2.open` and `lzma.open` leave out in silence what follows a stream and is none; and that of
    xz knows no limit.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        magic: bytes,
        decompressor: Callable[[], _Decompressor],
        padding: bytes = b"",
    ):
        self._kind, self._magic = kind, magic
        self._decompressor, self._padding = decompressor, padding
        self._file = path.open("rb")
        self._stream: _Decompressor | None = None
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

    def _next(self) -> _Decompressor | None:
        """The next stream, if there is one; padding may stand before it."""
        while len(packed := self._packed.lstrip(self._padding)) < len(self._magic):
            more = self._file.read(_BLOCK)
            self._packed = packed + more
            if not more:
                break
        if not packed:
            return None
        if not packed.startswith(self._magic[: len(packed)]):
            raise UnreadableError(_FOLLOWED.format(self._kind))
        self._packed = packed
        return self._decompressor()

    def close(self) -> None:
        self._file.close()


_FOLLOWED = "what follows the {0} stream is not another {0} stream"


def _bzip2(path: Path) -> _Streams:
    return _Streams(path, "bzip2", b"BZh", bz2.BZ2Decompressor)


def _xz(path: Path) -> _Streams:
    """Zeros may stand between two streams, and at the end."""
    return _Streams(
        path,
        "xz",
        b"\xfd7zXZ\x00",
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY + _BESIDE_IT),
        padding=b"\0",
    )


_KINDS: tuple[tuple[bytes, str, str, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", "gzip", ".gz", gzip.open),
    (b"BZh", "bzip2", ".bz2", _bzip2),
    (b"\xfd7zXZ\x00", "xz", ".xz", _xz),
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
        self._stream: Any = self._or_unreadable(lambda: opened(path))
        try:
            self.head = self._first = self.read(_HEAD)
            """What it begins with."""
            binary = binary_kind(self.head)
            if binary is not None:
                raise UnreadableError(f"is {binary}")
            packed_in = packing_of(self.head)
            if self._kind != "plain" and packed_in is not None:
                raise UnreadableError(f"is {packed_in} within {self._kind}; unpack it once")
        except BaseException:
            self.close()
            raise

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        first = self.__dict__.pop("_first", b"")
        return first or bytes(self._or_unreadable(lambda: self._stream.read(size)))

    def close(self) -> None:
        self._stream.close()

    def _or_unreadable(self, do: Callable[[], Any]) -> Any:
        """What a codec gives; or that the stream is cut, or damaged, whichever codec says so."""
        try:
            return do()
        except EOFError:
            raise UnreadableError(f"the {self._kind} stream is truncated") from None
        except _BROKEN as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                raise
            text = str(error)
            if text.startswith("Not a gzipped file"):  # and quotes what it is; zeros may follow
                raise UnreadableError(_FOLLOWED.format(self._kind)) from None
            if "Memory usage limit" in text or "requires too much memory" in text:
                raise UnreadableError(f"the {self._kind} stream {_TOO_HUNGRY}") from None
            if "runcated" in text or "ended before" in text:
                raise UnreadableError(f"the {self._kind} stream is truncated") from None
            why = without_values(text)
            raise UnreadableError(f"the {self._kind} stream is corrupt: {why}") from None


_BROKEN = (
    OSError, ValueError, RuntimeError, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, pa.ArrowException,
)  # fmt: skip
"""What codecs raise at damaged streams."""


def _kind_of(path: Path, magic: bytes) -> tuple[str, Callable[[Path], Any]]:
    """What the file is compressed with, and what opens it."""
    packing = packing_of(magic)
    for _, kind, _, opened in _KINDS:
        if kind == packing:
            return kind, opened
    for _, kind, suffix, _ in _KINDS:
        if path.suffix == suffix:
            seems, _, _ = resemblance(magic).partition(";")
            raise UnreadableError(
                f"is named {suffix} but is no {kind} stream{seems}"
                if magic
                else f"is empty, where even an empty {kind} stream has some bytes"
            )
    if path.suffix in _NOT_READ and not is_utf_8(magic) and looks_like(magic) is None:
        raise UnreadableError(f"seems to be packed as its name says, in {path.suffix}{UNPACK}")
    return "plain", lambda path: path.open("rb")


def packing_of(magic: bytes) -> str | None:
    """What a file that begins so is packed with, if it is."""
    for first, kind, _, _ in _KINDS:
        if magic.startswith(first) and (kind != "bzip2" or magic[4:10] in _BZIP2_BLOCKS):
            return kind
    return "zstd" if _ZSTD_SKIPPED.match(magic) else None


_ZSTD_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""A frame that holds nothing of the file, such as pzstd puts first."""
_NOT_READ = (".br", ".deflate", ".lzma", ".lzo", ".snappy", ".sz")
"""Packers whose streams do not say by their first bytes what they are."""
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""How the first block begins, or the end of a stream without one."""
