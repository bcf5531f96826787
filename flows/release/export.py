"""Lists of recommendations as files for a key-value store: a record per user and surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import duckdb

from contracts.days import ONE_DAY
from contracts.errors import ContractError, UsageError
from contracts.recommendation_tables import REC_LISTS
from contracts.surfaces import Surface, surface_named
from flows.lake.home_binding import open_home, open_lake
from flows.lake.lake import Lake
from flows.release.audit import count
from flows.release.duckdb_views import select_from
from flows.release.releases import Release, Releases
from flows.settings import NightjarSettings
from flows.storage.duckdb_connections import in_memory, quoted
from flows.storage.location import join
from flows.storage.storage import Storage


class FileFormat(StrEnum):
    """As what lists are exported."""

    parquet = "parquet"
    jsonl = "jsonl"


_OPTIONS = {
    FileFormat.parquet: "FORMAT parquet, COMPRESSION zstd",
    FileFormat.jsonl: "FORMAT json",  # without ARRAY, a line each
}


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    path: str
    n_lists: int
    as_of: date
    release_id: str


def export_lists(
    settings: NightjarSettings,
    surface: str,
    file_format: FileFormat,
    folder: str,
    as_of: date | None,
) -> Exported:
    """Write the current release's lists of a surface as one file, a record per user, by `key`.

    Args:
        settings: of the home.
        surface: its name.
        file_format: Parquet, or JSON lines.
        folder: where the file goes; it is made if it is not there.
        as_of: the day of the lists; None: the newest of which the release has any, as in
            `nightjar recommend`.

    Raises:
        UsageError: there is no such surface, or the release has no lists of the day.
        ContractError: nothing has been released yet.
    """
    chosen = surface_named(surface)
    engine = open_home(settings)
    release = Releases(engine).current()
    if release is None:
        raise ContractError("nothing has been released yet: run `nightjar run` or `nightjar demo`")
    lake = open_lake(settings, engine)
    day = as_of or _newest_day(lake, release)
    path = join(folder, f"{chosen.name}-{day}.{file_format}")
    n = write_lists(_files(lake, release, day), chosen, day, file_format, path)
    if n == 0:
        raise UsageError(_nothing(chosen, day, release))
    return Exported(path, n, day, release.release_id)


def write_lists(
    files: Sequence[str], surface: Surface, as_of: date, file_format: FileFormat, path: str
) -> int:
    """Write the lists of a surface to a file, and return how many there are; none leaves no file.

    DuckDB streams them from file to file; who reads the file meanwhile has the old one whole.
    """
    storage, beside = Storage(path), f"{path}.part"
    with in_memory() as connection:
        connection.execute(f"CREATE VIEW lists AS {select_from(REC_LISTS, files)}")
        of_surface = f"surface = {quoted(surface.name)} AND as_of = DATE '{as_of}'"
        n = count(connection, f"SELECT count(*) FROM lists WHERE {of_surface}")
        if n == 0:
            return 0
        storage.make_folder(path.rpartition("/")[0])
        try:
            connection.execute(
                f"COPY (SELECT {_columns(surface)} FROM lists WHERE {of_surface}) "
                f"TO {quoted(beside)} ({_OPTIONS[file_format]})"
            )
        except duckdb.Error as error:
            storage.remove(beside)
            raise ContractError(f"{path}: {str(error).strip()}") from None
    storage.replace(beside, path)
    return n


def _newest_day(lake: Lake, release: Release) -> date:
    """The newest day of which a release has lists: that of the release, unless it was made without
    any; then those before it stand."""
    if paths := _files(lake, release):
        with in_memory() as connection:
            lists = select_from(REC_LISTS, paths)
            newest = connection.execute(f"SELECT max(as_of) FROM ({lists})").fetchone()
        if newest is not None and newest[0] is not None:
            return date.fromisoformat(str(newest[0]))
    return release.as_of


def _files(lake: Lake, release: Release, day: date | None = None) -> list[str]:
    """The files of a release's lists; of one day, or of all."""
    snapshot = release.snapshots.get(REC_LISTS.name)
    if snapshot is None:
        return []
    end = None if day is None else day + ONE_DAY
    return [file.path for file in lake.files(REC_LISTS, day, end, snapshot=snapshot)]


def _columns(surface: Surface) -> str:
    """What a record says: its key, then of the list all but counts of what was left out, and
    probabilities of events that are nothing to the surface."""
    events = {f"p_{event}" for event in surface.events}
    names = [
        name
        for name in REC_LISTS.names
        if not name.startswith("n_") and (not name.startswith("p_") or name in events)
    ]
    return ", ".join(["surface || ':' || user_key AS key", *(f'"{name}"' for name in names)])


def _nothing(surface: Surface, as_of: date, release: Release) -> str:
    return (
        f"release {release.release_id} has no lists of {surface.name} as of {as_of}: "
        'nightjar sql "SELECT DISTINCT surface, as_of FROM rec_lists" says which it has'
    )
