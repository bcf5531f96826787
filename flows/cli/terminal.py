"""The terminal: the command's group, options that commands share, and how flows are run from it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows.lifecycle import errors, signals
from flows.lifecycle.child_processes import end_children_with_this_process
from flows.lifecycle.log_filters import following_runs, send_output_to_log
from flows.lifecycle.progress import say_on_stderr
from flows.settings import configure_libraries, read_settings
from flows.state.postgres import PREFECT_VARIABLE, prefect_database
from flows.storage.home import Home
from flows.storage.permissions import close_home

RENAMED = {"clean": "housekeeping", "late": "late-data", "clocks": "late-data-cost"}
"""Commands by the names that they had in earlier versions."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Behaviour logs in, audited scores of every user out, every night.",
    epilog="Settings come from nightjar.toml, then NIGHTJAR_… in the environment, then options. "
    "Exit codes: 0 done, 1 a check or the data stopped it, 2 the call, a setting or the mapping is "
    "wrong, 130 and 143 somebody stopped it.",
)
UNWRAPPED = 100_000
"""Columns of what is no terminal, such as a file: so many that no line of a table is broken."""


def console(stderr: bool = False) -> Console:
    """What the command prints on: as wide as the terminal, or as `COLUMNS` says."""
    stream = sys.stderr if stderr else sys.stdout
    is_narrow = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, width=None if is_narrow else UNWRAPPED)


out = console()
err = console(stderr=True)


HomeOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the lake, catalogue and MLflow.",
        envvar="NIGHTJAR_HOME",
        show_default=".nightjar",
    ),
]
Day = Annotated[
    str | None, typer.Option(help="Midnight UTC, YYYY-MM-DD.", show_default="the latest midnight")
]
ReleasedDay = Annotated[
    str | None,
    typer.Option(help="Midnight UTC, YYYY-MM-DD.", show_default="the release's newest day"),
]
SourceOption = Annotated[
    Path | None,
    typer.Option("--source", help="Mapping of the raw files (README: Bring your own logs)."),
]
PlanOption = Annotated[
    str | None,
    typer.Option("--plan", help="Token of a plan: run exactly that, or refuse if anything moved."),
]
NoTrain = Annotated[
    bool,
    typer.Option(
        "--no-train",
        help="Leave training out: score with the model there is, else publish without scores.",
    ),
]
RawOption = Annotated[Path | None, typer.Option("--raw", help="Folder of the raw files.")]


class Format(StrEnum):
    table = "table"
    csv = "csv"
    json = "json"


_log: list[Path] = []
"""Where what libraries write goes, once a command has begun to work."""


def begin(home: Home) -> None:
    """Before a command works: libraries know where their files belong, what they write goes to a
    log, and nothing that they start outlives the command."""
    os.environ["NIGHTJAR_HOME"] = str(home)
    say_on_stderr(close_home(home))
    configure_libraries(home)
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "run")
    _work(home.process_folder(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{command}"))


def begin_without_home() -> None:
    """The same for a command that leaves nothing behind, not even a log, unless it crashes."""
    if signals.is_listening():
        folder = Path(tempfile.mkdtemp(prefix="nightjar-"))
        signals.clean_up_at_end(partial(shutil.rmtree, folder, ignore_errors=True))
        _work(folder)
    else:
        end_children_with_this_process()


def _work(folder: Path) -> None:
    """Libraries write to a log in `folder`, if this is a process of ours alone."""
    end_children_with_this_process()
    if not signals.is_listening() or _log:
        return
    log, terminal = send_output_to_log(folder, out, err)
    _log.append(log)
    signals.say_when_stopped(signals.KEPT, terminal)
    signals.silence_first(_silence_console)


def _silence_console() -> None:
    out.quiet = err.quiet = True


def kept_log() -> Path | None:
    """Where what libraries wrote can be read from now on, whatever a command's end removes."""
    signals.cancel_cleanup()
    return _log[0] if _log else None


def sentence_of(error: Exception) -> str:
    """The sentence that a person gets for an error; a log has more of an unexpected one."""
    sentence = errors.sentence(error)
    if errors.is_expected(error):
        return sentence
    print(f"{sentence}\n{errors.stack(error)}", file=sys.stderr)
    log = kept_log()
    return f"{sentence}; what led to it is in {log}" if log else sentence


def _keep_runs_on_server() -> None:
    """Have the temporary server that Prefect starts keep its runs where `nightjar up` keeps them;
    before Prefect is imported."""
    settings = read_settings()
    if settings.postgres_url is not None and PREFECT_VARIABLE not in os.environ:
        os.environ[PREFECT_VARIABLE] = prefect_database(
            settings, os.environ, lambda line: print(line, file=sys.stderr)
        )


PREFECT_RETRIES = 3
"""How often a request to Prefect's server is made again, after 2, 4 and 8 s, where somebody sits
before it: Prefect itself would go on for a minute with each."""


def run_flow(
    home: Home, flow: Callable[[], Callable[..., Any]], *parameters: Any
) -> dict[str, Any]:
    """Run a Prefect flow in this process; its lines are for a person to follow.

    `flow` imports it: Prefect must not be imported before it knows where its files belong.
    """
    begin(home)
    _keep_runs_on_server()
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", str(PREFECT_RETRIES))
    run: Any = flow()
    try:
        with following_runs(err):
            state = run(*parameters, return_state=True)
    except Exception as error:
        raise errors.first_of(error) from None
    result: dict[str, Any] = state.result()
    return result


END_SECONDS = 20


def end_soon(code: int) -> None:
    """Leave with an exit code; who waits for a server that is gone is not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    signals.clean_up()
    last = threading.Timer(END_SECONDS, os._exit, (code,))
    last.daemon = True
    last.start()
    sys.exit(code)
