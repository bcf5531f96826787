"""The command that writes lists of recommendations for other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.counts import n_of
from contracts.days import parse_day
from flows.cli.terminal import HomeOption, out
from flows.release.export import FileFormat, export_lists
from flows.settings import given_path, read_settings


def export_recommendations(
    surface: Annotated[str, typer.Option(help="The surface, such as products.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the file.")],
    format: Annotated[
        FileFormat, typer.Option(help="parquet, or jsonl: a JSON object per line.")
    ] = FileFormat.parquet,
    as_of: Annotated[
        str | None,
        typer.Option(help="Midnight UTC, YYYY-MM-DD.", show_default="the newest day with lists"),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Everybody's list on a surface as one file, keyed `surface:user_key`; of the current release.

    For a key-value store: one record per user, with the items and what is said of each as arrays.
    """
    day = None if as_of is None else parse_day(as_of, "--as-of")
    path = str(given_path(folder).absolute())
    done = export_lists(read_settings(home=home), surface, format, path, day)
    out.print(
        f"{done.path}: {n_of(done.n_lists, 'list')} as of {done.as_of}, release {done.release_id}",
        soft_wrap=True,
    )


COMMANDS = (export_recommendations,)
