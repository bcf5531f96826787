"""The databases on a PostgreSQL server, and who may do what in them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from contracts.table import ContractError
from flows.settings import NightjarSettings

DATABASES = ("nightjar", "nightjar_prefect", "nightjar_mlflow")


def make_databases(settings: NightjarSettings) -> Sequence[str]:
    """Make the databases that are missing.

    Returns:
        Those that were made.

    Raises:
        ContractError: the server cannot be reached, or does not let us in.
    """
    engine = create_engine(settings.postgres("postgres"), isolation_level="AUTOCOMMIT")
    made = []
    try:
        with engine.connect() as connection:
            there = set(connection.execute(text("SELECT datname FROM pg_database")).scalars())
            for name in DATABASES:
                if name not in there:
                    connection.execute(text(f'CREATE DATABASE "{name}"'))
                    made.append(name)
    except OperationalError as error:
        raise ContractError(f"postgres_url: {str(error.orig).strip()}") from None
    finally:
        engine.dispose()
    return made
