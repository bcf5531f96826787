"""The operators' commands: plan, backfill, releases, rollback, diff, housekeeping, adopt."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from contracts.counts import n_of
from contracts.days import parse_day
from contracts.errors import ContractError, UsageError
from flows.cli import render, run_end
from flows.cli.terminal import (
    Day,
    Format,
    HomeOption,
    NoTrain,
    PlanOption,
    RawOption,
    ReleasedDay,
    SourceOption,
    begin,
    out,
    run_flow,
)
from flows.settings import NightjarSettings, read_settings

Start = Annotated[str, typer.Option(help="First as-of day, YYYY-MM-DD.")]
End = Annotated[str, typer.Option(help="Last as-of day, included.")]
Stages = Annotated[
    str,
    typer.Option(
        help="Stages, by commas: user_features, labels, examples, score, recommendations."
    ),
]
EngineOption = Annotated[
    str, typer.Option(help="one-pass: all days at once. per-day: one after the other.")
]
Force = Annotated[bool, typer.Option("--force", help="Recompute even where nothing has changed.")]


def _stages(text: str) -> list[Any]:
    from flows.backfill import Stage

    try:
        return [Stage(word.strip()) for word in text.split(",") if word.strip()]
    except ValueError:
        listed = ", ".join(stage.value for stage in Stage)
        raise UsageError(f"--stages {text}: expected some of {listed}, by commas") from None


def _engine(text: str) -> Any:
    from flows.backfill import EngineName

    try:
        return EngineName(text)
    except ValueError:
        raise UsageError(f"--engine {text}: expected one-pass or per-day") from None


def plan(
    start: Annotated[
        str | None, typer.Option(help="First as-of day of a backfill, YYYY-MM-DD.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Its last as-of day, included.")] = None,
    as_of: Day = None,
    stages: Stages = "user_features",
    engine: EngineOption = "one-pass",
    force: Force = False,
    no_train: NoTrain = False,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.table,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """What a backfill (--start, --end) or a night (--as-of) would do, why, and what it will cost.

    Nothing is computed. The token at the end runs exactly this plan.
    """
    settings = read_settings(home=home, source=source, raw=raw, no_train=no_train or None)
    begin(settings.home_folder)
    if (start is None) != (end is None) or (start is not None and as_of is not None):
        raise UsageError("a plan is of a range (--start and --end), or of a night (--as-of)")
    planned, database = _plan(settings, start, end, as_of, stages, engine, force)
    from flows.planning.plan import as_json, keep

    keep(database, planned)
    if format is Format.json:
        json.dump(as_json(planned), out.file, indent=1, default=str)
        print(file=out.file)
    else:
        render.plan(out, planned, format.value)


def _plan(
    settings: NightjarSettings,
    start: str | None,
    end: str | None,
    as_of: str | None,
    stages: str,
    engine: str,
    force: bool,
) -> Any:
    if start is not None and end is not None:
        from flows import backfill as past

        first, last = parse_day(start, "--start"), parse_day(end, "--end")
        wanted = _stages(stages)
        run = past.open_backfill(first, last, wanted, settings)
        asked = past.Backfill(first, last, wanted, _engine(engine), force)
        return past.plan_of_backfill(run, asked), run.engine
    from flows.engine.run import Run
    from flows.nightly import plan_of_night
    from flows.steps.opening import default_as_of

    day = parse_day(as_of, "--as-of") if as_of else default_as_of()
    run = Run(settings, day)
    run.look_at_files()
    return plan_of_night(run), run.engine


def _backfill() -> Any:
    from flows.backfill import backfill

    return backfill


def backfill(
    start: Start,
    end: End,
    stages: Stages = "user_features",
    engine: EngineOption = "one-pass",
    plan: PlanOption = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the release.")] = None,
    force: Force = False,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Compute a range of as-of days, both ends included, and publish them as one release."""
    settings = read_settings(home=home, source=source, raw=raw)
    first, last = parse_day(start, "--start"), parse_day(end, "--end")
    settings.user_key()
    done = run_flow(
        settings.home_folder,
        _backfill,
        first,
        last,
        "run",
        plan,
        reason,
        _stages(stages),
        _engine(engine),
        force,
        settings.source,
        settings.raw,
    )
    out.print(f"{n_of(done['recomputed'], 'stage-day')} recomputed")
    run_end.run(out, done)


def releases(home: HomeOption = None) -> None:
    """Every release, newest first; the current one is marked."""
    render.releases(out, read_settings(home=home))


def _rollback() -> Any:
    from flows.rollback import rollback

    return rollback


def rollback(home: HomeOption = None) -> None:
    """Make the release before current again; the days of this one are recomputed next time."""
    settings = read_settings(home=home)
    from flows.lake.home_binding import open_home
    from flows.release.releases import Releases

    current = Releases(open_home(settings)).current()
    if current is None:
        raise ContractError("there is no release to go back to: nothing was published yet")
    done = run_flow(settings.home_folder, _rollback, current.release_id)
    run_end.opening(out, done["summary"])


def diff(
    before: Annotated[str, typer.Argument(help="A release, or the start of its id.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    as_of: ReleasedDay = None,
    format: Annotated[Format, typer.Option(help="How to print the rows.")] = Format.table,
    home: HomeOption = None,
) -> None:
    """How two releases' scores differ, per task: moved deciles, top decile, shift of the mean."""
    from flows.release.diff import compare

    day = None if as_of is None else parse_day(as_of, "--as-of")
    comparison = compare(read_settings(home=home), before, after, day)
    if format is Format.table:
        out.print(comparison.title)
    render.rows(comparison.names, comparison.rows, format.value, out, unbroken=("task",))
    if comparison.tables and format is Format.table:
        render.rows(comparison.table_names, comparison.tables, format.value, out)


def housekeeping(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Drop days past their retention, compact small files, expire snapshots, remove orphans.

    Nothing goes that a kept release or its model's training needs.
    """
    settings = read_settings(home=home)
    begin(settings.home_folder)
    from flows.retention.housekeeping import now, run_housekeeping

    result = run_housekeeping(settings, dry_run, now(), out.print)
    if not result.lines:
        out.print("nothing to remove or rewrite")
        return
    out.print("would be removed or rewritten:" if dry_run else "removed or rewritten:")
    render.rows(("what", "how many", "which"), result.lines, "table", out)


def adopt(home: HomeOption = None) -> None:
    """Use a home that was moved for good.

    A link must stand where it was, for tables name files by their first place.
    """
    from flows.lake.home_binding import adopt as adopt_home

    settings = read_settings(home=home)
    before = adopt_home(settings)
    out.print(f"{settings.home_folder} is the home now that was in {before}", markup=False)


COMMANDS = (plan, backfill, releases, rollback, diff, housekeeping, adopt)
