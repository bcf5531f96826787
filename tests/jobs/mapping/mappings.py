"""A mapping that is right, to be made wrong."""

from __future__ import annotations

from pathlib import Path

GOOD = """
[sources.log]
files = "log/{day}.jsonl"
format = "jsonl"
columns = ["id", "user", "text", "time"]
missing = "empty"
[sources.log.tables.posts]
post_id = "id"
user_id = "user"
occurred_at = "time"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text)
    return path
