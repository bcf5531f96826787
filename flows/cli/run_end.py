"""What the command says when a run has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from flows.cli.render import rows
from flows.release.duckdb_views import NEWEST
from flows.settings import NightjarSettings

if TYPE_CHECKING:
    from flows.report.summary import Summary

RULE = 80
"""Columns of a line across, where there are more."""


def demo(
    out: Console, settings: NightjarSettings, done: Mapping[str, Any], variables: Mapping[str, str]
) -> None:
    """The end of a demo: what came in and out, where to look next, and in what environment."""
    out.print(Rule(f"the night of {done['as_of']}"), width=min(out.width, RULE))
    if not done["recomputed"]:
        out.print("nothing had changed since the run before: everything was reused\n")
    if "summary" in done:
        opening(out, done["summary"])
        out.print()
    parts(out, done)
    page, home = done.get("report", "none could be made"), settings.home_folder
    exports = "\n                     ".join(
        f"export {name}={value}" for name, value in variables.items()
    )
    out.print(
        f"""[bold]where to look[/bold]
  the night's page   {page}
  SQL                nightjar sql "SELECT * FROM {NEWEST} ORDER BY score_purchase_7d DESC LIMIT 10"
                     nightjar tables; nightjar describe user_scores
  what to show whom  nightjar recommend; nightjar recommend USER
  any SQL tool       {home.analysts_file} (DuckDB)
  MLflow, Prefect    nightjar up
[bold]what to try next[/bold]
  the same again     nothing is recomputed
  its commands       plan, explain, canary, tune … need to know what the demo was made of:
                     {exports}
  your own logs      README, "Bring your own logs"
""",
        soft_wrap=True,
    )


def run(out: Console, done: Mapping[str, Any]) -> None:
    """The end of a night or backfill: what came of it, what is next, and where to look."""
    if "summary" in done:
        opening(out, done["summary"])
    else:
        out.print(f"release {done['release_id']} is current")
    if "report" in done:
        out.print(f"its page: {done['report']}", soft_wrap=True)


def opening(out: Console, summary: Summary) -> None:
    """What came of a run, what is to be done next, and what there is to know, line by line."""
    headline, *others = summary.lines
    out.print(Text(headline, style="bold"), soft_wrap=True)
    for line in others:
        out.print(Text(line), soft_wrap=True)


def parts(out: Console, done: Mapping[str, Any]) -> None:
    """What a night says when it is over: its parts that a terminal has room for."""
    if "tonight" not in done:  # the release stands, but its page could not be made
        return
    counts, (names, sampled) = done["tonight"], done["sample"]
    _part(
        out,
        f"what became of {counts.title}",
        ("source", "table", "rows in", "clean", "duplicate", "quarantined", "erased"),
        counts.rows,
    )
    _part(
        out,
        "why rows of these were dropped",
        ("source", "table", "reason", "rows"),
        counts.reasons,
    )
    _part(
        out,
        "how well it predicts[/bold] (test days, touched once; the page has intervals)[bold]",
        done["task_names"][:-1],
        [row[:-1] for row in done["task_rows"]],
    )
    _part(
        out,
        "what is shown to them[/bold] (the newest past day, which the order was chosen on)[bold]",
        done["list_names"],
        done["list_rows"],
    )
    _part(out, "tasks that are off", ("task", "why"), list(done["switched_off"].items()))
    _part(out, "a few scored users", names, sampled)


def _part(out: Console, title: str, names: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    if values:
        out.print(f"[bold]{title}[/bold]")
        rows(names, values, "table", out, unbroken=("task",))
        out.print()
