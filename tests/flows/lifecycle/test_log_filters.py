"""What a person at a terminal sees of a run: our lines alone, and a stop's message once."""

from __future__ import annotations

import io
import logging
import os
import re
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy.exc import OperationalError

from contracts.errors import NightjarError
from flows.engine.accounting import StageReport, summary
from flows.lifecycle import errors
from flows.lifecycle.log_filters import _Ours
from flows.steps.prefect_tasks import flow, task, transient
from tests.bench.stops import COMMAND
from tests.conftest import REPOSITORY
from tests.flows.conftest import ENVIRONMENT
from tests.flows.lifecycle.test_signals import MAPPING, environment
from tests.flows.terminal_lines import lines_at_a_terminal

HERE = "tests/flows/lifecycle/test_log_filters.py"
PREFECT = "prefect/flow_engine.py"


@pytest.mark.parametrize(
    ("file", "is_shown"),
    [
        ("flows/steps/prefect_tasks.py", True),
        (f".venv/lib/python3.11/site-packages/{PREFECT}", False),  # where `make` installs it
        (f"venv/lib/python3.11/site-packages/{PREFECT}", False),
        (PREFECT, False),  # installed beside us
    ],
)
def test_only_lines_of_our_own_code_reach_the_terminal(file: str, is_shown: bool) -> None:
    console = Console(file=io.StringIO(), width=200)
    record = logging.makeLogRecord(
        {"pathname": f"{REPOSITORY}/{file}", "name": "prefect.flow_runs", "msg": "a line"}
    )
    _Ours(console).emit(record)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue()[9:] == ("a line\n" if is_shown else "")


def test_an_error_s_place_is_in_our_code_even_where_libraries_lie_below_it() -> None:
    with pytest.raises(KeyError) as error:
        exec(compile("{}['p']", f"{REPOSITORY}/.venv/lib/site-packages/mlflow/x.py", "exec"))
    line = test_an_error_s_place_is_in_our_code_even_where_libraries_lie_below_it
    assert errors.place(error.value) == (
        f"tests/flows/lifecycle/test_log_filters.py:{line.__code__.co_firstlineno + 2}"
    )


MAIL = "ann@example.com"


@task(name="key", task_run_name="key")
def key_that_is_missing() -> None:
    raise KeyError(MAIL)


@task(
    name="database",
    task_run_name="database",
    retries=1,
    retry_delay_seconds=0,
    retry_condition_fn=transient,
)
def database_that_is_away() -> None:
    raise OperationalError("SELECT", {"user": MAIL}, Exception(MAIL))


@flow(name="foreign")
def foreign(how: str) -> None:
    if how == "key":
        key_that_is_missing()
    if how == "database":
        database_that_is_away()
    raise ValueError(MAIL)


DATABASE_AWAY = "the database does not answer. What is finished is kept; run it again"


@pytest.mark.parametrize(
    ("how", "message", "lines"),
    [
        ("key", f"unexpected error: KeyError in {HERE}:LINE", []),
        ("flow", f"unexpected error: ValueError in {HERE}:LINE", []),
        (
            "database",
            DATABASE_AWAY,
            ["  database: once more, for it stopped at this: the database does not answer"],
        ),
    ],
)
def test_prefect_is_told_how_a_run_failed_and_no_values(
    how: str, message: str, lines: list[str]
) -> None:
    with lines_at_a_terminal() as shown:
        state = foreign(how, return_state=True)
    with pytest.raises(NightjarError) as failed:
        state.result()
    said = re.sub(r":\d+$", ":LINE", str(failed.value))
    assert (said, failed.value.__cause__, failed.value.__context__) == (message, None, None)
    assert [line[9:] for line in shown] == lines
    assert errors.is_expected(failed.value) is False
    kept = kept_by_prefect(str(failed.value))
    assert [row for _, row in kept if MAIL in row] == []


