"""The SQL database, as engines and their connections see it."""

from __future__ import annotations

import gc
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine

from flows.lake.catalogue import open_catalogue
from flows.state.schema import open_database
from flows.storage.location import uri_of


def connection_of(engine: Engine) -> sqlite3.Connection:
    """A connection that the engine's pool keeps open for the next one who asks."""
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.execute("SELECT 1")
    return raw


def test_an_engine_that_nobody_has_any_more_leaves_no_connection_open(tmp_path: Path) -> None:
    engine, catalogue = (
        open_database(f"sqlite:///{tmp_path}/n.db"),
        open_catalogue(uri_of(tmp_path)),
    )
    connections = [connection_of(one) for one in (engine, catalogue.engine)]  # type: ignore[attr-defined]
    del engine, catalogue
    gc.collect()
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="Cannot operate on a closed database"):
            connection.execute("SELECT 1")
