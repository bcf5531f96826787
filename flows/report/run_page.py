"""A short page about a run that is no whole night: one that failed, a backfill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from flows.engine.accounting import StageReport
from flows.release.releases import Release
from flows.report.outcome import Outcome
from flows.report.rendering import render, stage_rows
from flows.report.summary import Part, Summary
from flows.storage.home import Home

OUTCOME_BEGINS, OUTCOME_ENDS = "<!-- outcome -->", "<!-- end of outcome -->"
"""What stands around the first line of a page."""


@dataclass(frozen=True)
class RunPage:
    """Everything the page shows."""

    title: str
    """What the run was, such as `the night of 2025-01-31`."""
    run_id: str
    summary: Summary
    stages: tuple[StageReport, ...] = ()
    message: tuple[str, ...] = ()
    """What stopped it, line by line."""
    release_id: str = ""
    """What is current now, of a run that came to its end."""

    @property
    def stage_rows(self) -> list[tuple[str, ...]]:
        return stage_rows(self.stages)

    @property
    def as_markdown(self) -> str:
        return render("run.md.j2", page=self)


def run_page(
    title: str,
    run_id: str,
    outcome: Outcome,
    parts: Iterable[Part] = (),
    stages: Iterable[StageReport] = (),
    message: Iterable[str] = (),
    release: Release | None = None,
) -> RunPage:
    """The page, whose parts have no section of their own."""
    here = tuple(replace(part, section="") for part in parts)
    release_id = "" if release is None else release.release_id
    return RunPage(title, run_id, Summary(outcome, here), tuple(stages), tuple(message), release_id)


def write_run_page(page: RunPage, home: Home, location: str) -> Path:
    """Write it as HTML."""
    home.storage.write_text(location, render("run.html.j2", page=page))
    return home.storage.local_path(location)


def mark_rolled_back(home: Home, withdrawn: Release, outcome: Outcome) -> Path | None:
    """Have the page of a release that was withdrawn say so in its first line, if there is one."""
    pages = [home.report(withdrawn.as_of), home.report_of_failure(withdrawn.as_of)]
    if withdrawn.days:
        span = withdrawn.days[0], withdrawn.days[-1]
        pages += [home.report_of_backfill(*span), home.report_of_failed_backfill(*span)]
    for page in pages:
        text = home.storage.read_text(page) if home.storage.exists(page) else ""
        if f"<code>{withdrawn.release_id}</code>" in text:
            home.storage.write_text(page, _with_outcome(text, outcome))
            return home.storage.local_path(page)
    return None


def _with_outcome(text: str, outcome: Outcome) -> str:
    """A page with another first line; one of an earlier version, which has none, gets it below its
    title."""
    first = render("outcome.html.j2", outcome=outcome).rstrip()
    before, begins, rest = text.partition(OUTCOME_BEGINS)
    if begins:
        _, _, after = rest.partition(OUTCOME_ENDS)
        return f"{before}{first}{after}"
    title, ends, after = text.partition("</h1>")
    return f"{title}{ends}\n{first}{after}"
