"""A stage as a program of its own, as spark-submit starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.spec_json import encode
from contracts.specs import JobSpec
from contracts.tables import LANDED
from jobs.__main__ import main
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import read_mapping
from jobs.market.files import simulate
from jobs.market.traits import Market
from jobs.spark.files import write_days
from tests.conftest import REPOSITORY
from tests.jobs.market.test_market import SMALL


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "JobSpec is not JSON: Expecting property name enclosed in double quotes: line 1 "
              "column 2 (char 1)"),
        (
            '{"inputs": {"landed": "f"}, "days": ["tomorrow"], "folder": "out", "raws": "raw", '
            '"settle_days": "2"}',
            "JobSpec breaks its contract:\n"
            "  raws: no such field\n"
            "  inputs.landed: expected a list, found 'f'\n"
            "  days[0]: expected date, found 'tomorrow'\n"
            "  mapping: expected str, found nothing\n"
            "  known_until: expected date, found nothing\n"
            "  settle_days: expected int, found '2'",
        ),
        (
            encode(JobSpec({"labels": ()}, (), "out", "m.toml", date(2025, 1, 3), 2)),
            "inputs: examples reads user_features as well; name each with its files, or with none: "
            "[]",
        ),
        (b"\xff", "expected UTF-8, found other bytes"),
        (None, "No such file or directory"),
    ],
)  # fmt: skip
def test_a_spec_that_is_wrong_is_a_wrong_call_and_not_a_traceback(
    text: str | bytes | None,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "spec.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(sys, "argv", ["jobs", "examples", str(path), str(tmp_path / "report")])
    assert main() == 2
    assert capsys.readouterr().err == f"{path}: {problem}\n"


@pytest.mark.slow
def test_a_stage_runs_alone_and_reports_its_files(spark, tmp_path: Path) -> None:
    simulate(Market(50, SMALL.start, 2, 1), tmp_path / "raw", lambda done, total: None)
    path = REPOSITORY / "infra/sources/market.toml"
    source = next(s for s in read_mapping(path).sources if s.name == "engagements")
    files = raw_files(source, tmp_path / "raw")
    days = [f.landed_on for f in files if f.landed_on is not None]
    written = write_days(
        spark, landed(spark, source, files), LANDED, days, str(tmp_path / "landed")
    )
    spec = JobSpec(
        inputs={LANDED.name: tuple(p for of_day in written.values() for p in of_day.files)},
        days=tuple(days),
        folder=str(tmp_path / "out"),
        mapping=str(path),
        known_until=date(2025, 1, 3),
        settle_days=2,
    )
    (tmp_path / "spec.json").write_text(encode(spec))

    def run(key: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "jobs",
                "clean_engagements",
                str(tmp_path / "spec.json"),
                str(tmp_path / "report.json"),
            ],
            env={**os.environ, "NIGHTJAR_KEY": key},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("a key for the tests alone")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    rows = sum(day["rows"] for day in report["written"][ENGAGEMENTS.name].values())
    assert rows == sum(row["n_clean"] for row in report["reconciled"]) > 0
    refused = run("short")
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("the user key needs 16 bytes or more, found 5")
