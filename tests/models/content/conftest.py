"""What tests of content share."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a socket fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.fixture(autouse=True)
def _no_lines_of_earlier_commands() -> Iterator[None]:
    """Each command in this process adds a handler, which would write to its own test's output."""
    logger = logging.getLogger("models")
    logger.handlers.clear()
    yield
    logger.handlers.clear()
