"""Counts in words."""

from __future__ import annotations


def n_of(n: int, one: str, many: str | None = None) -> str:
    """So many of something: `1 row`, `2,000 rows`; `1 row has`, `0 rows have`."""
    several = f"{one}s" if many is None else many
    return f"{n:,} {one if n == 1 else several}"
