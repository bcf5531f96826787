"""One home with one released night on a tiny market, which the tests of flows share."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from rich.console import Console
from sqlalchemy import create_engine, text

from flows.engine import run
from flows.lifecycle.log_filters import following_runs
from flows.nightly import nightly
from flows.state.postgres import DATABASES
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.conftest import REPOSITORY
from tests.flows.executed import Executed, recorded

START, DAYS = date(2025, 1, 1), 132
NIGHT = START + timedelta(days=DAYS)
ENVIRONMENT = {
    "NIGHTJAR_KEY": "a key for the tests alone",
    "NIGHTJAR_EXAMPLE_SPACING_DAYS": "8",
    "NIGHTJAR_MIN_HISTORY_DAYS": "10",
    "NIGHTJAR_TRAIN__MAX_EPOCHS": "2",
    "NIGHTJAR_TRAIN__TOWER_EPOCHS": "1",
    "NIGHTJAR_TRAIN__WIDTH": "16",
    "NIGHTJAR_TRAIN__N_BINS": "4",
    "NIGHTJAR_TRAIN__NUMERIC_WIDTH": "2",
    "NIGHTJAR_TRAIN__MIN_ROWS": "20",
    "NIGHTJAR_TRAIN__BOOTSTRAP_SAMPLES": "20",
    "NIGHTJAR_SETTLE_DAYS": "1",
    "NIGHTJAR_MAX_SCORE_SHIFT": "none",  # models of two epochs lie where they happen to
    "NIGHTJAR_SOURCE": str(REPOSITORY / "infra/sources/market.toml"),
}
QUIET = [
    # Prefect's temporary server and its clients
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


PASSWORD = "tufted-puffin-4711"
"""Of the PostgreSQL server: a word that stands nowhere else."""


def program(name: str) -> str | None:
    """Where a program of PostgreSQL's is; Debian does not put them on the path."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(beside[-1]) if beside else None)


def no_postgres() -> str | None:
    """Why there can be no PostgreSQL server here; None if there can."""
    if program("initdb") is None or program("postgres") is None:
        return "there is no PostgreSQL on this machine: apt-get install postgresql"
    try:
        _user_of_postgres()
    except KeyError:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def _user_of_postgres() -> str | None:
    """Whom PostgreSQL, which does not run as root, runs as; None if as ourselves."""
    return pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    why = no_postgres()
    if why is not None:
        pytest.skip(why)
    with postgres_server() as url:
        yield url


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of its own, on a socket and port that nobody else uses."""
    initdb, postgres, user = program("initdb"), program("postgres"), _user_of_postgres()
    assert initdb is not None
    assert postgres is not None
    folder = Path("/tmp") / f"nightjar-postgres-{os.getpid()}"
    folder.mkdir()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret = folder / "secret"
    secret.write_text(PASSWORD)
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
    url = f"postgresql://owner:{PASSWORD}@127.0.0.1:{port}"
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


@contextmanager
def fresh_databases(server: str) -> Iterator[None]:
    """A server without our databases, and with those that others made when it is over."""
    engine = create_engine(
        f"{server.replace(':', '+psycopg:', 1)}/postgres", isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:

        def has(name: str) -> bool:
            asked = text("SELECT 1 FROM pg_database WHERE datname = :name")
            return connection.execute(asked, {"name": name}).scalar() is not None

        kept = [name for name in DATABASES if has(name)]
        for name in kept:
            connection.execute(text(f"ALTER DATABASE {name} RENAME TO kept_{name}"))
        try:
            yield
        finally:
            for name in DATABASES:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            for name in kept:
                connection.execute(text(f"ALTER DATABASE kept_{name} RENAME TO {name}"))
    engine.dispose()


@pytest.fixture(scope="session")
def market_home(spark: SparkSession, tmp_path_factory) -> Path:
    """A folder with two days of raw logs more than the first night sees."""
    root = tmp_path_factory.mktemp("night")
    simulate(Market(150, START, DAYS + 2, 3), root / "raw", lambda done, total: None)
    return root / "Anns Häuschen"  # names with a space and an umlaut are as good as others


@pytest.fixture(scope="module")
def home(spark: SparkSession, market_home: Path) -> Iterator[Path]:
    """The home, with its settings in the environment for the whole module."""
    patch = pytest.MonkeyPatch()
    own = {"NIGHTJAR_HOME": str(market_home), "NIGHTJAR_RAW": str(market_home.parent / "raw")}
    for name, value in (ENVIRONMENT | own).items():
        patch.setenv(name, value)
    patch.setattr(run, "start_session", lambda config, scratch: spark)
    yield market_home
    patch.undo()


_DONE: dict[Path, dict[str, Any]] = {}
_SAID: dict[Path, list[str]] = {}
_EXECUTED: dict[Path, Executed] = {}


@pytest.fixture(scope="module")
def first(home: Path) -> dict[str, Any]:
    """What the first night returned; it runs once for all modules."""
    if home not in _DONE:
        with lines_at_a_terminal() as said, recorded() as executed:
            _DONE[home] = nightly(NIGHT)
        _SAID[home] = said
        _EXECUTED[home] = executed
    return _DONE[home]


@pytest.fixture(scope="module")
def first_lines(home: Path, first: dict[str, Any]) -> list[str]:
    """The lines that a person at a terminal would have seen of it."""
    return _SAID[home]


@pytest.fixture(scope="module")
def executed(home: Path, first: dict[str, Any]) -> Executed:
    """What of our code its stages ran."""
    return _EXECUTED[home]


@contextmanager
def lines_at_a_terminal() -> Iterator[list[str]]:
    """The lines of runs in this process that a terminal shows, once they have ended."""
    console, lines = Console(file=io.StringIO(), width=1000), list[str]()
    with following_runs(console):
        yield lines
    assert isinstance(console.file, io.StringIO)
    lines += console.file.getvalue().splitlines()
