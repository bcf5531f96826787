"""Commands that look into raw files, a row, a day or the past.

They are check, explain, explain-content, late-data, late-data-cost, canary and tune.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.days import parse_day
from contracts.errors import ContractError
from flows.cli import render
from flows.cli.terminal import (
    Day,
    Format,
    HomeOption,
    RawOption,
    ReleasedDay,
    SourceOption,
    begin,
    begin_without_home,
    out,
    sentence_of,
)
from flows.lifecycle.errors import exit_code
from flows.release import duckdb_views
from flows.settings import NightjarSettings, read_settings

if TYPE_CHECKING:
    from flows.engine.run import Run


def _reading_run(settings: NightjarSettings) -> Run:
    """A run as of the newest released day, to read with."""
    begin(settings.home_folder)
    from flows.engine.run import Run
    from flows.lake.home_binding import open_home
    from flows.release.releases import Releases

    current = Releases(open_home(settings)).current()
    if current is None:
        raise ContractError("nothing has been released yet: run `nightjar run` or `nightjar demo`")
    return Run(settings, current.as_of)


def explain(
    user: Annotated[str, typer.Argument(help="A user_key, or a raw user id.")],
    as_of: ReleasedDay = None,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Where a user's scores come from: release, model, features, tiles, files; then recomputed."""
    from flows.monitor.lineage import explain as trace

    settings = read_settings(home=home, source=source, raw=raw)
    run = _reading_run(settings)
    day = run.as_of if as_of is None else parse_day(as_of, "--as-of")
    lineage = trace(run, user, day, out.print)
    render.lineage(out, lineage)
    if lineage.mismatches:
        raise typer.Exit(1)


