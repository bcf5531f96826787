"""The tables of the receipts' database: what was computed, released, and seen of raw files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
    DDL,
    JSON,
    Column,
    Date,
    DateTime,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import make_url

from contracts.table import CallError

METADATA = MetaData()

RECEIPTS = Table(
    "receipts",
    METADATA,
    Column("stage", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("code", String, nullable=False),
    Column("configuration", String, nullable=False),
    Column("inputs", String, nullable=False),
    Column("outputs", JSON, nullable=False),
    Column("rows_in", Integer, nullable=False),
    Column("rows_out", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("git_commit", String),
    Column("run_id", String, nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
)

RELEASES = Table(
    "releases",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("release_id", String, nullable=False, unique=True),
    Column("as_of", Date, nullable=False),
    Column("model_id", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("snapshots", JSON, nullable=False),
    Column("run_id", String, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    Column("days", JSON),
    Column("replaces", String),
    Column("withdrawn_at", DateTime(timezone=True)),
    Column("reason", String),
)

CURRENT = Table(
    "current_release",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("release_id", String, nullable=False),
)
"""One row: the truth about what analysts see."""

HOMES = Table(
    "home",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("mapping", String, nullable=False),
    Column("key_id", String, nullable=False),
)
"""One row: whose logs this home holds, and under which key their users are hashed."""

PLACES = Table(
    "place",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("root", String, nullable=False),
    Column("home_id", String, nullable=False),
)
"""One row: the folder that belongs to this database, by its real name."""

ACCEPTED = Table(
    "accepted_models",
    METADATA,
    Column("model_id", String, primary_key=True),
    Column("accepted_at", DateTime(timezone=True), nullable=False),
)
"""Models that the gate asked about and a person let pass."""

PLANS = Table(
    "plans",
    METADATA,
    Column("token", String, primary_key=True),
    Column("content", JSON, nullable=False),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("token", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String, nullable=False),
    Column("what", String, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    sqlite_autoincrement=True,
)
"""Runs that wrote files or held the right to write; a later one has a higher token."""

WRITER = Table(
    "writer",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("what", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beat_at", DateTime(timezone=True), nullable=False),
    Column("token", Integer),
)
"""One row while somebody writes to this home."""

WAITING = Table(
    "waiting",
    METADATA,
    Column("run_id", String, primary_key=True),
    Column("what", String, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("beat_at", DateTime(timezone=True), nullable=False),
)
"""Runs that wait until nobody writes, in their turn."""

ERASED = Table(
    "erased",
    METADATA,
    Column("user_key", String, primary_key=True),
    Column("erased_at", DateTime(timezone=True), nullable=False),
    Column("reason", String),
    Column("receipt", JSON),
    Column("traces", JSON),
)
"""People who were erased: their raw rows are blanked as they land. In no fingerprint, so that
erasing somebody recomputes nothing."""

RAW_FILES = Table(
    "raw_files",
    METADATA,
    Column("path", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("modified_ns", Integer, nullable=False),
    Column("sha256", String, nullable=False),
)


def open_database(url: str) -> Engine:
    """The database at `url`, with its tables made where they are missing."""
    database = make_url(url).database
    if url.startswith("sqlite") and database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    METADATA.create_all(engine)
    _widen(engine)
    return engine


def _widen(engine: Engine) -> None:
    """Add columns that a database of an earlier version lacks; all of them may be null."""
    found = inspect(engine)
    for table in METADATA.sorted_tables:
        there = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                type_ = column.type.compile(engine.dialect)
                with engine.begin() as connection:
                    connection.execute(
                        DDL(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {type_}")
                    )


def bind_home(engine: Engine, mapping: str, key_id: str) -> None:
    """Keep a home to one mapping and one key: their users must never be joined with others.

    Raises:
        CallError: the home was made with another mapping or key.
    """
    with engine.begin() as connection:
        row = connection.execute(select(HOMES)).mappings().first()
        if row is None:
            connection.execute(insert(HOMES).values(id=1, mapping=mapping, key_id=key_id))
        elif row["mapping"] != mapping:
            raise CallError(
                f"this home holds the logs of {row['mapping']!r}; those of {mapping!r} need one of "
                "their own: set NIGHTJAR_HOME, or --home, to another folder"
            )
        elif row["key_id"] != key_id:
            raise CallError(
                f"this home was made with the user key {row['key_id']}, found {key_id}: users "
                "hashed under different keys cannot be compared. Use the old key, or another home"
            )


def suppressed(engine: Engine) -> frozenset[str]:
    """Keys of people whose raw rows are blanked wherever they land."""
    with engine.connect() as connection:
        return frozenset(row[0] for row in connection.execute(select(ERASED.c.user_key)))


def as_utc(moment: datetime) -> datetime:
    """A moment as it was written: SQLite gives it back without its zone."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
