"""Commands that change what is kept: replay and erase."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from contracts.counts import n_of
from contracts.days import parse_day
from contracts.user_keys import is_user_key
from flows.cli import render
from flows.cli.terminal import HomeOption, RawOption, SourceOption, out, run_flow
from flows.settings import read_settings


def _replay() -> Any:
    from flows.replay import replay

    return replay


def replay(
    day: Annotated[str, typer.Option("--day", help="Day on which the rows landed, YYYY-MM-DD.")],
    until: Annotated[
        str | None, typer.Option(help="The last such day, included; without it one day.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that contain this text.")] = None,
    no_publish: Annotated[
        bool, typer.Option("--no-publish", help="Clean the rows, and leave the rest to the night.")
    ] = False,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Clean the days of quarantined rows again, after a mapping, rule or file was corrected.

    What depends on them is rebuilt, users are scored again, and one release is published.
    """
    settings = read_settings(home=home, source=source, raw=raw)
    first = parse_day(day, "--day")
    last = first if until is None else parse_day(until, "--until")
    settings.user_key()
    parameters = (first, last, reason, not no_publish, settings.source, settings.raw)
    done = run_flow(settings.home_folder, _replay, *parameters)
    if done["rows"]:
        heads = ("table", "reason", "in quarantine before", "now")
        render.rows(heads, done["rows"], "table", out)
    out.print(f"release {done['release_id'] or 'none'}")


def _erase() -> Any:
    from flows.erase import erase

    return erase


def erase(
    user: Annotated[str, typer.Argument(help="A user_key, or the raw id as the mapping makes it.")],
    reason: Annotated[str | None, typer.Option(help="Why, such as a request's number.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    source: SourceOption = None,
    raw: RawOption = None,
    home: HomeOption = None,
) -> None:
    """Remove a person from everything that is kept, in every release, and keep them out.

    The raw logs are yours: remove them there too. It cannot be undone.
    """
    settings = read_settings(home=home, source=source, raw=raw)
    key = settings.user_key()
    user_key = user if is_user_key(user) else key.of(user)
    if not yes:
        typer.confirm(f"erase {user_key} from every release of {settings.home_folder}?", abort=True)
    parameters = (user_key, reason, settings.source, settings.raw)
    done = run_flow(settings.home_folder, _erase, *parameters)
    render.rows(("table", "rows removed"), sorted(done["rows"].items()), "table", out)
    out.print(
        f"{n_of(done['raw_rows'], 'raw row')} blanked, "
        f"{n_of(done['files_rewritten'], 'file')} rewritten, "
        f"{done['files_removed']:,} deleted; models marked: {len(done['models_marked'])}"
    )
    if n := done["rows_of_others"]:
        out.print(
            f"with them {'goes' if n == 1 else 'go'} {n_of(n, 'row')} about other people, once "
            "their days are cleaned again"
        )


COMMANDS = (replay, erase)
