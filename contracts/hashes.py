"""Short hashes of values, for fingerprints, ids and names of folders."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def text_hash(text: str) -> str:
    """The first 64 bits of the SHA-256 of a text, as 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_of(value: Any) -> str:
    """A hash of any value that JSON can say; of others, such as dates, what `str` says counts."""
    return text_hash(json.dumps(value, sort_keys=True, default=str))


def short_hash(text: str) -> str:
    """The first 32 bits, as 8 hex digits: for people's eyes, and within something that has other
    names too."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
