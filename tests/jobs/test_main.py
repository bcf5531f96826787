"""A stage as a program of its own, as spark-submit starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.tables import LANDED
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import read_mapping
from jobs.market.files import simulate
from jobs.market.traits import Market
from jobs.spark.files import write_days
from tests.conftest import REPOSITORY
from tests.jobs.market.test_market import SMALL

pytestmark = pytest.mark.slow


def test_a_stage_runs_alone_and_reports_its_files(spark, tmp_path: Path) -> None:
    simulate(Market(50, SMALL.start, 2, 1), tmp_path / "raw", lambda done, total: None)
    path = REPOSITORY / "infra/sources/market.toml"
    source = next(s for s in read_mapping(path).sources if s.name == "engagements")
    files = raw_files(source, tmp_path / "raw")
    days = [f.landed_on for f in files]
    written = write_days(
        spark, landed(spark, source, files), LANDED, days, str(tmp_path / "landed")
    )
    spec = {
        "inputs": {"landed": [p for m in written.values() for p in m.files]},
        "days": [str(d) for d in days],
        "folder": str(tmp_path / "out"),
        "mapping": str(path),
        "known_until": "2025-01-03",
        "settle_days": 2,
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))

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
