"""Mappings of small logs, as texts."""

from __future__ import annotations


def log_of_views(
    files: str = "{day}.csv", columns: str = "id, user, item, time", target: str = "item"
) -> str:
    """A log of what users viewed: `target` is the column of the items, or a post in quotes."""
    listed = ", ".join(f'"{column}"' for column in columns.split(", "))
    kind = "post" if target.startswith("'") else "item"
    return f"""
name = "shop"
[sources.log]
files = "{files}"
format = "csv"
columns = [{listed}]
[sources.log.tables.engagements]
engagement_id = "id"
user_id = "user"
verb = "'view'"
target_kind = "'{kind}'"
target_id = "{target}"
occurred_at = "time"
"""
