"""A change of what one table declares reaches the stages that use it, on a copy of the code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FINGERPRINTS = """
import json
from datetime import date
from flows.engine.fingerprints import Fingerprints
from jobs.mapping.sources import SourceMapping
from jobs.stage import Settings
from jobs.stages import SPARK_JOBS
from jobs.values.user_key import UserKey

fingerprints = Fingerprints(None, Settings(SourceMapping("t", ()), UserKey(b"k" * 32)))
day = date(2025, 1, 1)
print(json.dumps({j.name: [fingerprints.code(j), fingerprints.configuration(j, day)] for j in SPARK_JOBS}))
"""
FEATURES = {"late_data", "user_state", "user_features", "labels", "examples"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("contracts", "jobs", "flows", "models"):
        shutil.copytree(
            REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def fingerprints(copy: Path) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", FINGERPRINTS],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    by_stage: dict[str, list[str]] = json.loads(done.stdout)
    return by_stage


def changed(copy: Path, old: str, new: str) -> set[str]:
    """Stages whose code or configuration differs once reviews declare something else."""
    before = fingerprints(copy)
    reviews = copy / "contracts/source_tables/reviews.py"
    text = reviews.read_text()
    assert text.count(old) == 1
    reviews.write_text(text.replace(old, new))
    after = fingerprints(copy)
    return {name for name in before if before[name] != after[name]}


def test_a_new_measure_makes_the_tiles_of_its_table_anew_and_what_follows(copy: Path) -> None:
    last = "\"count_if(sentiment = 'positive')\",\n        ),\n"
    new = last + '        Measure("n_five_stars", "Reviews of 5 stars", "count_if(stars = 5)"),\n'
    assert changed(copy, last, new) == {"user_days_reviews", *FEATURES}


def test_a_new_rule_of_cleaning_judges_the_rows_of_its_table_again(copy: Path) -> None:
    rule = '            OneOf("sentiment"),\n'
    new = rule + '            Fails("text: too short", "length(text) < 3"),\n'
    reviews = copy / "contracts/source_tables/reviews.py"
    reviews.write_text(
        reviews.read_text().replace("    Cleaning,\n", "    Cleaning,\n    Fails,\n")
    )
    assert changed(copy, rule, new) == {"clean_reviews"}


def test_prose_recomputes_nothing(copy: Path) -> None:
    assert changed(copy, '"Reviews written"', '"Reviews that the user wrote"') == set()
