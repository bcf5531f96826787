"""What the key of a user looks like, which stands for them in every table but the landed one."""

from __future__ import annotations

import re

DIGITS = 32
"""Hex digits of a key: the first 128 bits of an HMAC-SHA256 of the user's id."""
_PATTERN = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


def is_user_key(text: str) -> bool:
    """Whether a text is a user's key, and no raw id."""
    return _PATTERN.fullmatch(text) is not None
