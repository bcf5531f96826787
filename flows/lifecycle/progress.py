"""How what works tells of its progress."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Takes a line for a person to follow: a flow gives its run's log, a command the terminal."""
