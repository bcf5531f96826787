"""How commands end: exit codes, one sentence, and what is worth a second try."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError
from py4j.protocol import Py4JNetworkError
from sqlalchemy.exc import IntegrityError, OperationalError

from contracts.errors import BusyError, ContractError, UsageError
from flows.cli import terminal
from flows.cli.main import app, run_command
from flows.lifecycle import errors
from flows.lifecycle.errors import exit_code, first_of, is_expected, may_pass, sentence
from flows.state.writer_lock import LeaseLost
from tests.conftest import REPOSITORY


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


HERE = f"tests/flows/lifecycle/test_errors.py:{raised.__code__.co_firstlineno + 2}"
AWAY = OperationalError("SELECT secret", {"user": "ann@example.com"}, Exception("ann@example.com"))
ANSWER = httpx.Response(500, request=httpx.Request("GET", "http://127.0.0.1/api/flow_runs"))
PREFECT_FAILS = PrefectHTTPStatusError.from_httpx_error(
    httpx.HTTPStatusError(
        "Server error '500 Internal Server Error'", request=ANSWER.request, response=ANSWER
    )
)
CASES: list[tuple[BaseException, int, bool, str]] = [
    (UsageError("the call is wrong"), 2, False, "the call is wrong"),
    (ContractError("a check failed"), 1, False, "a check failed"),
    (BusyError("another run is writing"), 1, True, "another run is writing"),
    (LeaseLost("another run writes now"), 1, False, "another run writes now"),
    (AWAY, 1, True, "the database does not answer. What is finished is kept; run it again"),
    (
        httpx.ConnectError("gone"),
        1,
        True,
        "Prefect's server does not answer. What is finished is kept; run it again",
    ),
    (
        PREFECT_FAILS,
        1,
        True,
        "Prefect's server answers with an error of its own: its database may be away. What is "
        "finished is kept; run it again",
    ),
    (
        RuntimeError("Failed to reach API at http://127.0.0.1:1/api/"),
        1,
        True,
        "Prefect's server does not answer. What is finished is kept; run it again",
    ),
    (
        RuntimeError(
            "Timed out while attempting to connect to ephemeral Prefect API server. stdout: x"
        ),
        1,
        False,
        "Prefect's temporary server did not come up in time. Start a lasting one with `nightjar "
        "up`, or give it longer: prefect_start_seconds. What is finished is kept",
    ),
    (
        Py4JNetworkError("Answer from Java side is empty"),
        1,
        False,
        "Spark's Java process does not answer: it has ended, often for lack of memory; "
        "spark.memory says how much it takes. What is finished is kept; run it again",
    ),
    (
        IsADirectoryError(errno.EISDIR, "Is a directory", "raw/2025.csv"),
        1,
        False,
        "raw/2025.csv: Is a directory",
    ),
    (OSError(errno.EIO, "Input/output error", "f"), 1, True, "f: Input/output error"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 1, True,
     "Connection reset by peer"),
    (MemoryError(), 1, False, "this machine has too little memory for it"),
    (KeyError("ann@example.com"), 1, False, f"unexpected error: KeyError in {HERE}"),
    (ValueError("'ann@example.com'"), 1, False, f"unexpected error: ValueError in {HERE}"),
    (
        IntegrityError("INSERT", {}, Exception("ann@example.com")),
        1,
        False,
        f"unexpected error: IntegrityError in {HERE}",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "again", "message"), CASES, ids=[type(case[0]).__name__ for case in CASES]
)
def test_every_error_has_a_code_and_a_sentence_without_values(
    error: BaseException, code: int, again: bool, message: str
) -> None:
    caught = raised(error)
    assert exit_code(caught) == code
    assert sentence(caught) == message
    assert may_pass(caught) is again
    assert "ann@example.com" not in sentence(caught)


@pytest.mark.parametrize("raising", ["{}['p']", "raise ConnectionRefusedError(111, 'refused')"])
def test_whatever_spark_s_connection_stumbles_over_means_that_java_is_gone(raising: str) -> None:
    with pytest.raises((KeyError, OSError)) as error:
        exec(compile(raising, "/site-packages/py4j/protocol.py", "exec"))
    assert sentence(error.value).startswith("Spark's Java process does not answer: it has ended")
    assert not may_pass(error.value)


def test_what_a_run_failed_with_is_told_not_that_prefect_could_not_be_told_of_it() -> None:
    failed = ContractError("a check failed")

    def fail() -> None:
        try:
            raise failed
        except ContractError:
            raise PREFECT_FAILS from None

    with pytest.raises(PrefectHTTPStatusError) as error:
        fail()
    assert first_of(error.value) is failed
    assert first_of(AWAY) is AWAY


def test_what_needs_no_log_says_so() -> None:
    assert is_expected(ContractError("a check failed"))
    assert is_expected(PermissionError(errno.EACCES, "Permission denied", "f"))
    assert not is_expected(KeyError("x"))
    assert not is_expected(AWAY)


WRONG_CALLS = [
    (["nothing"], ""),
    (["run", "--as-of", "yesterday"], "--as-of: expected a day such as 2025-01-31, found 'yesterday'"),
    (["run"], "there is no user key"),
    (["plan", "--start", "2025-01-01"], "a plan is of a range"),
    (["backfill", "--start", "2025-01-01", "--end", "2025-01-02", "--stages", "all"], "there is no user key|--stages all"),
    (["describe", "nothing"], "nothing: no such table; expected one of "),
    (["erase", "u1", "--yes"], "there is no user key"),
    (["replay", "--day", "soon"], "--day: expected a day such as 2025-01-31, found 'soon'"),
    (["check"], "a check needs a mapping and a folder of raw files"),
    (["simulate"], ""),
    (["new-key", "."], ".: File exists; a key is never overwritten"),
    (["quarantine", "--day", "soon"], "--day: expected a day such as 2025-01-31, found 'soon'"),
    (["late-data", "--day", "soon"], "--day: expected a day such as 2025-01-31, found 'soon'"),
    (["late-data-cost"], ""),
]  # fmt: skip
BEFORE_THE_FIRST_NIGHT = [
    (["sql", "SELECT 1"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["tables"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["late-data"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["explain", "u1"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["canary"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["tune"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["late-data-cost", "--as-of", "2025-01-01"], "nothing has been released yet: run `nightjar run` or `nightjar demo`"),
    (["quarantine"], "nothing has been cleaned yet: run `nightjar run`"),
]  # fmt: skip
DONE = [["--help"], ["releases"], ["describe", "user_scores"], ["new-key", "fresh.key"]]


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder without home, settings or key; a home that a command makes in it is closed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTJAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", os.environ["PREFECT_HOME"])
    monkeypatch.setattr(terminal, "end_children_with_this_process", lambda: None)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)
    home = tmp_path / "home"
    assert not home.exists() or stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("words", "pattern"), WRONG_CALLS, ids=[" ".join(w) for w, _ in WRONG_CALLS]
)
def test_a_wrong_call_ends_with_2(no_home: Path, capfd, words: list[str], pattern: str) -> None:
    code, message = run_command(words)
    assert code == 2
    assert re.match(pattern, message)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    BEFORE_THE_FIRST_NIGHT,
    ids=[words[0] for words, _ in BEFORE_THE_FIRST_NIGHT],
)
def test_what_is_not_there_yet_ends_with_1(
    no_home: Path, capfd, words: list[str], message: str
) -> None:
    assert run_command(words) == (1, message)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("words", DONE, ids=[" ".join(words) for words in DONE])
def test_what_is_done_ends_with_0(no_home: Path, words: list[str]) -> None:
    assert run_command(words) == (0, "")


def test_an_unexpected_error_ends_with_1_and_keeps_values_to_itself(
    no_home: Path, capfd, monkeypatch
) -> None:
    def fail(*words: object) -> None:
        raise KeyError("ann@example.com")

    monkeypatch.setattr("flows.cli.render.describe", fail)
    code, message = run_command(["describe", "labels"])
    assert code == 1
    assert re.fullmatch(
        r"unexpected error: KeyError in tests/flows/lifecycle/test_errors\.py:\d+", message
    )
    shown = capfd.readouterr().err
    assert "in fail" in shown  # the stack, for who has to fix it
    assert "ann@example.com" not in shown.replace('raise KeyError("ann@example.com")', "")


def test_sql_that_is_wrong_is_the_callers_and_files_that_are_gone_are_not(
    no_home: Path,
) -> None:
    (no_home / "home").mkdir(mode=0o700)
    with duckdb.connect(str(no_home / "home/nightjar.duckdb")) as connection:
        connection.execute("CREATE TABLE release_files (table_name VARCHAR, path VARCHAR)")
        gone = no_home / "home/gone.parquet"
        connection.execute(f"COPY (SELECT 1 AS one) TO '{gone}'")
        connection.execute("INSERT INTO release_files VALUES ('v', ?)", [str(gone)])
        connection.execute(f"CREATE VIEW v AS SELECT one FROM read_parquet('{gone}')")
    assert run_command(["sql", "SELECT one FROM v"]) == (0, "")
    assert run_command(["sql", "-- a question\nSELECT one FROM v"]) == (0, "")
    assert run_command(["sql", "SELECT one FROM orders"]) == (
        2,
        "Catalog Error: Table with name orders does not exist; `nightjar tables` lists those there "
        "are",
    )
    code, message = run_command(["sql", "SELEC 1"])
    assert (code, message[:13]) == (2, "Parser Error:")
    assert run_command(["sql", "DROP VIEW v"]) == (
        2,
        "expected one SELECT: the release is read-only",
    )
    gone.unlink()
    assert run_command(["sql", "SELECT one FROM v"]) == (
        1,
        f"1 file of the release is not there, such as {gone}: restore them, or go back with "
        "`nightjar rollback`",
    )
    moved = no_home / "moved"
    (no_home / "home").rename(moved)
    assert run_command(["sql", "SELECT one FROM v", "--home", str(moved)]) == (
        2,
        f"this home was made in another place than {moved}: its tables say that their files are "
        f"elsewhere, such as {gone}. Use it where it was; if it was moved for good, `nightjar adopt "
        f"--home {moved}` says what to do",
    )


def test_the_readme_lists_every_command_and_exit_code() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    names = {
        command.name or command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback is not None
    }
    assert {name for name in names if f"nightjar {name}" not in readme} == set()
    table = (REPOSITORY / "docs/operations.md").read_text()
    for code in (errors.DONE, errors.STOPPED_BY_A_CHECK, errors.WRONG_CALL, 129, 130, 143):
        assert f"| {code} |" in table
