"""The command that shows what is recommended: to one user, or how wide the lists are."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from contracts.counts import n_of
from contracts.errors import UsageError
from contracts.user_keys import is_user_key
from flows.cli import render
from flows.cli.terminal import Format, HomeOption, out
from flows.release.recommended import UserList, user_lists, widths
from flows.settings import NightjarSettings, read_settings

_COLUMNS = ("position", "item", "title", "value", "probabilities", "sources", "because",
            "because_title")  # fmt: skip


def recommend(
    user: Annotated[
        str | None,
        typer.Argument(help="A user_key, or a raw user id. Without it: how wide the lists are."),
    ] = None,
    surface: Annotated[str | None, typer.Option(help="One surface, such as products.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Places of each list to show.")] = 10,
    format: Annotated[Format, typer.Option(help="How to print the rows.")] = Format.table,
    home: HomeOption = None,
) -> None:
    """What each surface shows a user, and why; of the current release."""
    settings = read_settings(home=home)
    database = settings.home_folder.analysts_file
    if user is None:
        _print_widths(settings, format)
        return
    lists = user_lists(database, user, surface, top) if is_user_key(user) else ()
    if not lists:
        lists = user_lists(database, _hashed(settings, user), surface, top)
    if not lists:
        raise UsageError(
            "the current release recommends nothing to that user; "
            'nightjar sql "SELECT user_key FROM rec_lists LIMIT 5" names some'
        )
    if format is Format.json:
        print(json.dumps([asdict(of) for of in lists], ensure_ascii=False, indent=1), file=out.file)
    elif format is Format.csv:
        rows = [(of.surface, *row) for of in lists for row in _rows(of)]
        render.rows(("surface", *_COLUMNS), rows, "csv", out)
    else:
        for of in lists:
            _print_list(of)


def _hashed(settings: NightjarSettings, user: str) -> str:
    """The key of a raw user id; a text that is a key already stands for nobody else."""
    return user if is_user_key(user) else settings.user_key().of(user)


def _rows(of: UserList) -> list[tuple[object, ...]]:
    return [
        (
            place.position,
            place.item_id,
            place.title,
            f"{place.value:.4g}",
            " ".join(f"{event} {p:.3g}" for event, p in place.probabilities.items()),
            place.sources.replace(",", " "),
            place.because,
            place.because_title,
        )
        for place in of.places
    ]


def _print_list(of: UserList) -> None:
    out.print(
        f"[bold]{of.surface}[/bold]: {n_of(of.n_items, 'item')} of "
        f"{n_of(of.n_candidates, 'candidate')}"
        + "".join(f", {n:,} {name.replace('_', ' ')}" for name, n in of.left_out.items())
        + (f"; shorter than asked: {of.shortfall}" if of.shortfall else "")
    )
    # A title says more than an id, and both are more than a line has room for.
    rows = [
        (*row[:-3], " ".join(place.kinds_of_sources), place.because_title or place.because)
        for place, row in zip(of.places, _rows(of), strict=True)
    ]
    shown = [i for i in range(len(_COLUMNS) - 1) if any(row[i] not in (None, "") for row in rows)]
    names = [_COLUMNS[i] for i in shown]
    render.rows(names, [[row[i] for i in shown] for row in rows], "table", out, ("item",))
    out.print()


def _print_widths(settings: NightjarSettings, format: Format) -> None:
    names = ("surface", "lists", "short", "items", "shown in the first 10", "coverage", "Gini")
    rows = [
        (w.surface, w.n_lists, w.n_short, w.n_items, w.n_shown, round(w.coverage, 3),
         round(w.gini, 3))
        for w in widths(settings.home_folder.analysts_file, 0)
    ]  # fmt: skip
    render.rows(names, rows, format.value, out)


COMMANDS = (recommend,)
