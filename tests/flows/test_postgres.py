"""Everything that would be SQLite, in a real PostgreSQL; and who may do what in it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from contracts.table import ContractError
from contracts.tables import USER_ITEM_DAYS
from flows import settings as settings_module
from flows.database import open_database
from flows.home import open_home
from flows.lake import Lake
from flows.postgres import DATABASES, make_databases
from flows.receipts import Fingerprint, Receipt, Receipts
from flows.releases import Releases
from flows.settings import NightjarSettings, read_settings
from tests.conftest import REPOSITORY
from tests.flows.lakes import day_file, release_of, rows_per_day
from tests.flows.leases import check_that_the_sleeper_adds_nothing

pytestmark = [  # pools of connections are closed when the process ends
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
D1 = date(2025, 1, 1)


def program(name: str) -> str | None:
    """Where a program of PostgreSQL's is; Debian does not put them on the path."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(beside[-1]) if beside else None)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """A PostgreSQL of its own, on a socket and port that nobody else uses."""
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("there is no PostgreSQL on this machine: apt-get install postgresql")
    root = os.geteuid() == 0  # PostgreSQL does not run as root
    try:
        user = pwd.getpwnam("postgres").pw_name if root else None
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path("/tmp") / f"nightjar-postgres-{os.getpid()}"
    folder.mkdir()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret = folder / "secret"
    secret.write_text("owners")
    if user is not None:
        shutil.chown(secret, user)
    call = [initdb, "-D", str(data), "-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(call, check=True, user=user, stdout=subprocess.DEVNULL, cwd=folder)
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    process = subprocess.Popen(
        [postgres, "-D", str(data), "-k", str(folder), *options],
        user=user,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    url = f"postgresql://owner:owners@127.0.0.1:{port}"
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                break
        except OSError:
            time.sleep(0.2)
    time.sleep(1)
    yield url
    process.send_signal(signal.SIGINT)  # at once, whoever is still connected
    process.wait(30)
    shutil.rmtree(folder)


@pytest.fixture
def told(server: str, tmp_path: Path, monkeypatch) -> NightjarSettings:
    # Set here, so that it is unset again: reading the settings would leave it to later tests.
    catalogue = server.replace("postgresql://", "postgresql+psycopg://") + "/nightjar"
    monkeypatch.setenv(settings_module.CATALOGUE_VARIABLE, catalogue)
    monkeypatch.setenv("NIGHTJAR_POSTGRES_URL", server)
    settings = read_settings(home=tmp_path / "home")
    assert settings.postgres("nightjar") == catalogue
    return settings


def test_receipts_releases_and_the_catalogue_live_in_it(told: NightjarSettings, tmp_path) -> None:
    assert list(make_databases(told)) == list(DATABASES)
    assert list(make_databases(told)) == []  # again makes nothing
    engine = open_database(told.receipts_url)
    assert engine.dialect.name == "postgresql"
    receipt = Receipt(
        "orders", D1, Fingerprint("c", "f", "i"), {"orders": {"rows": 3}}, 5, 3, 1.5, 100, None,
        "run", datetime(2025, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    Receipts(engine).write([receipt])
    assert Receipts(engine).get("orders", D1) == receipt

    lake, other = lakes = [Lake(told.folder / "lake") for _ in range(2)]
    lake.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 4)})
    assert rows_per_day(other) == {"f-2025-01-01": 4}
    assert not (told.folder / "lake/catalogue.db").exists()
    Releases(engine).publish(release_of(lake, tmp_path, D1, "r1"))
    current = Releases(engine).current()
    assert current is not None
    assert current.release_id == "r1"
    engine.dispose()
    for one in lakes:
        one._catalog.engine.dispose()


def test_analysts_see_releases_and_operators_change_no_tables(told: NightjarSettings) -> None:
    owner = create_engine(told.receipts_url)
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


def test_a_server_that_is_not_there_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(settings_module.CATALOGUE_VARIABLE, "unused")
    told = read_settings(home=tmp_path, postgres_url="postgresql://owner:x@127.0.0.1:1")
    with pytest.raises(ContractError, match="postgres_url: .*refused"):
        make_databases(told)


def test_a_writer_that_was_taken_over_from_adds_nothing_there_either(
    told: NightjarSettings, tmp_path, monkeypatch
) -> None:
    make_databases(told)
    with create_engine(told.postgres("postgres"), isolation_level="AUTOCOMMIT").connect() as admin:
        admin.execute(text("CREATE DATABASE leases"))
    monkeypatch.delenv(settings_module.CATALOGUE_VARIABLE)
    check_that_the_sleeper_adds_nothing(told.postgres("leases"), tmp_path, monkeypatch)


def test_the_first_command_of_any_kind_makes_the_databases(told: NightjarSettings) -> None:
    with create_engine(told.postgres("postgres"), isolation_level="AUTOCOMMIT").connect() as admin:
        for name in DATABASES:
            admin.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    assert Releases(open_home(told)).all() == ()
