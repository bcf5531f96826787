"""The key under which user ids are hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from contracts.table import CallError

BLOCK = 64
"""Bytes of SHA-256's block, to which an HMAC key is padded (RFC 2104)."""
MIN_BYTES = 16


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

    @property
    def pads(self) -> tuple[str, str]:
        """The inner and outer padded key of RFC 2104, in hex."""
        key = hashlib.sha256(self.key).digest() if len(self.key) > BLOCK else self.key
        padded = key.ljust(BLOCK, b"\0")
        return bytes(b ^ 0x36 for b in padded).hex(), bytes(b ^ 0x5C for b in padded).hex()
