"""What people enter, and who waits for whom: all of it before Spark or training starts."""

from __future__ import annotations

import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from contracts.errors import BusyError, UsageError
from flows import backfill
from flows.backfill import Backfill, EngineName, Form, Mode, Stage, as_form
from flows.state import writer_lock
from flows.state.schema import open_database
from flows.state.writer_lock import AFTER_THE_NIGHT, NIGHT_FIRST, writing
from flows.steps.opening import of_raw_files
from flows.steps.parameters import as_choices, as_day, as_flag, as_text, command_of

RIGHT = {
    "start": "2025-01-01",
    "end": "2025-01-31",
    "mode": "plan",
    "plan": None,
    "reason": None,
    "stages": ["user_features"],
    "engine": "one-pass",
    "force": False,
}


def test_a_form_that_is_right_becomes_what_was_asked() -> None:
    form = as_form(**(RIGHT | {"plan": " abc ", "stages": ["score", "score", "labels"]}))
    stages, engine = [Stage.score, Stage.labels], EngineName.one_pass
    asked = Backfill(date(2025, 1, 1), date(2025, 1, 31), stages, engine, False)
    assert form == Form(asked, Mode.plan, "abc", None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start": "soon"}, "start: expected a day such as 2025-01-31, found 'soon'"),
        ({"end": None}, "end: expected a day such as 2025-01-31, found ''"),
        ({"mode": "go"}, "mode: expected plan or run, found 'go'"),
        ({"engine": "fast"}, "engine: expected one-pass or per-day, found 'fast'"),
        (
            {"stages": "score"},
            "stages: expected some of user_features, labels, examples, score, recommendations, found 'score'",
        ),
        (
            {"stages": []},
            "stages: expected some of user_features, labels, examples, score, recommendations, found []",
        ),
        (
            {"stages": ["scores"]},
            "stages: expected user_features or labels or examples or score or recommendations, found 'scores'",
        ),
        ({"force": "yes"}, "force: expected true or false, found 'yes'"),
        ({"reason": 7}, "reason: expected text, found 7"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_enter(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        as_form(**(RIGHT | wrong))
    assert str(error.value) == message


def test_the_command_that_asks_again_has_all_that_was_asked_and_the_settings_do_not_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIGHTJAR_SOURCE", "shop.toml")
    files = of_raw_files("shop.toml", "raw logs")
    options = {"as-of": date(2025, 1, 31), **files, "no-train": True, "accept": None}
    assert command_of("run", options) == (
        "nightjar run --as-of 2025-01-31 --raw 'raw logs' --no-train"
    )
    assert command_of("run", {"no-train": False}) == "nightjar run"


def test_from_the_ui_a_run_needs_its_plan_and_a_reason(monkeypatch) -> None:
    asked = RIGHT | {"mode": "run"}
    assert as_form(**asked).mode is Mode.run  # at a terminal or in Python it does not
    monkeypatch.setattr(backfill.deployment, "id", "a deployment", raising=False)
    with pytest.raises(UsageError, match="mode run needs the token of a plan. Run this with mode"):
        as_form(**asked)
    with pytest.raises(UsageError, match="reason: say in a few words why"):
        as_form(**(asked | {"plan": "token"}))
    assert as_form(**(asked | {"plan": "token", "reason": "a late file"})).reason == "a late file"


def test_blanks_are_nothing() -> None:
    assert as_text("  ", "plan") is None
    assert as_text(None, "plan") is None
    assert as_day(date(2025, 1, 2), "day") == date(2025, 1, 2)
    assert as_flag(False, "force") is False
    assert as_choices([Stage.score], Stage, "stages") == [Stage.score]


def test_of_runs_that_wait_the_night_goes_before_a_backfill(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer_lock, "POLL_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/n.db"
    engine, order, said = open_database(url), [], []
    patience = timedelta(seconds=120)

    def wait(name: str, turn: int) -> threading.Thread:
        def run() -> None:
            with writing(open_database(url), name, f"the {name}", patience, turn, said.append):
                order.append(name)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def until_said(times: int) -> None:
        deadline = time.monotonic() + 60
        while len(said) < times and time.monotonic() < deadline:
            time.sleep(0.01)

    with writing(engine, "first", "a run that is writing"):
        waiting = [wait("backfill", AFTER_THE_NIGHT)]
        until_said(1)  # it came first, and still goes second
        waiting.append(wait("night", NIGHT_FIRST))
        until_said(2)
    for thread in waiting:
        thread.join(120)
    assert order == ["night", "backfill"]
    assert len(said) == 2
    assert said[0].startswith("waiting for its turn: a run that is writing (run first, process ")
    with pytest.raises(BusyError), writing(engine, "x", "x"), writing(engine, "y", "y"):
        pass


def test_who_died_while_waiting_holds_up_nobody(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer_lock, "POLL_SECONDS", 0.01)
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    long_ago = writer_lock.datetime.now(writer_lock.UTC) - writer_lock.STALE - timedelta(seconds=1)
    with engine.begin() as connection:
        connection.execute(
            writer_lock.insert(writer_lock.WAITING).values(
                run_id="dead", what="a night", turn=NIGHT_FIRST, since=long_ago, beat_at=long_ago
            )
        )
    with writing(engine, "alive", "a backfill", timedelta(seconds=5), AFTER_THE_NIGHT):
        pass
