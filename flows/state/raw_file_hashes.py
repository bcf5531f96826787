"""Content hashes of raw files, kept so that a file that has not changed is not read again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from flows.state.schema import RAW_FILES


class RawFileHashes:
    """SHA-256 of raw files; a file is read again when its size or time of change differs."""

    def __init__(self, engine: Engine):
        self._engine = engine
        with engine.connect() as connection:
            self._known = {
                row["path"]: (row["size"], row["modified_ns"], row["sha256"])
                for row in connection.execute(select(RAW_FILES)).mappings()
            }

    def of(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The hash of each file's bytes."""
        hashes: dict[Path, str] = {}
        new: list[dict[str, Any]] = []
        for path in paths:
            stat = path.stat()
            size, modified, sha256 = self._known.get(str(path), (-1, -1, ""))
            if (size, modified) != (stat.st_size, stat.st_mtime_ns):
                with path.open("rb") as stream:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                self._known[str(path)] = (stat.st_size, stat.st_mtime_ns, sha256)
                new.append(
                    {
                        "path": str(path),
                        "size": stat.st_size,
                        "modified_ns": stat.st_mtime_ns,
                        "sha256": sha256,
                    }
                )
            hashes[path] = sha256
        if new:
            with self._engine.begin() as connection:
                for row in new:
                    connection.execute(delete(RAW_FILES).where(RAW_FILES.c.path == row["path"]))
                connection.execute(insert(RAW_FILES), new)
        return hashes