def kept_by_prefect(message: str) -> list[tuple[str, str]]:
    """Table and text of every row of Prefect's database, once states, logs and events have it."""
    path = Path(os.environ["PREFECT_HOME"]) / "prefect.db"
    for _ in range(200):
        with closing(sqlite3.connect(path)) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            rows = [
                (name, str(row))
                for (name,) in names.fetchall()
                for row in database.execute(f'SELECT * FROM "{name}"')
            ]
        if {table for table, row in rows if message in row} >= {"flow_run_state", "log", "events"}:
            return rows
        time.sleep(0.1)
    raise AssertionError("Prefect does not know how the run ended")


def test_a_stack_in_a_log_has_lines_of_code_and_no_values(capsys) -> None:
    log = logging.getLogger("prefect.engine")
    kept = io.StringIO()
    handler = logging.StreamHandler(kept)
    log.addHandler(handler)
    try:
        {}[MAIL]
    except KeyError:
        log.exception("crashed:")
    finally:
        log.removeHandler(handler)
    first, *stack, kind = kept.getvalue().splitlines()
    assert (first, kind) == ("crashed:", "KeyError")
    assert "test_a_stack_in_a_log_has_lines_of_code_and_no_values" in stack[0]
    assert MAIL not in kept.getvalue()


def test_a_stage_says_what_it_did_and_counts_one_as_one() -> None:
    several = StageReport(
        "clean_posts", 12, 10, 2000, 3, 4.0, {"new": 9, "changed": 1},
        {"clean": 3, "duplicate": 0, "quarantined": 1997, "erased": 0},
    )  # fmt: skip
    assert summary(several) == (
        "clean_posts: 2,000 rows in, 3 clean, 0 duplicate, 1,997 quarantined, 4.0 s, 500 rows/s; "
        "2 days reused; new (9), changed (1)"
    )
    assert summary(StageReport("labels", 2, 1, 1, 1, 1.0)) == (
        "labels: 1 row in, 1 out, 1.0 s, 1 rows/s; 1 day reused"
    )
    assert summary(StageReport("labels", 2, 0)) == "labels: reused, nothing changed"


@pytest.mark.slow
def test_a_night_that_a_limit_stops_prints_its_own_lines_and_the_reason_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    rows = [f"p{i},{'' if i % 3 else f'u{i}'},2025-01-1{i // 60}T10:00:00" for i in range(120)]
    (tmp_path / "posts.csv").write_text("\n".join(["id,user,time", *rows]) + "\n")
    ended = subprocess.run(
        [*COMMAND, "run", "--as-of", "2025-07-01", "--source", "m.toml", "--raw", "."],
        env=environment(
            **ENVIRONMENT, NIGHTJAR_HOME=str(tmp_path / "home"), PYTHONPATH=str(REPOSITORY)
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    said = re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", ended.stderr)
    said = re.sub(r"[\d.,]+ s, [\d,]+ rows/s", "SPEED", said)
    off = re.compile(r"(task|surface) \w+ is switched off: no source for [a-z_, ]+")
    assert [line for line in said.splitlines() if not off.fullmatch(line)] == [
        "night of 2025-07-01: churn_28d, return_90d",
        "  the mapping's expressions: analysing them",
        "  land_posts: reading 1 file",
        "  land_posts: 120 rows in, 120 out, SPEED; never computed (1)",
        "  clean_posts: 2 days, 2025-01-10 to 2025-01-11",
        "  clean_posts: 120 rows in, 40 clean, 0 duplicate, 80 quarantined, SPEED; "
        "never computed (2)",
        "  user_days_posts: 2 days, 2025-01-10 to 2025-01-11",
        "  user_days_posts: 40 rows in, 40 out, SPEED; never computed (2)",
        "  late_data: 2 days, 2025-01-10 to 2025-01-11",
        "  late_data: 40 rows in, 0 out, SPEED; never computed (2)",
        "cleaning dropped more rows than the limits allow:",
        "  posts from posts: 80 of 120 rows (67%) are quarantined; max_quarantined_share = 0.5",
        "`nightjar quarantine` shows the rows; if they are right to go, raise the limit in "
        "nightjar.toml or the environment for this run",
    ]
