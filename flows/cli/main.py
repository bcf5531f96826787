"""The `nightjar` command."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.counts import n_of
from contracts.days import parse_day
from contracts.errors import UsageError
from flows.cli import (
    corrections,
    doctor,
    export,
    investigate,
    operators,
    recommend,
    render,
    run_end,
)
from flows.cli.terminal import (
    RENAMED,
    Day,
    Format,
    HomeOption,
    NoTrain,
    PlanOption,
    RawOption,
    SourceOption,
    app,
    end_soon,
    err,
    out,
    run_flow,
    sentence_of,
)
from flows.lifecycle import errors, signals
from flows.release import duckdb_views
from flows.settings import given_path, read_settings, shipped
from flows.storage.permissions import create_private

DEMO_KEY = "demo-key-for-simulated-users-only"
DEMO_USERS, DEMO_DAYS, DEMO_SEED, DEMO_START = 1200, 330, 7, date(2025, 1, 1)


@app.command()
def run(
    as_of: Day = None,
    plan: PlanOption = None,
    accept: Annotated[
        str | None, typer.Option(help="Approve a model that needs approval, by its id.")
    ] = None,
    no_train: NoTrain = False,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Run one night: clean, features, train, score, publish. What is up to date is reused."""
    settings = read_settings(home=home, source=source, raw=raw)
    day = None if as_of is None else parse_day(as_of, "--as-of")
    settings.user_key()
    parameters = (day, settings.source, settings.raw, plan, accept, no_train)
    run_end.run(out, run_flow(settings.home_folder, _nightly, *parameters))


@app.command()
def demo(
    users: Annotated[int, typer.Option(min=300, help="Simulated users.")] = DEMO_USERS,
    home: HomeOption = None,
) -> None:
    """A simulated market, one whole night on it, and what to look at next."""
    from datetime import timedelta

    from jobs.market.files import simulate
    from jobs.market.traits import Market

    settings = read_settings(home=home)
    storage = settings.home_folder.storage
    folder = storage.local_path(settings.home_folder.simulated_logs(users))
    as_of = DEMO_START + timedelta(days=DEMO_DAYS)
    if not storage.exists(str(folder / "SIMULATED")):
        out.print(f"simulating {n_of(users, 'user')} over {DEMO_DAYS} days")
        n = simulate(Market(users, DEMO_START, DEMO_DAYS, DEMO_SEED), folder, _progress)
        out.print(f"simulated {n_of(n, 'raw row')} in {folder}")
    os.environ.setdefault("NIGHTJAR_KEY", DEMO_KEY)
    if os.environ["NIGHTJAR_KEY"] == DEMO_KEY:
        out.print("user ids are hashed with the demo's key, which is no secret")
    mapping = shipped("sources/market.toml")
    done = run_flow(settings.home_folder, _nightly, as_of, mapping, folder, None, None)
    home_folder = settings.home_folder
    variables = {"NIGHTJAR_HOME": home_folder, "NIGHTJAR_SOURCE": mapping, "NIGHTJAR_RAW": folder}
    shown = {name: shlex.quote(str(value)) for name, value in variables.items()}
    if os.environ["NIGHTJAR_KEY"] == DEMO_KEY:
        shown["NIGHTJAR_KEY"] = DEMO_KEY
    run_end.demo(out, settings, done, shown)


