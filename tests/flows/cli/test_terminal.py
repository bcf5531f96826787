"""What the command prints on: as wide as the terminal, and without breaks where there is none."""

from __future__ import annotations

import inspect
import io
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from flows.cli import render, terminal
from flows.cli.main import app
from flows.cli.terminal import console
from flows.lifecycle import signals
from flows.settings import NightjarSettings
from flows.state.schema import RELEASES, open_database


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


def test_what_is_copied_or_looked_for_stays_on_a_line_of_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    settings = NightjarSettings(home=tmp_path)
    engine = open_database(settings.receipts_url)
    day = date(2025, 11, 27)
    with engine.begin() as connection:
        connection.execute(
            insert(RELEASES),
            {
                "release_id": "20251127-81345f3c", "as_of": day, "run_id": "20261128T032709174",
                "model_id": "c9d07a9e0d7c66cf", "snapshots": {}, "days": [str(day)], "fingerprint": "f",
                "published_at": datetime(2025, 11, 28, 3, 31, tzinfo=UTC),
            },
        )  # fmt: skip
    engine.dispose()
    render.releases(console(), settings)
    assert " 20251127-81345f3c  2025-11-27 " in screen.getvalue()
    render.describe(console(), "user_scores")
    assert "\nscore_sentiment_next_30d_is_positive  float " in screen.getvalue()


def test_a_table_too_wide_for_the_terminal_has_a_line_per_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    names = [f"score_{n}" for n in range(30)]
    render.rows(names, [[0.25] * 30, [None] * 30], "table", console())
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    first = [f"{name:<8}  0.25" for name in names]
    assert lines == [*first, "", *names, ""]


def test_no_first_sentence_of_a_command_is_broken_into_lines_by_its_source() -> None:
    for command in app.registered_commands:
        about = inspect.getdoc(command.callback)
        assert about is not None
        assert "\n" not in about.split("\n\n")[0], about
