"""A server or database that goes away: one sentence, and what is finished is kept."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from contracts.errors import NightjarError
from flows.engine import alerts
from flows.lake.catalogue import open_catalogue
from flows.lifecycle.errors import sentence
from flows.settings import CATALOGUE_VARIABLE, NightjarSettings
from flows.state.postgres import make_database
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import CURRENT, RELEASES, open_database
from tests.bench.kills import MARK
from tests.bench.stops import COMMAND, Ended, disturbed, is_line_of_a_night, prefect_server
from tests.conftest import REPOSITORY
from tests.flows.conftest import ENVIRONMENT, fresh_databases
from tests.flows.lifecycle.test_signals import MAPPING, environment
from tests.flows.server_outage import doorway


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


def test_connections_that_a_server_broke_when_it_started_anew_are_made_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(f"{server}/restart").set(drivername="postgresql+psycopg")
    with doorway(url.port or 0) as door:
        address = url.set(port=door.port).render_as_string(hide_password=False)
        monkeypatch.setenv(CATALOGUE_VARIABLE, address)
        receipts, catalogue = Receipts(open_database(address)), open_catalogue(str(tmp_path))
        door.shut()
        door.open_again()
        receipts.write([receipt("land", 1)])
        assert catalogue.list_tables("nightjar") == []


def test_a_database_that_is_silent_and_refuses_nothing_is_away_after_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://owner:secret@127.0.0.1:{silent.getsockname()[1]}"
        address = NightjarSettings(postgres_url=f"{url}?connect_timeout=2").postgres("nightjar")
        assert "connect_timeout=2&" in address  # in the place of ours
        started = time.monotonic()
        with pytest.raises(NightjarError) as error:
            make_database(address)
    assert time.monotonic() - started < 20
    assert str(error.value).startswith(
        f"the database {url.replace('secret', '***')}/nightjar cannot be reached: "
    )


def test_a_night_whose_database_goes_away_says_one_sentence_and_goes_on_when_it_is_back(
    server: str, tmp_path: Path
) -> None:
    rows = [f"p{i},u{i % 9},2025-0{1 + i // 20}-1{i % 9}T10:00:00" for i in range(100)]
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "posts.csv").write_text("\n".join(["id,user,time", *rows]) + "\n")
    call = [*COMMAND, "run", "--as-of", "2025-07-01", "--no-train"]
    with fresh_databases(server), doorway(make_url(server).port or 0) as door:
        variables = environment(
            **ENVIRONMENT
            | {
                MARK: "outage",
                "NIGHTJAR_HOME": str(tmp_path / "home"),
                "NIGHTJAR_SOURCE": str(tmp_path / "m.toml"),
                "NIGHTJAR_RAW": str(tmp_path),
                "NIGHTJAR_POSTGRES_URL": make_url(server)
                .set(port=door.port)
                .render_as_string(hide_password=False),
                "PYTHONPATH": str(REPOSITORY),
            }
        )
        variables.pop(CATALOGUE_VARIABLE, None)
        ended = disturbed(
            call, variables, "outage", "clean_posts: ", 0.0, lambda pid: door.shut(), 8
        )
        check_ended(ended, "the database does not answer. What is finished is kept; run it again")
        door.open_again()
        again = disturbed(call, variables, "outage", "land_posts: ", 0.0, lambda pid: None, 8)
    assert again.before[-1][9:] == "  land_posts: reused, nothing changed"
    assert "published release" in again.after
    assert (again.code, again.left) == (0, [])


def check_ended(ended: Ended, sentence: str) -> None:
    """Our own lines, and one sentence; exit code 1, and nobody left."""
    *lines, last = ended.after.splitlines()
    assert [line for line in lines if not is_line_of_a_night(line)] == []
    assert last.startswith(sentence)
    assert (ended.code, ended.left) == (1, [])


def nightjar(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NIGHTJAR_", "PREFECT_", "PYICEBERG_"))
    }
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *words],
        env=inherited | {"NIGHTJAR_HOME": str(home), "PYTHONPATH": str(REPOSITORY)} | settings,
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


@pytest.mark.slow
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


WAITS = """
import os, sys, time
from flows import settings
from flows.cli import main, terminal

@terminal.app.command()
def wait() -> None:
    terminal.run_flow(settings.read_settings().home_folder, waiting)

def waiting():
    from flows.steps.prefect_tasks import flow, say

    @flow(name="waits")
    def waits():
        say("audit: begun")
        while not os.path.exists("GONE"):
            time.sleep(0.05)

    return waits

sys.argv = ["nightjar", "wait"]
main.main()
"""


@pytest.mark.slow
def test_a_server_of_prefects_that_goes_away_during_a_run_is_one_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with prefect_server(tmp_path / "prefect") as port, doorway(port) as door:

        def shut(pid: int) -> None:
            door.shut()
            gone.touch()

        variables = environment(
            NIGHTJAR_HOME=str(tmp_path / "home"),
            PREFECT_HOME=str(tmp_path / "client"),
            PREFECT_API_URL=f"http://127.0.0.1:{door.port}/api",
            PREFECT_CLIENT_MAX_RETRIES="1",
            PYTHONPATH=str(REPOSITORY),
            **{MARK: "prefect-outage"},
        )
        command = [sys.executable, "-c", WAITS.replace("GONE", str(gone))]
        ended = disturbed(command, variables, "prefect-outage", "audit: begun", 0.0, shut, 8)
    check_ended(ended, "Prefect's server does not answer. What is finished is kept; run it again")


def test_a_release_is_not_announced_to_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emitted: list[str] = []
    monkeypatch.setattr(alerts, "emit_event", lambda event, **about: emitted.append(event))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        away = alerts.announce("20250101-ab", "2025-01-01")
    assert away is not None
    assert sentence(away) == (
        "Prefect's server does not answer. What is finished is kept; run it again"
    )
    assert emitted == []
