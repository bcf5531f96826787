"""A server or database that goes away: one sentence, and what is finished is kept."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from flows.database import CURRENT, RELEASES, open_database
from flows.endings import sentence
from flows.receipts import Fingerprint, Receipt, Receipts
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _pools_are_gone() -> Iterator[None]:
    """What is said of connections that are still open is said here, not in another file's test."""
    yield
    gc.collect()


class Doorway:
    """A port that leads to another one, until it is shut: then connections break and new ones are
    refused, as of a server that is gone."""

    def __init__(self, port: int):
        self._to = port
        self._open: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._let_in, daemon=True).start()

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                inside, _ = self._door.accept()
                outside = socket.create_connection(("127.0.0.1", self._to))
                self._open += [inside, outside]
                for one, other in ((inside, outside), (outside, inside)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        for one in (self._door, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def doorway(port: int) -> Iterator[Doorway]:
    made = Doorway(port)
    try:
        yield made
    finally:
        made.shut()


def receipt(stage: str, day: int) -> Receipt:
    at = datetime(2025, 1, 2, tzinfo=UTC)
    empty = Fingerprint("", "", "")
    return Receipt(stage, date(2025, 1, day), empty, {}, 1, 1, 1.0, 1, None, "run", at)


def test_what_was_finished_before_a_database_went_away_is_kept(server: str) -> None:
    url = make_url(f"{server}/outage").set(drivername="postgresql+psycopg")
    with doorway(url.port or 0) as door:
        engine = open_database(url.set(port=door.port).render_as_string(hide_password=False))
        receipts = Receipts(engine)
        receipts.write([receipt("land", 1)])
        door.shut()
        with pytest.raises(OperationalError) as broken:
            receipts.write([receipt("land", 2)])
        with pytest.raises(OperationalError) as refused:
            receipts.write([receipt("land", 2)])
        engine.dispose()
    for error in (broken, refused):
        assert sentence(error.value) == (
            "the database does not answer. What is finished is kept; run it again"
        )
        assert "land" not in str(error.value)  # what was asked of it
    back = open_database(url.render_as_string(hide_password=False))
    assert Receipts(back).days("land") == (date(2025, 1, 1),)
    back.dispose()


def nightjar(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    told = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NIGHTJAR_", "PREFECT_", "PYICEBERG_"))
    }
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *words],
        env=told | {"NIGHTJAR_HOME": str(home), "PYTHONPATH": str(REPOSITORY)} | settings,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=home,
    )


def with_a_release(home: Path) -> None:
    """A home in which there is something to roll back."""
    engine = open_database(f"sqlite:///{home / 'nightjar.db'}")
    with engine.begin() as connection:
        connection.execute(insert(RELEASES).values(
            release_id="r1", as_of=date(2025, 1, 1), model_id="m", fingerprint="f", snapshots={},
            run_id="run", published_at=datetime(2025, 1, 2, tzinfo=UTC)))  # fmt: skip
        connection.execute(insert(CURRENT).values(id=1, release_id="r1"))
    engine.dispose()


def test_a_temporary_server_that_does_not_come_up_in_time_is_one_sentence(tmp_path: Path) -> None:
    with_a_release(tmp_path)
    done = nightjar(tmp_path, "rollback", NIGHTJAR_PREFECT_START_SECONDS="1")
    assert done.returncode == 1
    assert " ".join(done.stderr.split()).startswith(
        "Prefect's temporary server did not come up in time. Start a lasting one with `nightjar "
        "up`, or give it longer: prefect_start_seconds. What is finished is kept"
    )
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_server_of_prefects_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    with_a_release(tmp_path)
    done = nightjar(tmp_path, "rollback", PREFECT_API_URL="http://127.0.0.1:1/api")
    assert done.returncode == 1
    assert " ".join(done.stderr.split()).startswith(
        "Prefect's server does not answer. What is finished is kept; run it again"
    )
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
