"""`nightjar check`: what it prints for people and programs, how it ends, and what it leaves."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from contracts.errors import ContractError, UsageError
from flows.cli.main import app, run_command
from flows.lifecycle.errors import sentence
from flows.mapping_check import trial
from tests.flows.mapping_check.test_trial import MAPPING, written


def test_what_stops_a_check_is_one_object_for_programs(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    words = ["check", "--raw", str(tmp_path), "--format", "json", "--source"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "m.toml"), "--as-of", "2025-01-03"])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {
        "stopped": f"raw files are missing:\n  log: no file matches {tmp_path}/log/{{day}}.csv"
    }
    done = CliRunner().invoke(app, [*words, str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert json.loads(done.stdout) == {"stopped": f"{tmp_path}/none.toml: no such mapping"}


@pytest.mark.slow
def test_a_check_ends_well_and_leaves_nothing_behind(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first rows of each file, or of all; without a home and without a key."""
    lines = [f"{n},ann,x,1,2.50,2025-01-02T10:00:{n:02}" for n in range(5)]
    written(tmp_path, {"2025-01-01": "", "2025-01-02": "\n".join(lines)})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("NIGHTJAR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(trial, "FIRST_ROWS", 3)
    asked: list[bool] = []
    stopped: list[SparkSession] = []

    def start(config: object, folder: Path, is_small: bool) -> SparkSession:
        assert folder.parent == temporary
        asked.append(is_small)
        return spark

    monkeypatch.setattr(trial, "start_session", start)
    monkeypatch.setattr(SparkSession, "stop", lambda session: stopped.append(session))
    before = sorted(tmp_path.rglob("*"))
    words = ["check", "--source", str(tmp_path / "m.toml"), "--raw", str(tmp_path)]
    words += ["--as-of", "2025-01-03"]
    first = CliRunner().invoke(app, [*words, "--format", "json"])
    every = CliRunner().invoke(app, [*words, "--rows", "all"])
    assert (first.exit_code, every.exit_code) == (0, 0), (first.output, every.output)
    as_json = json.loads(first.stdout)
    assert (as_json["rows"], as_json["sources"]["log"]["rows"], as_json["tables"]["orders"]) == (
        3, 3,
        {
            "in": 3, "clean": 3, "duplicate": 0, "quarantined": 0, "reasons": {}, "users": 1,
            "first": "2025-01-02T10:00:00Z", "last": "2025-01-02T10:00:02Z",
        },
    )  # fmt: skip
    page = every.stdout.splitlines()
    assert page[0] == "all rows of 2 files, as of 2025-01-03: 5 rows"
    assert [line.split()[:5] for line in page if line.startswith("orders")] == [
        ["orders", "5", "5", "0", "0"]
    ]
    assert (asked, stopped) == ([True, False], [spark, spark])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContractError("a check failed"), 1),
        (UsageError("the call is wrong"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "f"), 1),
        (MemoryError(), 1),
        (KeyError("ann@example.com"), 1),
    ],
)
def test_whatever_stops_a_check_programs_are_told_what_a_person_is(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object) -> None:
        raise error

    monkeypatch.setattr("flows.mapping_check.trial.of_settings", raises)
    done = CliRunner().invoke(app, ["check", "--format", "json"])
    error.__traceback__ = None
    ended = run_command(["check"])
    assert (done.exit_code, json.loads(done.stdout)) == (code, {"stopped": ended[1]})
    assert ended[0] == code
    assert ended[1].split(" in ")[0] in (sentence(error), "unexpected error: KeyError")
