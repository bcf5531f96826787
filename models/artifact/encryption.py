"""Weights at rest: sealed with AES-256-GCM where there is a key, as they are where there is none.

The nonce is a keyed hash of what is sealed, so that the same weights give the same file; it repeats
only with the very same content (compare RFC 5297).
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import ContractError, UsageError

KEY_VARIABLE = "NIGHTJAR_WEIGHTS_KEY"
SUFFIX = ".sealed"
_NONCE = 12
_LABEL = b"nightjar weights 1"
_used: bytes | None = None


def key_from(text: str | None) -> bytes | None:
    """The key that 64 hex digits say; None where there is none.

    Raises:
        UsageError: it is anything else; it is not repeated.
    """
    if not text:
        return None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError(
            f"{KEY_VARIABLE}: expected 64 hex digits, found {len(text.strip())} characters; "
            "`nightjar new-key FILE` makes one"
        )
    return key


def use(key: bytes | None) -> None:
    """The key of this process, which its program has read from where keys are."""
    global _used
    _used = key


def write(path: Path, content: bytes) -> None:
    """Write `path`, or sealed beside its name if there is a key."""
    key = _used
    sealed = path.with_name(path.name + SUFFIX)
    if key is None:
        path.write_bytes(content)
        sealed.unlink(missing_ok=True)
        return
    nonce = hmac.new(key, content, hashlib.sha256).digest()[:_NONCE]
    sealed.write_bytes(nonce + AESGCM(key).encrypt(nonce, content, _LABEL))
    path.unlink(missing_ok=True)


def read(path: Path) -> bytes:
    """What was written to `path`, sealed or not.

    Raises:
        UsageError: it is sealed, and there is no key.
        ContractError: it was sealed with another key, or changed.
        OSError: there is no such file.
    """
    sealed = path.with_name(path.name + SUFFIX)
    if not sealed.exists():
        return path.read_bytes()
    key = _used
    if key is None:
        raise UsageError(f"{sealed} is sealed: set weights_key_file, or {KEY_VARIABLE}")
    content = sealed.read_bytes()
    try:
        return AESGCM(key).decrypt(content[:_NONCE], content[_NONCE:], _LABEL)
    except InvalidTag:
        raise ContractError(
            f"{sealed} cannot be opened: it was sealed with another key, or changed since"
        ) from None
