"""The databases on a PostgreSQL server, made by whichever command comes first."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from sqlalchemy import URL, Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from contracts.errors import ContractError
from contracts.foreign import library_message
from contracts.parent_process import die_with_parent
from flows.settings import NightjarSettings

DATABASES = ("nightjar", "nightjar_prefect", "nightjar_mlflow")
PREFECT_VARIABLE = "PREFECT_API_DATABASE_CONNECTION_URL"
MAINTENANCE = "postgres"
"""The database that every server has, to ask for others from."""
_UPGRADED = "nightjar_upgraded"
"""A table in Prefect's database: the version of Prefect that has brought it up to date."""
_UPGRADE_LOCK = 7_146_310_255
_UPGRADE_SECONDS = 600
_SECONDS_BETWEEN_TRIES = 0.5


def make_databases(settings: NightjarSettings) -> Sequence[str]:
    """Make the databases that are missing.

    Returns:
        Those that were made.

    Raises:
        ContractError: the server cannot be reached, or does not let us in.
    """
    return [name for name in DATABASES if make_database(settings.postgres(name))]


def prefect_database(
    settings: NightjarSettings, environment: Mapping[str, str], say: Callable[[str], None]
) -> str:
    """The address of Prefect's database, made where it is missing, with the tables of this Prefect.

    Prefect's servers bring their database up to date as they start, and fail where two do so at
    once; so one command does it for all, before it starts a server.

    Args:
        environment: what Prefect is to find in its environment besides.
        say: prints a line of progress, where there is something to wait for.

    Raises:
        ContractError: the server cannot be reached, or Prefect cannot make its tables.
    """
    url = settings.postgres("nightjar_prefect")
    make_database(url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    version = importlib.metadata.version("prefect")
    try:
        with engine.connect() as connection:
            while _upgraded_by(connection) != version:
                with _only_one(connection) as alone:
                    if alone and _upgraded_by(connection) != version:
                        say("Prefect's database is brought up to date, once")
                        _upgrade(settings, environment)
                        _keep_upgraded(connection, version)
    finally:
        engine.dispose()
    return settings.postgres("nightjar_prefect", "asyncpg")


@contextmanager
def _only_one(connection: Connection) -> Iterator[bool]:
    """Whether nobody else upgrades meanwhile; otherwise some time has passed."""
    # Asked for, not waited for: some upgrades wait for the end of every statement under way.
    number = {"number": _UPGRADE_LOCK}
    alone = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), number))
    try:
        if not alone:
            time.sleep(_SECONDS_BETWEEN_TRIES)
        yield alone
    finally:
        if alone:
            connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)


def _upgrade(settings: NightjarSettings, environment: Mapping[str, str]) -> None:
    address = settings.postgres("nightjar_prefect", "asyncpg")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
            env={**environment, PREFECT_VARIABLE: address},
            capture_output=True,
            text=True,
            preexec_fn=partial(die_with_parent, os.getpid()),
            timeout=_UPGRADE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ContractError(
            f"Prefect did not bring its database up to date within {_UPGRADE_SECONDS} s: is "
            "somebody at work in it? Run the command again"
        ) from None
    if done.returncode != 0:
        *_, why = ["no reason said", *filter(None, map(str.strip, done.stderr.splitlines()))]
        raise ContractError(f"Prefect could not bring its database up to date: {why}")


def _upgraded_by(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_UPGRADED):
        return None
    version: str | None = connection.scalar(text(f"SELECT max(version) FROM {_UPGRADED}"))
    return version


def _keep_upgraded(connection: Connection, version: str) -> None:
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {_UPGRADED} (version text)"))
    connection.execute(text(f"DELETE FROM {_UPGRADED}"))
    connection.execute(text(f"INSERT INTO {_UPGRADED} VALUES (:version)"), {"version": version})


def make_database(url: str) -> bool:
    """Make the database of an address if the server does not have it. Whether it had to be made.

    One that is there is only connected to: that needs no right to make databases.

    Raises:
        ContractError: the server cannot be reached, or does not let us in.
    """
    wanted = make_url(url)
    try:
        _connect(wanted)
        return False
    except OperationalError as absent:
        try:
            return _create(wanted)
        except OperationalError:
            raise ContractError(unreachable(wanted, absent)) from None
        except ProgrammingError as error:
            raise ContractError(
                f"{_shown(wanted)}: there is no such database, and {wanted.username} may not make "
                f"it: {library_message(error.orig or error)}"
            ) from None


def unreachable(url: URL, error: OperationalError) -> str:
    """What a person is told of a server that does not answer, without its password."""
    why = library_message(error.orig or error)
    return f"the database {_shown(url)} cannot be reached: {why}"


def _shown(url: URL) -> str:
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def _connect(url: URL) -> None:
    engine = create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _create(wanted: URL) -> bool:
    engine = create_engine(wanted.set(database=MAINTENANCE), isolation_level="AUTOCOMMIT")
    try:
        if _has(engine, wanted.database):
            _connect(wanted)  # what was wrong is said again, or has passed
            return False
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{wanted.database}"'))
        return True
    except (IntegrityError, ProgrammingError):
        if _has(engine, wanted.database):
            return False  # another command made it at the same moment
        raise
    finally:
        engine.dispose()


def _has(engine: Engine, database: str | None) -> bool:
    with engine.connect() as connection:
        named = connection.execute(
            text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": database}
        )
        return named.scalar() is not None
