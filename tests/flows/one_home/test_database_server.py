"""The same night with a PostgreSQL server: equal to the bit, and its password stands nowhere."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine, inspect, text

from contracts.tables import RELEASED_TABLES
from flows import settings as settings_module
from flows.nightly import nightly
from flows.release.model_registry import Registry
from flows.release.releases import Releases
from flows.settings import read_settings
from flows.state.postgres import DATABASES
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from tests.flows.conftest import PASSWORD, fresh_databases
from tests.flows.first_night import NIGHT

pytestmark = pytest.mark.slow
SECRETS = {
    "NIGHTJAR_ALERT_WEBHOOK": "https://hooks.example/razorbill-4712",
    "NIGHTJAR_OPERATORS_PASSWORD": "kittiwake-4713",
    "NIGHTJAR_PAGES_PASSWORD": "guillemot-4714",
}


@pytest.fixture(scope="module")
def served(home: Path, first, server: str) -> Iterator[dict[str, Any]]:
    """What the night said with everything in PostgreSQL but Prefect, and its home."""
    patch = pytest.MonkeyPatch()
    # Set here, so that it is unset again: reading the settings would leave it to later tests.
    catalogue = server.replace("postgresql:", "postgresql+psycopg:") + "/nightjar"
    patch.setenv(settings_module.CATALOGUE_VARIABLE, catalogue)
    patch.setenv("NIGHTJAR_POSTGRES_URL", server)
    patch.setenv("NIGHTJAR_HOME", str(home.parent / "ein Zuhause für PostgreSQL"))
    for name, value in SECRETS.items():
        patch.setenv(name, value)
    with fresh_databases(server):
        with watched_arguments() as arguments:
            done = nightly(NIGHT)
        yield done | {"home": home.parent / "ein Zuhause für PostgreSQL", "arguments": arguments}
    patch.undo()


@contextmanager
def watched_arguments() -> Iterator[set[bytes]]:
    """The arguments of every process on this machine, as everybody may read them."""
    command_lines: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    command_lines.add(path.read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield command_lines
    finally:
        over.set()
        thread.join()


def contents(database: Path) -> dict[str, tuple[Any, ...]]:
    """Per released table: rows, and a sum of their hashes, whatever their order."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return {
            table.name: connection.execute(
                f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {table.name} t"
            ).fetchall()[0]
            for table in RELEASED_TABLES
        }


def digests(url: str) -> dict[tuple[str, str], Any]:
    """Stage and day to the digests of what it wrote."""
    engine = open_database(url)
    by_stage = {
        (r.stage, str(r.day)): {
            name: output["digest"] for name, output in r.outputs.items() if isinstance(output, dict)
            and "digest" in output
        }
        for r in Receipts(engine).all()
    }  # fmt: skip
    engine.dispose()
    return by_stage


def test_a_night_on_postgresql_equals_one_on_sqlite_to_the_bit(home: Path, first, served) -> None:
    assert served["release_id"] == first["release_id"]
    assert not list(served["home"].rglob("*.db"))
    ours, theirs = contents(served["home"] / "nightjar.duckdb"), contents(home / "nightjar.duckdb")
    assert ours == theirs
    assert sum(rows > 0 for rows, _ in ours.values()) > 5
    settings = read_settings()
    assert digests(settings.receipts_url) == digests(f"sqlite:///{home}/nightjar.db")
    released = [
        (r.release_id, r.model_id, r.fingerprint, r.days)
        for url in (settings.receipts_url, f"sqlite:///{home}/nightjar.db")
        for r in Releases(open_database(url)).all()
    ]
    assert released[0] == released[1]


def test_the_first_night_on_a_new_server_is_in_mlflow(served) -> None:
    settings = read_settings()
    engine = open_database(settings.receipts_url)
    receipt = Receipts(engine).get("train", NIGHT)
    engine.dispose()
    assert receipt is not None
    assert "tracking_error" not in receipt.outputs
    run = MlflowClient(settings.mlflow_url).get_run(receipt.outputs["run_id"])
    assert run.data.tags["as_of"] == str(NIGHT)
    assert Registry(settings).version(receipt.outputs["model_id"]) == 1


def test_a_night_on_postgresql_again_recomputes_nothing(served) -> None:
    assert nightly(NIGHT)["recomputed"] == 0


def test_no_file_and_no_database_holds_a_secret(served) -> None:
    secrets = [os.environ["NIGHTJAR_KEY"], PASSWORD, *SECRETS.values()]
    n = 0
    folders = (served["home"], Path(os.environ["PREFECT_HOME"]))
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and path.suffix not in (".parquet", ".avro", ".png"):
            n += 1
            content = path.read_bytes()
            for secret in secrets:
                assert secret.encode() not in content, path
        if path.name.endswith(".spec.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert n > 20
    assert stat.S_IMODE(served["home"].stat().st_mode) == 0o700
    assert any(b"-m\0models\0train" in arguments for arguments in served["arguments"])
    for arguments in served["arguments"]:
        assert not any(secret.encode() in arguments for secret in secrets), arguments
    n = 0
    for name in DATABASES:
        if name == "nightjar_prefect":
            continue  # the run's own server was a temporary one
        engine = create_engine(read_settings().postgres(name))
        with engine.connect() as connection:
            for table in inspect(engine).get_table_names():
                n += 1
                for secret in secrets:
                    count = connection.execute(
                        text(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE :part'),
                        {"part": f"%{secret}%"},
                    )
                    assert count.scalar() == 0, table
        engine.dispose()
    assert n > 30
