"""Everything that would be SQLite, in a real PostgreSQL; and who may do what in it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, inspect, select, text
from sqlalchemy.exc import ProgrammingError

from contracts.errors import ContractError, UsageError
from contracts.tile_tables import USER_ITEM_DAYS
from flows import settings as settings_module
from flows.lake.home_binding import open_home
from flows.lake.lake import Lake
from flows.release.releases import Releases
from flows.settings import NightjarSettings, read_settings
from flows.state.postgres import DATABASES, make_databases, prefect_database
from flows.state.raw_file_hashes import RawFileHashes
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import RAW_FILES, open_database
from tests.conftest import REPOSITORY
from tests.flows.conftest import PASSWORD, fresh_databases
from tests.flows.lakes import day_file, release_of, rows_per_day
from tests.flows.state.writers import check_that_the_sleeper_adds_nothing

D1 = date(2025, 1, 1)


@pytest.fixture
def on_server(server: str, tmp_path: Path, monkeypatch) -> NightjarSettings:
    # Set here, so that it is unset again: reading the settings would leave it to later tests.
    catalogue = server.replace("postgresql://", "postgresql+psycopg://") + "/nightjar"
    monkeypatch.setenv(settings_module.CATALOGUE_VARIABLE, catalogue)
    monkeypatch.setenv("NIGHTJAR_POSTGRES_URL", server)
    settings = read_settings(home=tmp_path / "home")
    assert settings.postgres("nightjar").partition("?")[0] == catalogue
    return settings


@contextmanager
def administered(on_server: NightjarSettings) -> Iterator[Connection]:
    """A connection to the server that may make databases, and is closed at the end."""
    engine = create_engine(on_server.postgres("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_receipts_releases_and_the_catalogue_live_in_it(
    on_server: NightjarSettings, tmp_path
) -> None:
    assert list(make_databases(on_server)) == list(DATABASES)
    assert list(make_databases(on_server)) == []  # again makes nothing
    engine = open_database(on_server.receipts_url)
    assert engine.dialect.name == "postgresql"
    receipt = Receipt(
        "orders", D1, Fingerprint("c", "f", "i"), {"orders": {"rows": 3}}, 5, 3, 1.5, 100, None,
        "run", datetime(2025, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    Receipts(engine).write([receipt])
    assert Receipts(engine).get("orders", D1) == receipt

    lake, other = lakes = [Lake(on_server.home_folder.lake) for _ in range(2)]
    lake.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 4)})
    assert rows_per_day(other) == {"f-2025-01-01": 4}
    assert not (on_server.home_folder.path / "lake/catalogue.db").exists()
    Releases(engine).publish(release_of(lake, tmp_path, D1, "r1"))
    current = Releases(engine).current()
    assert current is not None
    assert current.release_id == "r1"
    engine.dispose()
    for one in lakes:
        one._catalog.engine.dispose()


def test_analysts_see_releases_and_operators_change_no_tables(on_server: NightjarSettings) -> None:
    owner = create_engine(on_server.receipts_url)
    roles = (REPOSITORY / "infra/postgres/roles.sql").read_text()
    with owner.begin() as connection:
        connection.execute(text(roles.replace(":", "\\:")))
        for name, role in (("ann", "nightjar_analysts"), ("oz", "nightjar_operators")):
            connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' IN ROLE {role}"))
    url = owner.url

    def may(who: str, statement: str) -> bool:
        engine = create_engine(url.set(username=who, password=who))
        try:
            with engine.begin() as connection:
                connection.execute(text(statement))
            return True
        except ProgrammingError as error:
            if "InsufficientPrivilege" not in str(error):
                raise
            return False
        finally:
            engine.dispose()

    assert may("ann", "SELECT * FROM releases, current_release, iceberg_tables")
    for table in ("receipts", "erased", "plans", "raw_files", "home", "writer"):
        assert not may("ann", f"SELECT * FROM {table}"), table
    assert not may("ann", "DELETE FROM current_release")
    assert not may("ann", "CREATE TABLE mine (x int)")
    assert may("oz", "UPDATE releases SET reason = 'because'")
    assert may("oz", "SELECT * FROM receipts, erased")
    assert not may("oz", "DROP TABLE receipts")
    assert not may("oz", "CREATE TABLE mine (x int)")
    owner.dispose()


WIDE = [
    ("raw_files", "modified_ns"),
    ("raw_files", "size"),
    ("receipts", "bytes"),
    ("receipts", "rows_in"),
    ("receipts", "rows_out"),
]


def test_a_database_whose_integers_have_32_bits_is_widened_and_keeps_its_rows(on_server, tmp_path):
    engine = open_database(on_server.receipts_url)
    kept = {"path": "kept", "size": 7, "modified_ns": 8, "sha256": "x"}
    with engine.begin() as connection:
        for table, column in WIDE:
            connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE integer"))
        connection.execute(text("ALTER TABLE releases DROP COLUMN reason"))
        connection.execute(insert(RAW_FILES).values(kept))
    engine.dispose()

    # two commands that start at once, and one that starts later
    for opened in (*at_once(on_server.receipts_url), open_database(on_server.receipts_url)):
        inspected = inspect(opened)
        types = {
            (table, column["name"]): str(column["type"])
            for table in ("raw_files", "receipts", "releases")
            for column in inspected.get_columns(table)
        }
        assert {types[one] for one in WIDE} == {"BIGINT"}
        assert ("releases", "reason") in types
        with opened.connect() as connection:
            rows = connection.execute(select(RAW_FILES).where(RAW_FILES.c.path == "kept"))
            assert [dict(row) for row in rows.mappings()] == [kept]
        opened.dispose()

    engine = open_database(on_server.receipts_url)
    large = Receipt(
        "large", D1, Fingerprint("c", "f", "i"), {}, 3_000_000_000, 4_000_000_000, 1.5,
        5_000_000_000, None, "run", datetime(2025, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    Receipts(engine).write([large])
    assert Receipts(engine).get("large", D1) == large
    file = tmp_path / "a.csv"
    file.write_text("a")  # changed today: nanoseconds since 1970 need 61 bits
    hashes = RawFileHashes(engine).of([file])
    assert RawFileHashes(engine).of([file]) == hashes
    engine.dispose()


def at_once(url: str) -> list[Engine]:
    """Two that open a database at the same moment."""
    together = threading.Barrier(2)

    def opened(_: int) -> Engine:
        together.wait()
        return open_database(url)

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(opened, range(2)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_commands_that_come_first_at_once_make_one_database(server, tmp_path, kind) -> None:
    sqlite = f"sqlite:///{tmp_path}/new/n.db"
    new = server.replace("postgresql:", "postgresql+psycopg:") + "/made_at_once"
    for engine in at_once(sqlite if kind == "sqlite" else new):
        assert {"receipts", "releases", "writer"} <= set(inspect(engine).get_table_names())
        engine.dispose()


def test_two_commands_that_come_first_at_once_make_all_databases_and_write_no_password(
    server: str, tmp_path: Path
) -> None:
    """Each with a temporary server of Prefect's, which keeps its runs there as well."""
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[sources.marks]\nfiles = "{day}.csv"\nformat = "csv"\ncolumns = ["id", "event", "at"]\n'
        '[sources.marks.tables.fraud_marks]\nmark_id = "id"\nevent_id = "event"\noccurred_at = "at"\n'
    )
    call = ["run", "--as-of", "2025-01-01", "--source", str(mapping), "--raw", str(tmp_path)]
    ours = ("NIGHTJAR_", "PREFECT_", "PYICEBERG_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    variables |= {
        "NIGHTJAR_HOME": str(tmp_path / "home"),
        "NIGHTJAR_POSTGRES_URL": server,
        "NIGHTJAR_KEY": "a-key-for-the-tests-alone",
        "PYTHONPATH": str(REPOSITORY),
    }
    with fresh_databases(server):
        commands = [
            subprocess.Popen(
                [sys.executable, "-c", "from flows.cli.main import main; main()", *call],
                env=variables,
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = [command.communicate(timeout=240)[1] for command in commands]
        assert [command.returncode for command in commands] == [1, 1]
        for text_ in said:
            assert "no file matches" in text_ or "is writing to this home" in text_
            assert PASSWORD not in text_
        engine = create_engine(f"{server.replace(':', '+psycopg:', 1)}/nightjar_prefect")
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM flow_run")).scalar() == 2
            for table in inspect(engine).get_table_names():
                query = text(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE :part')
                part = {"part": f"%{PASSWORD}%"}
                assert connection.execute(query, part).scalar() == 0, table
        engine.dispose()
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert PASSWORD.encode() not in path.read_bytes(), path


def test_one_of_several_commands_brings_prefects_database_up_to_date_for_all(
    on_server: NightjarSettings,
) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        upgrades = [
            pool.submit(prefect_database, on_server, os.environ, said.append) for _ in range(3)
        ]
        addresses = {upgrade.result() for upgrade in upgrades}
    assert addresses == {on_server.postgres("nightjar_prefect", "asyncpg")}
    assert said == ["Prefect's database is brought up to date, once"]
    engine = create_engine(on_server.postgres("nightjar_prefect"))
    assert {"alembic_version", "flow_run"} <= set(inspect(engine).get_table_names())
    with engine.begin() as connection:  # of a Prefect that this one does not know
        connection.execute(text("UPDATE alembic_version SET version_num = 'of-tomorrow'"))
        connection.execute(text("UPDATE nightjar_upgraded SET version = '99'"))
    engine.dispose()
    with pytest.raises(ContractError, match=r"bring its database up to date: .*of-tomorrow"):
        prefect_database(on_server, os.environ, said.append)


def test_figures_that_are_no_numbers_come_back_as_they_were(on_server: NightjarSettings) -> None:
    """A model's report has some: a metric of a task without rows, say."""
    engine = open_database(on_server.receipts_url)
    outputs = {"auc": math.nan, "of": [math.inf, {"low": -math.inf, "n": 3}], "name": "NaN"}
    moment = datetime(2025, 1, 2, tzinfo=UTC)
    Receipts(engine).write(
        [Receipt("odd", D1, Fingerprint("", "", ""), outputs, 0, 0, 0, 0, None, "run", moment)]
    )
    receipt = Receipts(engine).get("odd", D1)
    assert receipt is not None
    assert repr(receipt.outputs) == repr(outputs)
    assert receipt.finished_at.utcoffset() == timedelta(0)
    engine.dispose()


def test_a_server_that_is_not_there_is_said_without_its_password(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(settings_module.CATALOGUE_VARIABLE, "unused")
    unreachable = read_settings(home=tmp_path, postgres_url="postgresql://owner:x@127.0.0.1:1")
    for call in (
        lambda: make_databases(unreachable),
        lambda: open_database(unreachable.receipts_url),
    ):
        with pytest.raises(ContractError) as error:
            call()
        assert str(error.value).startswith(
            "the database postgresql://owner:***@127.0.0.1:1/nightjar cannot be reached: "
            "connection failed: connection to server at …, port … failed: Connection refused"
        )


def test_a_writer_that_was_taken_over_from_adds_nothing_there_either(
    on_server: NightjarSettings, tmp_path, monkeypatch
) -> None:
    make_databases(on_server)
    with administered(on_server) as admin:
        admin.execute(text("CREATE DATABASE leases"))
    monkeypatch.delenv(settings_module.CATALOGUE_VARIABLE)
    check_that_the_sleeper_adds_nothing(on_server.postgres("leases"), tmp_path, monkeypatch)


def test_the_first_command_of_any_kind_makes_the_databases(on_server: NightjarSettings) -> None:
    with administered(on_server) as admin:
        for name in DATABASES:
            admin.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    assert Releases(open_home(on_server)).all() == ()
    with administered(on_server) as connection:
        names = connection.execute(text("SELECT datname FROM pg_database")).scalars()
        assert set(DATABASES) <= set(names)


def test_a_password_that_breaks_the_address_is_not_repeated(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv(settings_module.CATALOGUE_VARIABLE, "unused")
    for url in ("postgresql://owner:se@cret@127.0.0.1:1", "postgresql://owner:s@127.0.0.1:secret"):
        with pytest.raises(UsageError) as error:
            read_settings(home=tmp_path, postgres_url=url)
        assert str(error.value) == (
            "the settings are not valid:\n  postgres_url: expected "
            "postgresql://user:password@host:port, with %40 for an @ in the password, %2F for a /, "
            "%3A for a :"
        )
