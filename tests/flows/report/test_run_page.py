"""Pages of runs that are no whole night: what their first line says, and what is to be done."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from contracts.errors import ContractError, UsageError
from flows.engine.accounting import StageReport
from flows.release.audit import FailedAudit
from flows.release.releases import Release
from flows.report.outcome import Outcome, message_of, of_backfill, of_failure, of_rollback
from flows.report.run_page import mark_rolled_back, run_page, write_run_page
from flows.report.summary import Part
from flows.storage.home import Home

D1, D2 = date(2025, 3, 1), date(2025, 3, 2)
NIGHT, COMMAND = "the night of 2025-03-02", "nightjar run --as-of 2025-03-02"


def release(release_id: str, as_of: date, run_id: str = "run") -> Release:
    at = datetime(2025, 3, 2, 1, tzinfo=UTC)
    return Release(release_id, as_of, "m1", "f", {}, run_id, at, replaces="before")


def failed(error: Exception, current: Release | None = None) -> Outcome:
    return of_failure(NIGHT, COMMAND, error, current, "tonight")


def test_a_night_that_failed_says_what_analysts_see_and_how_to_go_on() -> None:
    assert failed(ContractError("source orders cannot be landed"), release("r1", D1)) == Outcome(
        "Failed: the night of 2025-03-02 has published nothing; analysts go on seeing release r1 "
        "as of 2025-03-01.",
        "correct what the message names, then run `nightjar run --as-of 2025-03-02` again: what is "
        "finished is kept, and only the rest is computed",
        is_good=False,
        has_failed=True,
    )
    first = failed(ContractError("source orders cannot be landed"))
    assert first.headline == (
        "Failed: the night of 2025-03-02 has published nothing; there is no release yet."
    )


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            UsageError("max_score_shift: expected a number"),
            "change what the message names, then run `nightjar run --as-of 2025-03-02`",
        ),
        (
            ConnectionError(),
            "once what was away answers again, run `nightjar run --as-of 2025-03-02`: what is "
            "finished is kept, and only the rest is computed",
        ),
    ],
)
def test_what_is_next_goes_by_what_went_wrong(error: Exception, advice: str) -> None:
    assert failed(error).next_step == advice


def test_a_night_that_failed_after_it_has_published_says_that_analysts_see_its_release() -> None:
    error = ContractError("main cannot point to release r2:\n  its snapshot is gone.")
    assert failed(error, release("r2", D2, "tonight")) == Outcome(
        "Published: release r2 as of 2025-03-02 is what analysts see, but the night of 2025-03-02 "
        "stopped afterwards: main cannot point to release r2.",
        "correct what the message names, then run `nightjar run --as-of 2025-03-02` again: what is "
        "finished is kept, and only the rest is computed",
        is_good=False,
    )


def test_a_release_that_fails_its_audit_was_not_published() -> None:
    error = FailedAudit("user_scores fails its audit\n  mean score: 0.9, at most 0.5")
    found = failed(error, release("r1", D1))
    assert found.headline == (
        "Nothing was published: the night of 2025-03-02 failed its audit; analysts go on seeing "
        "release r1 as of 2025-03-01."
    )
    assert message_of(error) == ("user_scores fails its audit", "  mean score: 0.9, at most 0.5")


def test_a_backfill_says_which_days_of_what_it_brings() -> None:
    assert of_backfill([D1, D2], ["user_features", "labels"], "run", release("r2", D2)) == Outcome(
        "Published: release r2 brings user_features, labels of 2 days, 2025-03-01 to 2025-03-02, "
        "up to date; the newest day that analysts see stays 2025-03-02.",
        "nothing to do; `nightjar rollback` takes it back",
    )
    again = of_backfill([D1], ["labels"], "run", release("r2", D2, "an earlier run"))
    assert again.headline == (
        "Nothing new was published: of 2025-03-01, nothing had changed in labels; analysts go on "
        "seeing release r2."
    )


def test_a_rollback_says_what_analysts_see_again() -> None:
    outcome = of_rollback(release("r2", D2), release("r1", D1))
    assert outcome == Outcome(
        "Rolled back: release r2 as of 2025-03-02 is withdrawn; analysts see r1 as of 2025-03-01 "
        "again.",
        "`nightjar diff r1 r2` helps to find the cause; have it corrected before the next night, "
        "which computes the withdrawn days again",
        is_good=False,
    )


@pytest.mark.parametrize("page", ["2025-03-02.html", "2025-03-02-failed.html"])
def test_a_page_of_an_earlier_version_says_below_its_title_that_it_is_rolled_back(
    tmp_path: Path, page: str
) -> None:
    home = Home.of(tmp_path)
    text = "<html><body><h1>The night</h1>\n<p>Release <code>r2</code></p></body></html>\n"
    home.storage.write_text(f"{home.reports}/{page}", text)
    outcome = Outcome("Rolled back: r2.", "find the cause", is_good=False)
    path = mark_rolled_back(home, release("r2", D2), outcome)
    assert path is not None
    assert path.read_text() == (
        "<html><body><h1>The night</h1>\n"
        "<!-- outcome -->\n"
        '<div class="outcome look">\n'
        "<p><strong>Rolled back: r2.</strong></p>\n"
        "<p>Next: find the cause.</p>\n"
        "</div>\n"
        "<!-- end of outcome -->\n"
        "<p>Release <code>r2</code></p></body></html>\n"
    )


def test_the_page_of_a_release_that_is_withdrawn_says_so_in_its_first_line(tmp_path: Path) -> None:
    rolled_back = of_rollback(release("r2", D2), release("r1", D1))
    home, good = Home.of(tmp_path), Outcome("Published: r2.", "nothing to do")
    page = run_page(NIGHT, "run", good, release=release("r2", D2), message=["kept"])
    path = write_run_page(page, home, home.report(D2))
    assert mark_rolled_back(home, release("r2", D2), rolled_back) == path
    assert mark_rolled_back(home, release("r2", D2), rolled_back) == path  # and once more
    text = path.read_text()
    assert text.count("Rolled back: release r2 as of 2025-03-02 is withdrawn") == 1
    assert "Published" not in text
    assert '<p class="message">kept</p>' in text
    assert mark_rolled_back(home, release("another", D2), rolled_back) is None
    assert mark_rolled_back(home, release("r1", D1), rolled_back) is None


def test_markdown_and_html_say_the_same() -> None:
    page = run_page(
        NIGHT,
        "run",
        Outcome("Failed: <nothing>.", "run it again", is_good=False),
        [Part("Time", ("in all 3 s",), "time", needs_a_look=True)],
        [StageReport("labels", 2, 1, 30, 20, 2.0), StageReport("train", 1, 0)],
        ["orders fails:", "  a | b"],
    )
    assert page.as_markdown == (
        "# The night of 2025-03-02\n\n"
        "**Failed: <nothing>.**\n\n"
        "Next: run it again.\n\n"
        "**Time** (look)\n\n"
        "- in all 3 s\n\n"
        "## What stopped it\n\n"
        "- orders fails:\n- a | b\n\n"
        "## What was done\n\n"
        "| stage | days | recomputed | rows in | rows out | seconds | rows/s |\n"
        "|---|--:|--:|--:|--:|--:|--:|\n"
        "| labels | 2 | 1 | 30 | 20 | 2.0 | 15 |\n"
        "| train | 1 | 0 | 0 | 0 | 0.0 | reused |\n"
    )