def explain_content(
    what: Annotated[
        str, typer.Argument(help="A content_hash, or the id of a post, review, comment or item.")
    ],
    head: Annotated[str | None, typer.Option(help="One head, such as sentiment.")] = None,
    format: Annotated[Format, typer.Option(help="How to print the words.")] = Format.table,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """What a text was taken for, and how much each of its words has to do with it."""
    from flows.monitor.content_lineage import explain_content as trace

    run = _reading_run(read_settings(home=home, source=source, raw=raw))
    text = trace(run, what, out.print)
    render.scored_text(out, text, head, format.value)


def late_data(
    day: Annotated[
        str | None, typer.Option(help="One arrival day, YYYY-MM-DD: users and their scores.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 50,
    format: Annotated[Format, typer.Option(help="How to print the rows.")] = Format.table,
    home: HomeOption = None,
) -> None:
    """What landed late: per arrival day, or of one day users, and scores computed without it."""
    database = read_settings(home=home).home_folder.analysts_file
    if day is None:
        statement = f"SELECT * FROM late_ledger ORDER BY landed_on DESC LIMIT {limit}"
    else:
        on = parse_day(day, "--day")
        statement = f"""
            SELECT l.user_key, l.day, l.days_late, l.n_events,
                list(s.as_of ORDER BY s.as_of) FILTER (s.as_of IS NOT NULL) AS stale_scores_of
            FROM late_data l LEFT JOIN stale_scores s USING (user_key, day, landed_on)
            WHERE l.landed_on = DATE '{on}' GROUP BY ALL
            ORDER BY l.days_late DESC, l.n_events DESC, l.user_key LIMIT {limit}"""
    names, rows = duckdb_views.query(database, statement)
    render.rows(names, rows, format.value, out)


def late_data_cost(
    as_of: Annotated[
        str, typer.Option(help="A past as-of day with features and labels, YYYY-MM-DD.")
    ],
    format: Annotated[Format, typer.Option(help="How to print the rows.")] = Format.table,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """What late data costs: each task's AUC on features as they were, and as they are known now."""
    from flows.monitor.late_data import compare_features

    settings = read_settings(home=home, source=source, raw=raw)
    by_task = compare_features(_reading_run(settings), parse_day(as_of, "--as-of"), out.print)
    render.rows(
        ("task", "users", "AUC as was", "AUC as now", "difference", "95 % interval", "moved"),
        [
            (
                name,
                row["users"],
                round(row["was"], 4),
                round(row["now"], 4),
                round(row["gain"], 4),
                f"{row['low']:+.4f} to {row['high']:+.4f}",
                row["moved"],
            )
            for name, row in by_task.items()
        ],
        format.value,
        out,
    )


def canary(
    as_of: Annotated[
        str | None,
        typer.Option(
            help="Midnight UTC, YYYY-MM-DD.", show_default="30 days before the newest released"
        ),
    ] = None,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Look for leakage: users and items that only the future tells of must show nowhere."""
    from flows.monitor.leakage import canary as plant_canaries
    from flows.monitor.leakage import default_cut
    from flows.monitor.list_leakage import list_canary

    run = _reading_run(read_settings(home=home, source=source, raw=raw))
    cut = default_cut(run.as_of) if as_of is None else parse_day(as_of, "--as-of")
    canaries = plant_canaries(run, cut, out.print)
    render.rows(
        ("task", "AUC of twins", "chance allows"),
        [
            (n, round(auc, 3), f"0.5 ± {allowed:.3f}")
            for n, (auc, allowed) in canaries.tasks.items()
        ],
        "table",
        out,
    )
    canaries.check()
    out.print(
        f"{canaries.n_pairs} pairs of twins as of {canaries.cut}: no feature tells them apart"
    )
    lists = list_canary(run, cut, out.print)
    if lists is not None:
        lists.check()
        out.print(
            f"{lists.n_rows:,} rows of recommendations as of {lists.cut}: none names an item that "
            "only exists later, none changes with later rows"
        )


def tune(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to search.")] = 60,
    trials: Annotated[int, typer.Option(min=1, help="Trials at most.")] = 1000,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Search for better training settings on the validation days; called again, it resumes."""
    from flows.learning.tuning import tune as search

    run = _reading_run(read_settings(home=home, source=source, raw=raw))
    report = search(run.days, minutes, trials, out.print)
    in_use = report["valid_loss_in_use"]
    out.print(
        f"{report['trials']} trials; validation loss over the constant's: best "
        f"{report['valid_loss']:.4f}, "
        + ("the settings in use were not tried" if in_use is None else f"in use {in_use:.4f}")
    )
    if report["best"]:
        out.print("\nfor nightjar.toml; the gate decides the same night whether it is better:\n")
        out.print("[train]", markup=False)
        for name, value in report["best"].items():
            out.print(f"{name} = {json.dumps(value)}", markup=False)


class Rows(StrEnum):
    first = "first"
    all = "all"


class CheckFormat(StrEnum):
    text = "text"
    json = "json"


def check(
    as_of: Day = None,
    rows: Annotated[
        Rows, typer.Option(help="The first thousand rows of each file, or all.")
    ] = Rows.first,
    format: Annotated[
        CheckFormat, typer.Option(help="For a person, or one JSON object.")
    ] = CheckFormat.text,
    source: SourceOption = None,
    raw: RawOption = None,
) -> None:
    """Try a mapping on raw files: what is clean, what is dropped and why, what can be trained.

    Needs no home and no key, and leaves nothing behind.
    """
    try:
        begin_without_home()
        from flows.cli.mapping_check_page import page
        from flows.mapping_check import trial
        from flows.mapping_check.result import as_json

        settings = read_settings(source=source, raw=raw)
        max_rows = None if rows is Rows.all else trial.FIRST_ROWS
        result = trial.of_settings(settings, as_of, max_rows)
        if format is CheckFormat.json:
            _print_json(as_json(result))
        else:
            page(out, result)
    except Exception as error:
        if format is not CheckFormat.json:
            raise
        _print_json({"stopped": sentence_of(error)})
        raise typer.Exit(exit_code(error)) from None


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False, indent=1), file=out.file)


COMMANDS = (check, explain, explain_content, late_data, late_data_cost, canary, tune)
