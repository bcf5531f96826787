"""The key under which user ids are hashed."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

from contracts.errors import UsageError
from contracts.user_keys import DIGITS

BLOCK = 64
"""Bytes of SHA-256's block, to which an HMAC key is padded (RFC 2104)."""
MIN_BYTES = 16

_RANGES = (
    "0-20 7f-a0 ad 34f 61c 115f-1160 1680 17b4-17b5 180b-180f 2000-200f 2028-202f 205f-206f 2800 "
    "3000 3164 fe00-fe0f feff ffa0 fff0-fffb 13430-1343f 1bca0-1bca3 1d173-1d17a e0000-e0fff"
)
"""Unicode's blanks (Z), controls (Cc) and marks of format (Cf) but for those of numbers, which are
seen; all that is drawn as nothing (Default_Ignorable_Code_Point: fillers of Hangul, selectors of
variants, tags); the blank of braille. Written out, so that no version of Python changes a key."""
_INVISIBLE = tuple(
    (int(first, 16), int(last or first, 16))
    for first, _, last in (text.partition("-") for text in _RANGES.split())
)
INVISIBLE = "".join(chr(point) for first, last in _INVISIBLE for point in range(first, last + 1))
"""Characters that show nothing (tabs, no-break and zero-width spaces, byte order marks): at the
ends of an id they are no part of it."""
INVISIBLE_CLASS = "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in _INVISIBLE)
"""The same between the brackets of a regular expression."""


def canonical_id(text: str) -> str:
    """An id as the clean stage reads it: two ways to write the same letters are one (NFC)."""
    return unicodedata.normalize("NFC", text).strip(INVISIBLE)


@dataclass(frozen=True)
class UserKey:
    """Makes a `user_key` of a user id: the first 128 bits of HMAC-SHA256, in hex."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) < MIN_BYTES:
            raise UsageError(f"the user key needs {MIN_BYTES} bytes or more, found {len(self.key)}")

    def __repr__(self) -> str:
        return f"UserKey(id={self.id})"

    @property
    def id(self) -> str:
        """Names the key without giving it away."""
        return hashlib.sha256(b"nightjar user key id" + self.key).hexdigest()[:12]

    def of(self, user_id: str) -> str:
        """The `user_key` of an id, as the clean stage makes it."""
        message = canonical_id(user_id).encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:DIGITS]

    @property
    def pads(self) -> tuple[str, str]:
        """The inner and outer padded key of RFC 2104, in hex."""
        key = hashlib.sha256(self.key).digest() if len(self.key) > BLOCK else self.key
        padded = key.ljust(BLOCK, b"\0")
        return bytes(b ^ 0x36 for b in padded).hex(), bytes(b ^ 0x5C for b in padded).hex()
