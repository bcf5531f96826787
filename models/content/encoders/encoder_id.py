"""The id of an encoder: the hash of everything that decides its vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def encoder_id(files: Mapping[str, Path], settings: Mapping[str, Any]) -> str:
    """SHA-256 over files and settings, as 64 hexadecimal digits.

    An encoder hands in all that decides its vectors, whether it is of texts or of images: its
    weights and its tokenizer as files, byte for byte; as settings what it takes out of its other
    files (of the architecture, the pooling, the normalisation, the length at which it cuts, the
    preprocessing), the precision in which it computes, and the revision of the code that does.
    One byte of a file or one setting changed is another encoder.

    Where the files lie, their times, and what is in other files beside them decide nothing.
    Versions of the libraries that compute stay outside as well: between them vectors differ by
    rounding, and an upgrade would encode everything again.

    Args:
        files: what a file is to the encoder ("weights", "tokenizer"), and the file.
        settings: names and values that JSON can hold.
    """
    hashes = {role: file_hash(path) for role, path in files.items()}
    whole = json.dumps(
        {"files": hashes, "settings": dict(settings)}, sort_keys=True, allow_nan=False
    )
    return hashlib.sha256(whole.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, a mebibyte of them in memory at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
