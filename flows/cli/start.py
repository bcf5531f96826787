"""Where the `nightjar` command starts: it can be stopped before it has imported anything."""

from __future__ import annotations

from flows.lifecycle.signals import listen


def main() -> None:
    listen()
    from flows.cli.main import main as run

    run()
