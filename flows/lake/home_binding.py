"""The home: a folder and a database that belong to each other, and to no other."""

from __future__ import annotations

import json
import secrets

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from contracts.counts import n_of
from contracts.errors import UsageError
from flows.lake.lake import Lake
from flows.lifecycle.progress import say_on_stderr
from flows.settings import NightjarSettings
from flows.state.postgres import make_databases
from flows.state.schema import PLACES, RECEIPTS, open_database
from flows.storage.home import Home
from flows.storage.location import is_within, plain_path, resolved
from flows.storage.permissions import close_home


def open_home(settings: NightjarSettings) -> Engine:
    """The home's database, with all that is missing made, by whichever command comes first.

    Raises:
        UsageError: the folder and the database do not belong together, or the home was moved.
    """
    say_on_stderr(close_home(settings.home_folder))
    engine = _open(settings)
    bind_folder(engine, settings.home_folder)
    # a folder that was there is a home from now on
    say_on_stderr(close_home(settings.home_folder))
    return engine


def _open(settings: NightjarSettings) -> Engine:
    if settings.postgres_url is not None:
        make_databases(settings)  # all of them: MLflow, for one, makes tables but no database
    return open_database(settings.receipts_url)


def bind_folder(engine: Engine, home: Home) -> None:
    """Keep a database to one folder, and a folder to one database: what one of two homes in a
    folder has committed would look to the other's housekeeping like files that nobody needs.

    Raises:
        UsageError: one of them belongs to another.
    """
    place = _place(engine)
    marked = _marked(home)
    if place is None:
        if marked is not None:
            raise UsageError(
                f"{home} is the home of another database than {engine.url!r}, which would take "
                "all that lies there for nobody's. Use the database it was made with, or another "
                "home"
            )
        try:
            with engine.begin() as connection:
                connection.execute(
                    insert(PLACES).values(id=1, root=home.root, home_id=secrets.token_hex(8))
                )
        except IntegrityError:
            pass  # another command came first
        place = _place(engine)
    if place is None:
        raise UsageError(
            f"{engine.url!r} neither takes the folder of this home, {home}, nor names another: "
            f"its table {PLACES.name} is not as Nightjar makes it. Use another database, or "
            "another home"
        )
    if plain_path(place["root"]) != str(home):
        raise UsageError(
            f"this home was made in {plain_path(place['root'])} and is opened in {home}, but its "
            "tables name files by where they lay. Use it where it was; if it was moved for good, "
            f"`nightjar adopt --home {home}` says what to do"
        )
    if marked is None:
        home.storage.write_text(home.mark, json.dumps({"home_id": place["home_id"]}) + "\n")
    elif marked != place["home_id"]:
        raise UsageError(
            f"{home} is the home of another database than {engine.url!r}. Use the database it "
            "was made with, or another home"
        )


def open_lake(settings: NightjarSettings, engine: Engine) -> Lake:
    """The home's lake: whoever opened it with another catalogue would find tables without files,
    and files that nothing reaches.

    Raises:
        UsageError: the catalogue is another home's, or none of this home, which has receipts.
    """
    lake, place = Lake(settings.home_folder.lake), _place(engine)
    if place is None or lake.home_id == place["home_id"]:
        return lake
    if lake.home_id is not None:
        raise UsageError(
            f"the catalogue of the lake in {plain_path(lake.location)} belongs to another home. "
            "Which one it is says PYICEBERG_CATALOG__NIGHTJAR__URI in the environment, or "
            "pyiceberg's settings"
        )
    with engine.connect() as connection:
        has_written = connection.execute(select(RECEIPTS.c.stage).limit(1)).first() is not None
    if has_written and not lake.existing():
        raise UsageError(
            f"the catalogue of the lake in {plain_path(lake.location)} has no table, but this home "
            "has written some: it is not the one that they are listed in. Which one it is says "
            "PYICEBERG_CATALOG__NIGHTJAR__URI in the environment, or pyiceberg's settings"
        )
    lake.mark(place["home_id"])  # new, or made before catalogues said whose they are
    return lake


def _place(engine: Engine) -> RowMapping | None:
    with engine.connect() as connection:
        return connection.execute(select(PLACES)).mappings().first()


def _marked(home: Home) -> str | None:
    """The home that the folder says it is; None if it says nothing yet."""
    try:
        return str(json.loads(home.storage.read_text(home.mark))["home_id"])
    except FileNotFoundError:
        return None


def adopt(settings: NightjarSettings) -> str:
    """Take a home that was moved, on purpose, for the one that its database knows.

    Returns:
        Where it was before.

    Raises:
        UsageError: the files that its tables name do not lie in it.
    """
    home, engine = settings.home_folder, _open(settings)
    place = _place(engine)
    before = str(home) if place is None else plain_path(place["root"])
    if resolved(before) != str(home):
        raise UsageError(
            f"{home} cannot be taken for the home that was in {before}, for its tables name "
            f"files by where they lay: make {before} a link to {home}, then call this again. A "
            "copy of a home that is still there cannot be one itself"
        )
    astray = sorted(
        name
        for name in Lake(home.lake).named_files()
        if not is_within(name, home.root) or not home.storage.exists(name)
    )
    if astray:
        raise UsageError(
            f"{home} cannot be taken for the home that was in {before}: its tables name "
            f"{n_of(len(astray), 'file that does', 'files that do')} not lie in it, such as "
            f"{plain_path(astray[0])}"
        )
    with engine.begin() as connection:
        connection.execute(update(PLACES).values(root=home.root))
    bind_folder(engine, home)
    say_on_stderr(close_home(home))  # a copy is open to others
    return before
