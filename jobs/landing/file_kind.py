"""What a file looks like from its first bytes, and which setting would read it."""

from __future__ import annotations

import codecs
import re
import zlib

_ARCHIVES = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x1f\x9d": "a file of compress (.Z)",
    b"LZIP": "an lzip stream",
    b"\x89LZO": "an lzop stream",
    b"\xff\x06\x00\x00sNaPpY": "a Snappy stream",
}
"""First bytes of what has to be unpacked in some other way."""

BINARY = _ARCHIVES | {
    b"PAR1": "a Parquet file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3\x00": "an SQLite database",
    b"%PDF": "a PDF",
    b"\x89PNG\r\n\x1a\n": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"GIF8": "a picture (GIF)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel file of before 2007 (.xls) or with a password",
}
"""First bytes of files that no text format is."""

_TAR, _TAR_AT = b"ustar", 257

HTML = "an HTML page"

UNPACK = "; unpack it, or compress it with gzip, zstd, bzip2 or xz"
_ADVICE = {
    "a Parquet file": '; format = "parquet" reads it',
    "an Excel file of before 2007 (.xls) or with a password": "; save it as .xlsx without one",
}

_OF_FORMAT = {"jsonl": ("JSON lines",), "json": ("JSON", "one JSON array")}
"""How what files look like begins, where they look like what their source says."""


def binary_kind(head: bytes) -> str | None:
    """What the bytes are if they are no text, and what to do about it."""
    if head[_TAR_AT:].startswith(_TAR) and b"\0" in head:
        return f"a tar archive{UNPACK}"
    if _is_zlib(head):
        return f"a zlib stream{UNPACK}"
    for magic, kind in BINARY.items():
        # a text may begin with letters that some binary format begins with
        if head.startswith(magic) and (b"\0" in head or not magic.isalnum()):
            otherwise = UNPACK if magic in _ARCHIVES else "; export it as text, such as CSV"
            return kind + _ADVICE.get(kind, otherwise)
    return None


def _is_zlib(head: bytes) -> bool:
    """Whether the bytes can be unpacked: a text may begin with the two that zlib begins with."""
    if head[:1] != b"x" or int.from_bytes(head[:2], "big") % 31 or is_utf_8(head):
        return False
    try:
        return bool(zlib.decompressobj().decompress(head))
    except zlib.error:
        return False


_HTML = re.compile(rb"(?is)(?:\s|<\?xml.*?\?>|<!--.*?-->)*<(?:!doctype html|html|head|body)\b")
_LFS = b"version https://git-lfs.github.com/spec/"
_ZEROS = bytes(16)


def looks_like(head: bytes) -> str | None:
    """What a file that begins like this seems to be, and which setting would read it."""
    kind = binary_kind(head)
    if kind is not None:
        return kind
    if head.startswith(_ZEROS):
        return "zeros, as a crash leaves them or a log that is cut while it is written"
    if head.startswith(_LFS):
        return "a pointer of Git LFS; git lfs pull fetches the file"
    encoding = unicode_of(head)
    if encoding is not None:
        return f'text in {encoding.upper()}; encoding = "{encoding}" reads it'
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _HTML.match(text):
        return HTML
    if text.startswith(b"<"):
        return "XML"
    if re.match(rb"\[\s*(\{|$)", text):
        return 'one JSON array; format = "json" reads it'
    if re.match(rb"\{\s*\n", text):
        return 'JSON that is spread over lines; format = "json" reads it'
    if re.match(rb'\{\s*"', text):
        return 'JSON lines; format = "jsonl" reads them'
    return None


def resemblance(head: bytes) -> str:
    """What a message says besides of a file that is not what it should be."""
    kind = looks_like(head) or ("text" if is_utf_8(head) else None)
    return f": it looks like {kind}" if kind else ""


def unlike(head: bytes, format_: str, encoding: str) -> str | None:
    """What a file looks like, if that is not what its source says."""
    kind = looks_like(head)
    if kind is None and encoding.startswith(("utf-16", "utf-32")) and is_utf_8(head):
        return 'text in UTF-8; encoding = "utf-8" reads it'
    if kind is None or kind.startswith(_OF_FORMAT.get(format_, ())):
        return None
    seems = unicode_of(head)
    return None if seems is not None and encoding.startswith(seems[:6]) else kind


def is_utf_8(head: bytes) -> bool:
    """Whether it is a text in it; its last character may be cut."""
    try:
        return b"\0" not in head and bool(codecs.getincrementaldecoder("utf-8")().decode(head))
    except UnicodeDecodeError:
        return False


def unicode_of(head: bytes) -> str | None:
    """UTF-16 or UTF-32, if the bytes begin with its mark or are ASCII written in it."""
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = head[:64]
    if len(start) >= 8 and not any(start[1::2]) and all(start[::2]):
        return "utf-16-le"
    if len(start) >= 8 and not any(start[::2]) and all(start[1::2]):
        return "utf-16-be"
    return None
