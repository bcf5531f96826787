"""Copies of one released night on a tiny market, and a PostgreSQL server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from sqlalchemy import create_engine, make_url, text

from flows.engine import spark_provider
from flows.state.postgres import DATABASES
from tests.conftest import REPOSITORY, Once
from tests.flows.first_night import HOME, FirstNight, build, copied, show_release

ENVIRONMENT = {
    "NIGHTJAR_KEY": "a key for the tests alone",
    "NIGHTJAR_EXAMPLE_SPACING_DAYS": "8",
    "NIGHTJAR_MIN_HISTORY_DAYS": "10",
    "NIGHTJAR_TRAIN__OPTIMISER__MAX_EPOCHS": "2",
    "NIGHTJAR_TRAIN__OPTIMISER__TOWER_EPOCHS": "1",
    "NIGHTJAR_TRAIN__NETWORK__WIDTH": "16",
    "NIGHTJAR_TRAIN__INPUTS__N_BINS": "4",
    "NIGHTJAR_TRAIN__INPUTS__NUMERIC_WIDTH": "2",
    "NIGHTJAR_TRAIN__EVALUATION__MIN_ROWS": "20",
    "NIGHTJAR_TRAIN__EVALUATION__BOOTSTRAP_SAMPLES": "20",
    "NIGHTJAR_SETTLE_DAYS": "1",
    "NIGHTJAR_MAX_SCORE_SHIFT": "none",  # models of two epochs lie where they happen to
    "NIGHTJAR_SOURCE": str(REPOSITORY / "infra/sources/market.toml"),
}


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
            close_mlflow(server)
            for name in DATABASES:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            for name in kept:
                connection.execute(text(f"ALTER DATABASE kept_{name} RENAME TO {name}"))
    engine.dispose()


def close_mlflow(server: str) -> None:
    """Close MLflow's connections to a server: it keeps an engine per address as long as it lives."""
    for store in ("tracking", "model_registry"):
        module = sys.modules.get(f"mlflow.store.{store}.sqlalchemy_store")
        if module is not None:
            for address, engine in module.SqlAlchemyStore._engine_map.items():
                if make_url(address).port == make_url(server).port:
                    engine.dispose()


@pytest.fixture(scope="session")
def original(spark: SparkSession, once: Once) -> FirstNight:
    """The first night as it was run, by whichever worker came first. It is only to be copied."""

    def run(folder: Path) -> FirstNight:
        root = folder / "original"
        root.mkdir()
        with settings_of(root, spark):
            return build(root)

    return once("nights", run)


@pytest.fixture(scope="module")
def first_night(spark: SparkSession, original: FirstNight) -> Iterator[FirstNight]:
    """The first night in a home of the module's own, whose settings are in the environment."""
    night = copied(original)
    with settings_of(night.root, spark):
        show_release(night.home)
        yield night


@contextmanager
def settings_of(root: Path, spark: SparkSession) -> Iterator[None]:
    """The settings of a first night in the environment."""
    own = {"NIGHTJAR_HOME": str(root / HOME), "NIGHTJAR_RAW": str(root / "raw")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | own).items():
            patch.setenv(name, value)
        patch.setattr(spark_provider, "start_session", lambda config, scratch: spark)
        yield


@pytest.fixture(scope="module")
def home(first_night: FirstNight) -> Path:
    return first_night.home


@pytest.fixture(scope="module")
def first(first_night: FirstNight) -> dict[str, Any]:
    """What the first night returned."""
    return first_night.result
