"""Lines of a raw file in bounded memory, with every byte accounted for."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from jobs.landing.compression import Decompressed
from jobs.landing.file_kind import unicode_of, unlike
from jobs.mapping.raw_row import MAX_LINE, UnreadableError

BLOCK = 1 << 18

_BOM = b"\xef\xbb\xbf"
_BYTEWISE = ("utf-8", "ascii", "iso8859-", "cp125", "koi8-", "mac-", "cp437", "cp85", "cp86")
_NOT_BYTEWISE = ("mac-arabic", "mac-farsi", "cp864")
"""Siblings of these which have signs of ASCII twice, or not where ASCII has them."""

_MARK = "\udcff"
"""What cannot be decoded: half a pair of surrogates, which is no UTF-8 either."""

codecs.register_error("nightjar.marked", lambda error: (_MARK, error.end))  # type: ignore[attr-defined]


def is_bytewise(encoding: str) -> bool:
    """Whether a line end, a quote and a separator are the bytes that they are in ASCII, and no
    others. `encoding` as Python's codecs name it."""
    return encoding.startswith(_BYTEWISE) and encoding not in _NOT_BYTEWISE


class RawBytes:
    """The bytes of a file as readers get them, in UTF-8 where they would not tell lines apart.

    `n_read` counts what was read; readers add up in `n_skipped` what no row stands for: blank
    lines, the header, what separates the elements of an array.
    """

    def __init__(self, file: Decompressed, encoding: str):
        self._file = file
        self.head = file.head
        self.seems: str | None = None
        """What a reader found out about rows that it cannot decode, and which setting would."""
        self.n_read = self.n_skipped = 0
        self.named = encoding
        """As the mapping says it."""
        encoding = _with_byte_order(codecs.lookup(encoding).name, file.head)
        bytewise = is_bytewise(encoding)
        self.encoding = encoding if bytewise else "utf-8"
        """Of the bytes that `read` gives."""
        self._decoder = (
            None if bytewise else codecs.getincrementaldecoder(encoding)("nightjar.marked")
        )
        self._ended = False

    def unlike(self, format_: str) -> str | None:
        """What the file looks like, if that is not what its source says."""
        return unlike(self.head, format_, codecs.lookup(self.named).name)

    def read(self) -> bytes:
        """Some bytes; none at the end."""
        if self._decoder is None:
            block = self._file.read(BLOCK)
        else:
            block = b""
            while not block and not self._ended:
                raw = self._file.read(BLOCK)
                self._ended = not raw
                try:
                    text = self._decoder.decode(raw, self._ended)
                except UnicodeError:  # of codecs that know no other way to say it
                    raise UnreadableError(f"is not valid {self.named}") from None
                block = text.encode("utf-8", "surrogatepass")
        self.n_read += len(block)
        return block


_OTHER_MARK = {
    "utf-16-le": codecs.BOM_UTF16_BE,
    "utf-16-be": codecs.BOM_UTF16_LE,
    "utf-32-le": codecs.BOM_UTF32_BE,
    "utf-32-be": codecs.BOM_UTF32_LE,
}
"""With which no text in the encoding begins."""


def _with_byte_order(encoding: str, head: bytes) -> str:
    """UTF-16 and UTF-32 begin with a mark that says which byte comes first, or have to be told."""
    if encoding == "utf-8-sig":
        return "utf-8"  # whose mark, where there is one, is dropped in any case
    if encoding != "utf-8" and head.startswith(_BOM):
        raise UnreadableError(
            'begins with the byte-order mark of utf-8; encoding = "utf-8" reads it'
        )
    marks = {
        "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
        "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    }.get(encoding, ())
    other = _OTHER_MARK.get(encoding)
    if other is not None and head.startswith(other):
        raise UnreadableError(
            f"begins with the byte-order mark of another encoding than {encoding}; "
            f'encoding = "{encoding[:6]}" reads it'
        )
    if not marks or not head or head.startswith(marks):
        return encoding
    seems = unicode_of(head) or ""
    if not seems.startswith(encoding):
        raise UnreadableError(
            f"is no {encoding} with a byte-order mark"
            + (f": it looks like {kind}" if (kind := unlike(head, "csv", encoding)) else "")
        )
    return seems


class LongLine:
    """A line of more than `MAX_LINE` bytes, in pieces: an iterator over them, without line end."""

    def __init__(self, pieces: list[bytes], data: RawBytes):
        self.n_bytes = 0
        self.rest = b""
        """What was read beyond the line."""
        self._pieces = self._read(pieces, data)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def _read(self, pieces: list[bytes], data: RawBytes) -> Iterator[bytes]:
        for piece in pieces:
            self.n_bytes += len(piece)
            yield piece
        while block := data.read():
            piece, end, self.rest = block.partition(b"\n")
            self.n_bytes += len(piece) + len(end)
            if piece:
                yield piece
            if end:
                return


Line = tuple[int, "bytes | LongLine", int]
"""Number from 1, the line without its end and byte-order mark, and its bytes in the file."""


def is_blank(raw: bytes | LongLine, separator: bytes = b"") -> bool:
    """Whether a line holds nothing, not even a `separator` that is a blank."""
    return not isinstance(raw, LongLine) and (
        not raw or (raw.isspace() and not (separator and separator in raw))
    )


def with_its_end(raw: bytes, n_bytes: int) -> bytes:
    """A line that another one follows, as it stands in the file."""
    return raw + b"\r" * (n_bytes - 1 - len(raw)) + b"\n"


def lines(data: RawBytes, blank: bool = False, separator: bytes = b"") -> Iterator[Line]:
    """Non-blank lines; with `blank` those too, which may belong to a cell.

    `separator`: of cells, if it is a blank.
    """
    number = 0
    for block, ends in _blocks(data):
        if isinstance(block, LongLine):
            number += 1
            yield number, block, 0
            for _ in block:
                pass
            continue
        for line in block:
            n = len(line) + ends
            number += 1
            if line[-1:] == b"\r":
                line = line.rstrip(b"\r")
            while number == 1 and line.startswith(_BOM):  # joined and saved anew it has several
                line = line.removeprefix(_BOM)
                data.n_skipped += len(_BOM)
                n -= len(_BOM)
            if (not line or line.isspace()) and is_blank(line, separator):
                if blank:
                    yield number, line, n
                else:
                    data.n_skipped += n
            else:
                yield number, line, n


def _blocks(data: RawBytes) -> Iterator[tuple[list[bytes] | LongLine, int]]:
    """Lines as they lie together in what is read at once, and the bytes that end each."""
    pending: list[bytes] = []
    n_pending = 0
    while block := data.read():
        if b"\n" not in block:
            pending.append(block)
            n_pending += len(block)
            if n_pending > MAX_LINE:
                long = LongLine(pending, data)
                yield long, 0  # which is read to its end before this goes on
                whole = long.rest.split(b"\n")
            else:
                continue
        else:
            pending.append(block)
            whole = b"".join(pending).split(b"\n")
        pending = [whole.pop()]
        n_pending = len(pending[0])
        yield whole, 1
    rest = b"".join(pending)
    if rest:
        yield [rest], 0
