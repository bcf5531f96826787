"""What the command prints."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from contracts.counts import n_of
from contracts.days import as_ranges
from contracts.errors import UsageError
from contracts.table import Table
from contracts.tables import RELEASED_TABLES, TABLES
from flows.release.duckdb_views import VIEWS, View, query
from flows.settings import NightjarSettings

if TYPE_CHECKING:
    from flows.monitor.content_lineage import ScoredText
    from flows.monitor.lineage import Origin
    from flows.planning.plan import Plan

NARROWEST = 6
"""Columns of a terminal that a table's column needs at least, if its cells have as many."""
SHOWN_FEATURES, SHOWN_TILES, SHOWN_FILES = 30, 8, 10
"""Of one user's lineage."""


def rows(
    names: Sequence[str],
    values: Sequence[Sequence[Any]],
    how: str,
    out: Console,
    unbroken: Collection[str] = (),
) -> None:
    """Print a result as a table, CSV or JSON; the last two to the bare output, for programs.

    Cells of columns that are `unbroken` stay on one line, however narrow the terminal is. Where it
    is too narrow for so many columns, a table has a line per cell instead, row after row.
    """
    if how == "csv":
        writer = csv.writer(out.file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(values)
    elif how == "json":
        json.dump(
            [dict(zip(names, row, strict=True)) for row in values],
            out.file,
            indent=1,
            default=str,
        )
        print(file=out.file)
    elif not _fits(names, values, out.width):
        for row in values:
            cells = RichTable(box=None, show_header=False, pad_edge=False)
            cells.add_column(style="bold", overflow="fold", no_wrap=True)
            cells.add_column(overflow="fold")
            for name, value in zip(names, row, strict=True):
                cells.add_row(Text(name), _cell(value))
            out.print(cells)
            out.print()
    else:
        table = RichTable(box=None, header_style="bold", pad_edge=False)
        for i, name in enumerate(names):
            is_number = any(isinstance(row[i], int | float) for row in values)
            table.add_column(
                name,
                justify="right" if is_number else "left",
                overflow="fold",
                no_wrap=name in unbroken,
            )
        for row in values:
            table.add_row(*(_cell(value) for value in row))
        out.print(table)


def _cell(value: Any) -> Text:
    return Text("" if value is None else str(value))


def _fits(names: Sequence[str], values: Sequence[Sequence[Any]], width: int) -> bool:
    """Whether each column has room for its cells, or for the start of them, two blanks apart."""
    if not values:
        return True
    wanted = (
        max(len(name), *(_cell(row[i]).cell_len for row in values)) for i, name in enumerate(names)
    )
    return sum(min(one, NARROWEST) + 2 for one in wanted) - 2 <= width


def tables(out: Console, database: Path) -> None:
    """The release's views with their rows."""
    release = query(database, "SELECT release_id, as_of FROM release")[1][0]
    out.print(f"release {release[0]}, newest day {release[1]}")
    listed = []
    shown: tuple[Table | View, ...] = (*RELEASED_TABLES, *VIEWS)
    for table in shown:
        n = query(database, f"SELECT count(*) FROM {table.name}")[1][0][0]
        listed.append((table.name, f"{n:,}", table.doc))
    rows(("table", "rows", "what it holds"), listed, "table", out, unbroken=("table", "rows"))


def describe(out: Console, name: str) -> None:
    """A table from its contract, or a view of the release's file."""
    known: dict[str, Table | View] = {t.name: t for t in TABLES} | {v.name: v for v in VIEWS}
    if name not in known:
        raise UsageError(f"{name}: no such table; expected one of {', '.join(known)}")
    table = known[name]
    out.print(f"{name}: {table.doc}\none row per {', '.join(table.grain)}")
    rows(
        ("column", "type", "null", "what it says"),
        [(c.name, c.type, "may be" if c.nullable else "", c.doc) for c in table.columns],
        "table",
        out,
        unbroken=("column",),
    )


def quarantine(
    out: Console, settings: NightjarSettings, day: date | None, reason: str | None, n: int
) -> None:
    """Reasons with their share and course, then samples of the most frequent."""
    from flows.lake.home_binding import open_home, open_lake  # pyiceberg's import takes a second
    from flows.monitor.quarantine import dropped, samples

    lake = open_lake(settings, open_home(settings))
    by_reason = dropped(lake, day, reason)
    if not by_reason:
        out.print("nothing was dropped" + (f" of what landed on {day}" if day else ""))
        return
    rows(
        ("table", "reason", "rows", "of all", "last 14 days", "newest"),
        [
            (d.table, d.reason, f"{d.rows:,}", f"{d.rows / d.rows_in:.2%}", d.trend, str(d.newest))
            for d in by_reason
        ],
        "table",
        out,
    )
    shown = samples(lake, by_reason[:10], day, n) if n else []
    if shown:
        out.print("\nsamples, letters as a and digits as 9; `file:line` is where the row lies")
        rows(
            ("table", "reason", "file:line", "fields"),
            [(s.table, s.reason, s.place, s.fields) for s in shown],
            "table",
            out,
        )


def releases(out: Console, settings: NightjarSettings) -> None:
    """Releases, newest first."""
    from flows.lake.home_binding import open_home  # MLflow's import takes seconds
    from flows.release.releases import Releases

    published = Releases(open_home(settings))
    current = published.current()
    if not published.all():
        out.print("nothing has been released yet: run `nightjar run` or `nightjar demo`")
        return
    rows(
        ("", "release", "newest day", "days it added", "model", "published", "run"),
        [
            (
                "*"
                if current and r.release_id == current.release_id
                else "withdrawn"
                if r.withdrawn_at
                else "",
                r.release_id,
                str(r.as_of),
                _listed(r.days),
                r.model_id,
                f"{r.published_at:%Y-%m-%d %H:%M}",
                r.run_id,
            )
            for r in reversed(published.all())
        ],
        "table",
        out,
        unbroken=("release", "newest day"),
    )
    for r in reversed(published.all()):
        if r.reason is not None:
            out.print(f"{r.release_id}: {r.reason}")


def _listed(days: Sequence[date]) -> str:
    ranges = as_ranges(days)
    return ", ".join(
        str(r.start) if len(r) == 1 else f"{r.start} to {r.end - timedelta(days=1)}" for r in ranges
    )


def plan(out: Console, planned: Plan, how: str) -> None:
    """A plan: a line per stretch of days of which the same is said, the cost, and the token."""
    from flows.planning.plan import runs_of_days, stage_costs

    listed = [
        (stage, days, n, what, why) for stage, days, what, why, n in runs_of_days(planned.days)
    ]
    rows(("stage", "days", "n", "what", "why"), listed, how, out, unbroken=("stage", "days"))
    if how != "table":
        return
    if not planned.todo:
        out.print("\nnothing to do")
    else:
        out.print("\ncost, from earlier runs of these stages")
        costs = [
            (
                stage,
                n,
                "unknown" if rows_ is None else f"{rows_:,}",
                "unknown" if seconds is None else f"{seconds:,.1f}",
                "unknown" if size is None else f"{size / 1e6:,.1f}",
            )
            for stage, n, rows_, seconds, size in stage_costs(planned.days)
        ]
        total = (
            "all",
            len(planned.todo),
            f"{int(planned.total('rows')):,}",
            f"{planned.total('seconds'):,.1f}",
            f"{planned.total('bytes') / 1e6:,.1f}",
        )
        rows(("stage", "days", "rows", "seconds", "MB"), [*costs, total], how, out)
    command = planned.call["command"]
    words = (
        f"--as-of {planned.call['as_of']}"
        if command == "run"
        else f"--start {planned.call['start']} --end {planned.call['end']} "
        f"--stages {','.join(planned.call['stages'])} --engine {planned.call['engine']}"
        + (" --force" if planned.call["force"] else "")
    )
    out.print(f"\nplan {planned.token}; to run exactly this:")
    out.print(f"  nightjar {command} {words} --plan {planned.token}", soft_wrap=True)


def lineage(out: Console, origin: Origin) -> None:
    """A row's lineage, from the scores back to the files."""
    out.print(f"user {origin.user_key} as of {origin.as_of}")
    _scores(out, origin)
    _computed_by(out, origin)
    _computed_from(out, origin)
    if origin.mismatches:
        out.print("\nrecomputed, it differs:")
        for problem in origin.mismatches:
            out.print(f"  {problem}")
    else:
        out.print("\nrecomputed from tiles and artifact: every feature and score matches")


def _scores(out: Console, origin: Origin) -> None:
    """The scores, and which features moved them most."""
    out.print(f"\nscores, first published by release {origin.scores['release_id']}")
    scores = [
        (name, value if not isinstance(value, float) else f"{value:.6g}")
        for name, value in origin.scores.items()
        if name.startswith("score_") and value is not None and not isinstance(value, list)
    ]
    rows(("score", "value"), scores, "table", out)
    out.print("\nwhat moved each score most, against the mean user of the day")
    reasons = [
        (
            task,
            f"{reason['score']:.3g}",
            f"{reason['mean_user']:.3g}",
            ", ".join(f"{feature} {by:+.2g}" for feature, by in reason["features"]),
        )
        for task, reason in origin.reasons.items()
    ]
    rows(("task", "ranking score", "mean user", "reasons"), reasons, "table", out)


def _computed_by(out: Console, origin: Origin) -> None:
    """The release, the model and the run that computed the features."""
    release = origin.release
    described = {
        "release": release.release_id,
        "published": f"{release.published_at:%Y-%m-%d %H:%M} UTC",
        "run": release.run_id,
        "snapshots": ", ".join(f"{table} {id}" for table, id in release.snapshots.items()),
    }
    for title, values in (
        ("current release", described),
        ("model", origin.model),
        ("features", origin.computed),
    ):
        out.print(f"\n{title}")
        rows(("", ""), [(name, str(value)) for name, value in values.items()], "table", out)


def _computed_from(out: Console, origin: Origin) -> None:
    """Features, tiles, clean rows and raw files of the user."""
    numbers = {k: v for k, v in origin.features.items() if isinstance(v, int | float) and v}
    shown = ", ".join(f"{k} {v:g}" for k, v in list(numbers.items())[:SHOWN_FEATURES])
    out.print(f"\n{len(origin.features)} feature columns, {len(numbers)} of them not 0: {shown} …")
    out.print(f"\n{len(origin.tiles)} tiles in the widest window; the newest")
    tiles = [
        (
            str(tile["day"]),
            str(tile["landed_on"]),
            ", ".join(f"{k} {v}" for k, v in tile.items() if isinstance(v, int) and v),
        )
        for tile in origin.tiles[-SHOWN_TILES:]
    ]
    rows(("day", "landed", "what"), tiles, "table", out)
    out.print("\nclean rows of the user")
    rows(("table", "rows", "first landed", "last landed"), origin.rows, "table", out)
    lines = sum(n for _, _, n in origin.files)
    out.print(
        f"\n{n_of(len(origin.files), 'raw file')} of those days, {n_of(lines, 'line')}; the newest"
    )
    rows(("source", "file", "lines"), origin.files[:SHOWN_FILES], "table", out)


def scored_text(out: Console, text: ScoredText, head: str | None, how: str) -> None:
    """What a text was taken for by each head, or one, and how much its words have to do with it.

    Raises:
        UsageError: no such head has scored it.
    """
    named = [said for said in text.heads if head in (None, said["head"])]
    if not named:
        on = ", ".join(said["head"] for said in text.heads)
        raise UsageError(f"--head {head}: expected one of {on}")
    if how == "table":
        out.print(
            f"{text.content_hash[:16]}…, landed on {text.landed_on}, by model {text.model_id[:16]}"
        )
        for said in named:
            out.print(f"{said['head']}: {said['class']} ({said['probability']:.0%})")
        out.print("By how much the log-odds would be lower without the word:")
    rows(
        ("word", *(f"{said['head']}: {said['class']}" for said in named)),
        [
            (word, *(f"{said['effects'][at]:+.2f}" for said in named))
            for at, word in enumerate(text.words)
        ],
        how,
        out,
    )
