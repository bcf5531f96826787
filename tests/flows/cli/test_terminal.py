"""What the command prints on: as wide as the terminal, and without breaks where there is none."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import render, terminal
from flows.cli.terminal import console
from flows.lifecycle import signals


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(sys, "stdout", stream)
    out = console()
    render.rows(("table", "reason"), [("orders", "too long, " * 30)], "table", out)
    return stream.getvalue().splitlines()


def test_no_line_is_broken_where_the_output_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    header, row = printed(io.StringIO(), monkeypatch)
    assert header.split() == ["table", "reason"]
    assert row == "orders  " + "too long, " * 30
    monkeypatch.setenv("COLUMNS", "90")
    assert max(map(len, printed(io.StringIO(), monkeypatch))) == 90
    monkeypatch.setenv("COLUMNS", "70")
    assert len(printed(Screen(), monkeypatch)) > 4


def test_a_command_without_a_home_has_a_log_only_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[Path] = []
    ends: list[Callable[[], None]] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(signals, "is_listening", lambda: True)
    monkeypatch.setattr(signals, "clean_up_at_end", ends.append)
    monkeypatch.setattr(terminal, "_work", worked.append)
    terminal.begin_without_home()
    assert worked == [*tmp_path.iterdir()]
    (worked[0] / "check.log").write_text("what libraries say")
    for end in ends:
        end()
    assert [*tmp_path.iterdir()] == []
