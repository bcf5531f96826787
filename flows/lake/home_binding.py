"""The home: a folder and a database that belong to each other, and to no other."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from contracts.counts import n_of
from contracts.errors import UsageError
from flows.lake.iceberg import plain_path, resolved
from flows.lake.lake import Lake
from flows.settings import NightjarSettings
from flows.state.postgres import make_databases
from flows.state.schema import PLACES, RECEIPTS, open_database
from flows.storage.permissions import make_private

MARK = "home.json"
"""Says in the folder which database it belongs to."""


def open_home(settings: NightjarSettings) -> Engine:
    """The home's database, with all that is missing made, by whichever command comes first.

    Raises:
        UsageError: the folder and the database do not belong together, or the home was moved.
    """
    make_private(settings.folder)
    engine = _open(settings)
    bind_folder(engine, settings.folder)
    make_private(settings.folder)  # a folder that was there is a home from now on
    return engine


def _open(settings: NightjarSettings) -> Engine:
    if settings.postgres_url is not None:
        make_databases(settings)  # all of them: MLflow, for one, makes tables but no database
    return open_database(settings.receipts_url)


def bind_folder(engine: Engine, folder: Path) -> None:
    """Keep a database to one folder, and a folder to one database: what one of two homes in a
    folder has committed would look to the other's housekeeping like files that nobody needs.

    Raises:
        UsageError: one of them belongs to another.
    """
    row = _place(engine)
    marked = _marked(folder)
    if row is None:
        if marked is not None:
            raise UsageError(
                f"{folder} is the home of another database than {engine.url!r}, which would take "
                "all that lies there for nobody's. Use the database it was made with, or another "
                "home"
            )
        try:
            with engine.begin() as connection:
                connection.execute(
                    insert(PLACES).values(id=1, root=str(folder), home_id=secrets.token_hex(8))
                )
        except IntegrityError:
            pass  # another command came first
        row = _place(engine)
    if row is None:
        raise UsageError(
            f"{engine.url!r} neither takes the folder of this home, {folder}, nor names another: "
            f"its table {PLACES.name} is not as Nightjar makes it. Use another database, or "
            "another home"
        )
    if row["root"] != str(folder):
        raise UsageError(
            f"this home was made in {row['root']} and is opened in {folder}, but its tables name "
            "files by where they lay. Use it where it was; if it was moved for good, "
            f"`nightjar adopt --home {folder}` says what to do"
        )
    if marked is None:
        _mark(folder, row["home_id"])
    elif marked != row["home_id"]:
        raise UsageError(
            f"{folder} is the home of another database than {engine.url!r}. Use the database it "
            "was made with, or another home"
        )


def open_lake(settings: NightjarSettings, engine: Engine) -> Lake:
    """The home's lake: whoever opened it with another catalogue would find tables without files,
    and files that nothing reaches.

    Raises:
        UsageError: the catalogue is another home's, or none of this home, which has receipts.
    """
    lake, row = Lake(settings.folder / "lake"), _place(engine)
    if row is None or lake.home_id == row["home_id"]:
        return lake
    if lake.home_id is not None:
        raise UsageError(
            f"the catalogue of the lake in {lake.folder} belongs to another home. Which one it is "
            "says PYICEBERG_CATALOG__NIGHTJAR__URI in the environment, or pyiceberg's settings"
        )
    with engine.connect() as connection:
        has_written = connection.execute(select(RECEIPTS.c.stage).limit(1)).first() is not None
    if has_written and not lake.existing():
        raise UsageError(
            f"the catalogue of the lake in {lake.folder} has no table, but this home has written "
            "some: it is not the one that they are listed in. Which one it is says "
            "PYICEBERG_CATALOG__NIGHTJAR__URI in the environment, or pyiceberg's settings"
        )
    lake.mark(row["home_id"])  # new, or made before catalogues said whose they are
    return lake


def _place(engine: Engine) -> RowMapping | None:
    with engine.connect() as connection:
        return connection.execute(select(PLACES)).mappings().first()


def _marked(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / MARK).read_text())["home_id"])
    except FileNotFoundError:
        return None


def _mark(folder: Path, home_id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{MARK}.{os.getpid()}"
    beside.write_text(json.dumps({"home_id": home_id}) + "\n")
    os.replace(beside, folder / MARK)


def adopt(settings: NightjarSettings) -> str:
    """Take a home that was moved, on purpose, for the one that its database knows.

    Returns:
        Where it was before.

    Raises:
        UsageError: the files that its tables name do not lie in it.
    """
    folder, engine = settings.folder, _open(settings)
    row = _place(engine)
    before = str(folder) if row is None else str(row["root"])
    if os.path.realpath(before) != str(folder):
        raise UsageError(
            f"{folder} cannot be taken for the home that was in {before}, for its tables name "
            f"files by where they lay: make {before} a link to {folder}, then call this again. A "
            "copy of a home that is still there cannot be one itself"
        )
    astray = sorted(
        name
        for name in Lake(folder / "lake").named_files()
        if not resolved(name).startswith(f"{folder}{os.sep}") or not os.path.exists(resolved(name))
    )
    if astray:
        raise UsageError(
            f"{folder} cannot be taken for the home that was in {before}: its tables name "
            f"{n_of(len(astray), 'file that does', 'files that do')} not lie in it, such as "
            f"{plain_path(astray[0])}"
        )
    with engine.begin() as connection:
        connection.execute(update(PLACES).values(root=str(folder)))
    bind_folder(engine, folder)
    make_private(folder)  # a copy is open to others
    return before
