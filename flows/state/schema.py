"""The tables of the receipts' database: what was computed, released, and seen of raw files."""

from __future__ import annotations

import json
import math
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
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
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from contracts.errors import UsageError
from flows.state.postgres import make_database
from flows.storage.location import folder_of, resolved
from flows.storage.storage import Storage

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
    Column("rows_in", BigInteger, nullable=False),
    Column("rows_out", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
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
    Column("codes", JSON),
    Column("tasks", JSON),
)

CURRENT = Table(
    "current_release",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("release_id", String, nullable=False),
    Column("announced_at", DateTime(timezone=True)),
)
"""One row: the truth about what analysts see, and when downstream was told of it."""

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
    Column("reached", JSON),
)
"""People who were erased: their raw rows are blanked as they land. In no fingerprint, so that
erasing somebody recomputes nothing.

While it is not finished: in `traces` what is to go, in `reached` the files that tables led to when
it began."""

TRAINED_ON = Table(
    "trained_on_erased",
    METADATA,
    Column("model_id", String, primary_key=True),
    Column("user_key", String, primary_key=True),
)
"""Models that were trained on people who were erased since."""

RAW_FILES = Table(
    "raw_files",
    METADATA,
    Column("path", String, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
)


SECONDS_LOCKED = 60
"""How long a command waits for another one that is writing to the same SQLite file."""
TRIES = 5
Created = TypeVar("Created")


def open_database(url: str) -> Engine:
    """The database at `url`, made where it is missing, with its tables as they are today.

    Raises:
        ContractError: the server cannot be reached.
    """
    server = make_url(url)
    arguments = {}
    if server.get_backend_name() == "sqlite":
        arguments["timeout"] = SECONDS_LOCKED
        if server.database:
            Storage(server.database).make_folder(folder_of(resolved(server.database)))
    elif server.get_backend_name() == "postgresql":
        make_database(url)
    engine = create_engine(
        url,
        connect_args=arguments,
        json_serializer=to_json,
        json_deserializer=from_json,
        hide_parameters=True,  # in errors: they may be personal
        pool_pre_ping=True,  # a server that was away meanwhile has broken what was open
    )
    close_when_dropped(engine)
    make_at_once(lambda: _migrate(engine))
    return engine


def close_when_dropped(engine: Engine) -> None:
    """Have its connections closed as soon as nobody has the engine any more, at the latest when the
    process ends: whoever opens a database need not say when all that read with it are done."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, entry: Any) -> None:
        weakref.finalize(entry, connection.close)  # the pool's entry for it goes with the engine


def make_at_once(make: Callable[[], Created]) -> Created:
    """Make what another command may be making at the same moment: whoever comes second fails on
    what the first one has made, looks again, and finds it."""
    for left in reversed(range(TRIES)):
        try:
            return make()
        except (IntegrityError, OperationalError, ProgrammingError):
            if not left:
                raise
            time.sleep(0.2)
    raise AssertionError("unreachable")


def _migrate(engine: Engine) -> None:
    """Bring a database of an earlier version to today's tables; one of today is only looked at.

    Columns that are missing are added, all of them may be null. Integers that were 32 bits become
    64 bits on PostgreSQL; SQLite's always were.
    """
    with engine.begin() as connection:
        METADATA.create_all(connection)
        columns = inspect(connection).get_multi_columns(filter_names=list(METADATA.tables))
        for table in METADATA.sorted_tables:
            present = {one["name"]: one["type"] for one in columns[table.schema, table.name]}
            for column in table.columns:
                type_ = column.type.compile(engine.dialect)
                if column.name not in present:
                    change = f"ADD COLUMN {column.name} {type_}"
                elif _is_too_narrow(column, present[column.name], engine):
                    change = f"ALTER COLUMN {column.name} TYPE {type_}"
                else:
                    continue
                connection.execute(DDL(f"ALTER TABLE {table.name} {change}"))


def _is_too_narrow(column: Column[Any], present: Any, engine: Engine) -> bool:
    return (
        engine.dialect.name != "sqlite"
        and isinstance(column.type, BigInteger)
        and not isinstance(present, BigInteger)
    )


_NUMBER = "$number"


def to_json(value: Any) -> str:
    """JSON that every database takes: figures that are no number or not finite, which PostgreSQL
    refuses and a model's report may have, are written as objects."""
    return json.dumps(_named(value), allow_nan=False)


def from_json(text: str) -> Any:
    """What `to_json` was given."""
    return json.loads(text, object_hook=lambda o: float(o[_NUMBER]) if set(o) == {_NUMBER} else o)


def _named(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: str(value)}
    if isinstance(value, dict):
        return {key: _named(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_named(one) for one in value]
    return value


def bind_home(engine: Engine, mapping: str, key_id: str) -> None:
    """Keep a home to one mapping and one key: their users must never be joined with others.

    Raises:
        UsageError: the home was made with another mapping or key.
    """
    with engine.begin() as connection:
        row = connection.execute(select(HOMES)).mappings().first()
        if row is None:
            connection.execute(insert(HOMES).values(id=1, mapping=mapping, key_id=key_id))
        elif row["mapping"] != mapping:
            raise UsageError(
                f"this home holds the logs of {row['mapping']!r}; those of {mapping!r} need one of "
                "their own: set NIGHTJAR_HOME, or --home, to another folder"
            )
        elif row["key_id"] != key_id:
            raise UsageError(
                f"this home was made with the user key {row['key_id']}, found {key_id}: users "
                "hashed under different keys cannot be compared. Use the old key, or another home"
            )


def suppressed(engine: Engine) -> frozenset[str]:
    """Keys of people whose raw rows are blanked wherever they land."""
    with engine.connect() as connection:
        return frozenset(row[0] for row in connection.execute(select(ERASED.c.user_key)))


def unfinished_erasures(engine: Engine) -> tuple[str, ...]:
    """Keys of people whose erasure has begun and has not come to its end."""
    begun = select(ERASED.c.user_key).where(ERASED.c.receipt.is_(None))
    with engine.connect() as connection:
        return tuple(sorted(connection.execute(begun).scalars()))


def trained_on_erased(engine: Engine) -> dict[str, int]:
    """Model to how many people it was trained on who were erased since."""
    counts = select(TRAINED_ON.c.model_id, func.count()).group_by(TRAINED_ON.c.model_id)
    with engine.connect() as connection:
        return {str(model): int(n) for model, n in connection.execute(counts)}


def as_utc(moment: datetime) -> datetime:
    """A moment as it was written: SQLite gives it back without its zone, PostgreSQL in its own."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