@app.command()
def simulate(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write the raw logs to.")],
    users: Annotated[int, typer.Option(min=1, help="Simulated users.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, help="Days of logs.")] = 180,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same logs.")] = 0,
    start: Annotated[str, typer.Option(help="First day, YYYY-MM-DD.")] = DEMO_START.isoformat(),
    truth_every: Annotated[
        int, typer.Option(min=1, help="Days between the as-of days whose truth is written.")
    ] = 14,
) -> None:
    """Write the raw logs of a simulated market, defects included; any size in bounded memory.

    The folder `truth` beside them lists every defect, and what each user will do.
    """
    from jobs.market.files import simulate as write
    from jobs.market.traits import Market

    market = Market(users, parse_day(start, "--start"), days, seed)
    mapping, here = shipped("sources/market.toml"), Path.cwd()
    mapping = mapping.relative_to(here) if mapping.is_relative_to(here) else mapping
    n = write(market, given_path(out_folder), _progress, truth_every)
    out.print(
        f"{n_of(n, 'raw row')} in {out_folder}; run a night on them with\n"
        f"  nightjar run --source {shlex.quote(str(mapping))} --raw {shlex.quote(str(out_folder))}",
        soft_wrap=True,  # to be copied as it is
    )


@app.command(context_settings={"ignore_unknown_options": True})  # a statement may begin with `--`
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT.")],
    format: Annotated[Format, typer.Option(help="How to print the rows.")] = Format.table,
    home: HomeOption = None,
) -> None:
    """Query the current release with SQL (DuckDB's). Read-only."""
    names, rows = duckdb_views.query(read_settings(home=home).home_folder.analysts_file, statement)
    render.rows(names, rows, format.value, out)


@app.command()
def tables(home: HomeOption = None) -> None:
    """The tables of the current release."""
    render.tables(out, read_settings(home=home).home_folder.analysts_file)


@app.command()
def describe(table: Annotated[str, typer.Argument(help="A table's name.")]) -> None:
    """What a table's rows and columns mean."""
    render.describe(out, table)


@app.command()
def quarantine(
    day: Annotated[
        str | None, typer.Option(help="Only rows that landed on this day, YYYY-MM-DD.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that contain this text.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Rows to show of each reason.")] = 2,
    home: HomeOption = None,
) -> None:
    """What was dropped, why, its trend over two weeks, and samples with letters hidden."""
    asked = None if day is None else parse_day(day, "--day")
    render.quarantine(out, read_settings(home=home), asked, reason, samples)


@app.command()
def up(home: HomeOption = None) -> None:
    """Serve Prefect with its schedules, MLflow and the analysts' pages here, until Ctrl-C."""
    from flows.server.up import up as start

    start(read_settings(home=home), out.print)


@app.command(name="doctor")
def doctor_command(home: HomeOption = None) -> None:
    """What is missing on this machine, and how to get it."""
    if not doctor.print_checks(read_settings(home=home), out):
        raise typer.Exit(1)


@app.command()
def new_key(
    path: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
) -> None:
    """Make a user key in a file that only you can read."""
    try:
        create_private(given_path(path), secrets.token_hex(32) + "\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; a key is never overwritten") from None
    out.print(
        f"{path}: a new key, mode 0600. Keep a copy: scores cannot be joined to users "
        f"without it.\n  export NIGHTJAR_KEY_FILE={path}"
    )


def _progress(done: int, total: int) -> None:
    if done % max(total // 6, 1) == 0 or done == total:
        out.print(f"  day {done} of {total}")


def _nightly() -> Any:
    from flows.nightly import nightly

    return nightly


for command in (
    *operators.COMMANDS,
    *corrections.COMMANDS,
    *investigate.COMMANDS,
    *export.COMMANDS,
    *recommend.COMMANDS,
):
    app.command()(command)


def main() -> None:
    """Run a command; a person sees a message, not a stack."""
    signals.listen()
    try:
        code, message = run_command(sys.argv[1:])
    except BaseException:
        signals.wait_if_stopping()
        raise
    signals.wait_if_stopping()
    if message:
        err.print(message, style="red", markup=False, soft_wrap=True)
    end_soon(code)


def run_command(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command: its exit code, and the message that a person is to read."""
    try:
        if arguments and (name := RENAMED.get(arguments[0])) is not None:
            raise UsageError(f"nightjar {arguments[0]} is called nightjar {name} now")
        app(list(arguments), standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1, ""
    except Exception as error:
        return errors.exit_code(error), sentence_of(error)
    return 0, ""
