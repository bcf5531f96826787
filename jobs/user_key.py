"""The key under which user ids are hashed."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

from contracts.table import CallError

BLOCK = 64
"""Bytes of SHA-256's block, to which an HMAC key is padded (RFC 2104)."""
MIN_BYTES = 16

INVISIBLE = "".join(
    chr(point)
    for point in range(0x10000)
    if unicodedata.category(chr(point)) in ("Cc", "Cf", "Zs", "Zl", "Zp")
)
"""Blanks, controls and marks that show nothing (tabs, no-break and zero-width spaces, byte order
marks): at the ends of an id they are no part of it."""


def _ranges(characters: str) -> str:
    """Characters in order as what stands between the brackets of a regular expression."""
    points = [ord(character) for character in characters]
    starts = [p for p in points if p - 1 not in set(points)]
    ends = [p for p in points if p + 1 not in set(points)]
    return "".join(f"\\u{a:04x}-\\u{b:04x}" for a, b in zip(starts, ends, strict=True))


INVISIBLE_CLASS = _ranges(INVISIBLE)


def canonical_id(text: str) -> str:
    """An id as the clean stage reads it: two ways to write the same letters are one (NFC)."""
    return unicodedata.normalize("NFC", text).strip(INVISIBLE)


@dataclass(frozen=True)
class UserKey:
    """Makes a `user_key` of a user id: the first 128 bits of HMAC-SHA256, in hex."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) < MIN_BYTES:
            raise CallError(f"the user key needs {MIN_BYTES} bytes or more, found {len(self.key)}")

    def __repr__(self) -> str:
        return f"UserKey(id={self.id})"

    @property
    def id(self) -> str:
        """Names the key without giving it away."""
        return hashlib.sha256(b"nightjar user key id" + self.key).hexdigest()[:12]

    def of(self, user_id: str) -> str:
        """The `user_key` of an id, as the clean stage makes it."""
        message = canonical_id(user_id).encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:32]

    @property
    def pads(self) -> tuple[str, str]:
        """The inner and outer padded key of RFC 2104, in hex."""
        key = hashlib.sha256(self.key).digest() if len(self.key) > BLOCK else self.key
        padded = key.ljust(BLOCK, b"\0")
        return bytes(b ^ 0x36 for b in padded).hex(), bytes(b ^ 0x5C for b in padded).hex()
