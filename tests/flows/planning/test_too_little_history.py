"""A night without a day to learn from ends before Spark starts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from contracts.errors import ContractError
from flows.engine import spark_provider
from flows.engine.run import Run
from flows.engine.run_days import RunDays
from flows.nightly import plan_of_night
from flows.planning import stage_list
from flows.planning.stage_list import Check
from flows.settings import read_settings
from flows.steps import runner
from tests.flows.planning.mappings import log_of_views

MAPPING = log_of_views(columns="id, user, time", target="'p'")
WHOLE = MAPPING.replace('"{day}.csv"', '"*.csv"').replace(
    "[sources.log.tables", 'landed_on = "to_date(time)"\n[sources.log.tables'
)


ITEMS = """
[sources.items]
files = "items/{day}.csv"
format = "csv"
missing = "empty"
columns = ["sku", "at"]
[sources.items.tables.items]
item_id = "sku"
occurred_at = "at"
"""
SECOND = date(2025, 3, 2)


def night_of(folder: Path, monkeypatch: pytest.MonkeyPatch, mapping: str, as_of: date) -> Run:
    """Nine days of a log."""
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    monkeypatch.setattr(
        spark_provider, "start_session", lambda *arguments: pytest.fail("Spark was started")
    )
    (folder / "m.toml").write_text(mapping)
    (folder / "raw").mkdir(exist_ok=True)
    for day in range(1, 10):
        path = folder / "raw" / f"2025-03-0{day}.csv"
        path.write_text(f"id,user,time\ne{day},ann,2025-03-0{day}T12:00:00Z\n")
    settings = read_settings(home=folder / "home", source=folder / "m.toml", raw=folder / "raw")
    night = Run(settings, as_of)
    night.look_at_files()
    return night


def test_a_night_with_too_little_history_says_so_before_spark_starts(tmp_path, monkeypatch) -> None:
    night = night_of(tmp_path, monkeypatch, MAPPING, date(2025, 3, 10))
    assert set(night.days.first_days.values()) == {date(2025, 3, 1)}
    assert set(night.days.first_days) == {task.name for task in night.context.tasks}
    message = (
        "no task can be trained as of 2025-03-10: the data begin on 2025-03-01, which is too little "
        "history. Tasks can be trained\n"
        "  from 2025-04-08 on: view_7d, like_7d, comment_7d, share_7d, search_7d, ad_click_7d\n"
        "  from 2025-04-29 on: churn_28d\n"
        "  from 2025-06-30 on: return_90d\n"
        "Until then --no-train publishes features and labels without scores"
    )
    with pytest.raises(ContractError) as stopped:
        night.days.check_history()
    assert str(stopped.value) == message
    with pytest.raises(ContractError) as stopped:
        plan_of_night(night)
    assert str(stopped.value) == message


def test_a_plan_that_raises_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    """The days on which it expected rows to land are no days of the run."""
    night = night_of(tmp_path, monkeypatch, MAPPING, date(2025, 3, 10))
    with pytest.raises(ContractError, match="no task can be trained as of 2025-03-10"):
        plan_of_night(night)
    with pytest.raises(ContractError) as nothing_landed:
        _ = night.days.landed_days
    assert str(nothing_landed.value) == ("no row landed before 2025-03-10: every raw file is empty")


def test_a_night_that_learns_nothing_needs_no_history(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTJAR_NO_TRAIN", "true")
    night = night_of(tmp_path, monkeypatch, MAPPING, date(2025, 3, 10))
    night.days.check_history()
    plan = plan_of_night(night)
    assert plan.call == {"command": "run", "as_of": "2025-03-10", "no_train": True}
    assert "train" not in {p.stage for p in plan.days}
    assert "score" in {p.stage for p in plan.todo}


def test_days_within_a_file_are_known_once_it_was_read(tmp_path, monkeypatch) -> None:
    night = night_of(tmp_path, monkeypatch, WHOLE, date(2025, 3, 10))
    assert night.days.first_days == {}
    night.days.check_history()  # nobody knows yet
    monkeypatch.setattr(
        RunDays, "first_days", dict.fromkeys([t.name for t in night.context.tasks], SECOND)
    )
    with pytest.raises(ContractError, match="the data begin on 2025-03-02"):
        night.days.check_history()


def test_an_old_list_of_items_makes_no_history(tmp_path, monkeypatch) -> None:
    (tmp_path / "raw/items").mkdir(parents=True)
    (tmp_path / "raw/items/2015-01-01.csv").write_text("sku,at\nx,2015-01-01T00:00:00Z\n")
    night = night_of(tmp_path, monkeypatch, MAPPING + ITEMS, date(2025, 3, 10))
    assert [file.landed_on for file in night.days.files["items"]] == [date(2015, 1, 1)]
    assert set(night.days.first_days.values()) == {date(2025, 3, 1)}
    with pytest.raises(ContractError, match="the data begin on 2025-03-01"):
        night.days.check_history()


def test_days_within_a_file_stop_a_night_before_anything_is_cleaned(tmp_path, monkeypatch) -> None:
    night = night_of(tmp_path, monkeypatch, WHOLE, date(2025, 3, 10))
    monkeypatch.setattr(RunDays, "landed_days", (SECOND,))  # what landing found
    monkeypatch.setattr(
        RunDays, "first_days", dict.fromkeys([t.name for t in night.context.tasks], SECOND)
    )
    monkeypatch.setitem(runner.CHECKS, Check.mapping, lambda night: None)
    monkeypatch.setattr(runner, "together", list)
    monkeypatch.setattr(runner.tasks, "land", SimpleNamespace(submit=lambda *given: None))
    monkeypatch.setattr(
        runner.tasks, "compute", SimpleNamespace(submit=lambda *given: pytest.fail("was cleaned"))
    )
    with pytest.raises(ContractError, match="the data begin on 2025-03-02"):
        runner.execute(night, stage_list.data_stages(night.context))
