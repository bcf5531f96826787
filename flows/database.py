"""The tables of the receipts' database: what was computed, released, and seen of raw files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
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
)
from sqlalchemy.engine import make_url

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
)

CURRENT = Table(
    "current_release",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("release_id", String, nullable=False),
)
"""One row: the truth about what analysts see."""

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
    return engine


def as_utc(moment: datetime) -> datetime:
    """A moment as it was written: SQLite gives it back without its zone."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
