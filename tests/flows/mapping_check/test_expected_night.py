"""What a check foretells of the night: that it would stop, and which tasks could not be trained."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from contracts.history import TrainingDays
from flows.cli.mapping_check_page import page
from flows.mapping_check.result import Checked, as_json
from flows.mapping_check.trial import tried
from flows.monitor.quarantine import NO_LIMITS, Limits
from jobs.landing.lookup_files import read_whole
from jobs.landing.raw_folder import files_before
from tests.flows.mapping_check.test_trial import checked, written


def days_of_lines(bad_of_the_last: int) -> dict[str, str]:
    """Fifteen days of 120 order lines each; some of the last day's have no whole quantity."""

    def line(day: int, i: int) -> str:
        quantity = "one" if day == 15 and i < bad_of_the_last else "1"
        return f"l{day}-{i},u{i % 40},x,{quantity},2.50,2025-01-{day:02d}T10:00:00"

    return {
        f"2025-01-{day:02d}": "\n".join(line(day, i) for i in range(120)) for day in range(1, 16)
    }


@pytest.mark.slow
def test_a_check_foretells_that_a_night_would_stop_at_what_cleaning_drops(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, days_of_lines(60))
    call, limits = (spark, tmp_path / "m.toml", tmp_path), Limits(max_share=0.03, max_jump=0.2)
    share = "orders from log: 60 of 1,800 rows (3%) are quarantined; max_quarantined_share = 0.03"
    jump = (
        "orders from log, 2025-01-15, quantity: not a whole number: 60 of 120 rows (50%), at most "
        "0% on a day of the 28 before; max_quarantine_jump = 0.2"
    )
    # Every file was read to its end, so that nothing can be otherwise.
    whole = checked(*call, tmp_path / "whole", date(2025, 1, 16), 121, limits)
    assert (whole.would_stop, whole.may_stop) == ((share, jump), ())
    assert first_lines(whole)[1:3] == [f"a night would stop: {why}" for why in (share, jump)]
    shown = as_json(whole)
    assert (shown["a_night_would_stop"], shown["a_night_may_stop"]) == ([share, jump], [])

    cut_off = checked(*call, tmp_path / "cut", date(2025, 1, 16), 110, Limits(max_jump=0.2))
    jump = jump.replace("120 rows (50%)", "110 rows (55%)")
    assert (cut_off.would_stop, cut_off.may_stop) == ((), (jump,))
    assert first_lines(cut_off)[1:3] == [
        f"a night may stop, going by the rows read: {jump}",
        "",
    ]
    shown = as_json(cut_off)
    assert (shown["a_night_would_stop"], shown["a_night_may_stop"]) == ([], [jump])


@pytest.mark.slow
def test_a_check_of_all_rows_knows_tasks_that_have_too_few_of_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, days_of_lines(0))
    read = read_whole(tmp_path / "m.toml", tmp_path, date(2025, 1, 16))
    files = files_before(read, tmp_path, date(2025, 1, 16))
    learning = TrainingDays(1, 24, 3, 0)

    def tried_on(rows: int | None, name: str) -> Checked:
        folder, as_of = tmp_path / name, date(2025, 1, 16)
        return tried(spark, read, files, as_of, rows, folder, learning, NO_LIMITS, 100)

    checked = tried_on(None, "all")
    # Of 40 users, six days are closed, 4 to 9 January: 240 rows for three parts by user.
    why = "at most 80 labels in the smallest part; min_rows is 100"
    assert dict(checked.too_few)["purchase_7d"] == why
    assert as_json(checked)["tasks"]["purchase_7d"] == {
        "can_be_trained": False, "from": "2025-01-16", "too_few": why,
    }  # fmt: skip
    assert [line for line in first_lines(checked) if "purchase_7d" in line] == [
        f"  off, for want of rows: purchase_7d: {why}"
    ]
    assert tried_on(110, "cut").too_few == ()  # the rest of the rows may name other users


def first_lines(checked: Checked) -> list[str]:
    out = Console(width=160, record=True, file=io.StringIO())
    page(out, checked)
    return out.export_text().splitlines()
