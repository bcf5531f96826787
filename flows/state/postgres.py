"""The databases on a PostgreSQL server, made by whichever command comes first."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from contracts.errors import ContractError
from contracts.foreign import library_message
from flows.settings import NightjarSettings

DATABASES = ("nightjar", "nightjar_prefect", "nightjar_mlflow")
PREFECT_VARIABLE = "PREFECT_API_DATABASE_CONNECTION_URL"
MAINTENANCE = "postgres"
"""The database that every server has, to ask for others from."""


def make_databases(settings: NightjarSettings) -> Sequence[str]:
    """Make the databases that are missing.

    Returns:
        Those that were made.

    Raises:
        ContractError: the server cannot be reached, or does not let us in.
    """
    return [name for name in DATABASES if make_database(settings.postgres(name))]


def prefect_database(settings: NightjarSettings) -> str:
    """The address of Prefect's database, which is made where it is missing."""
    make_database(settings.postgres("nightjar_prefect"))
    return settings.postgres("nightjar_prefect", "asyncpg")


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
