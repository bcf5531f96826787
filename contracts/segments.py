"""Segments of users: how each task does is measured in each of them by itself."""

from __future__ import annotations

NEW_DAYS, ACTIVE_DAYS = 30, 28
SEGMENTS = ("new", "active", "dormant")
"""Users first seen up to `NEW_DAYS` before the day; of the others, those last seen up to
`ACTIVE_DAYS` before it, and the rest."""
ALL = "all"
"""Users of every segment together."""
