from __future__ import annotations

import subprocess
from pathlib import Path

from jobs.spark.java import find_java, java_version, system_java, wheel_java


def test_the_wheels_java_runs_and_drops_the_flag_it_cannot_take(tmp_path: Path) -> None:
    java = wheel_java(tmp_path / "java") / "bin" / "java"
    assert java_version(java) == 21
    done = subprocess.run(
        [java, "--add-modules=jdk.incubator.vector", "-Dsome=a b", "-version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_a_java_on_the_path_the_wheels_is_found(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert system_java(None) is None
    assert find_java(None, tmp_path / "java") == tmp_path / "java"


def test_what_is_no_java_has_no_version(tmp_path: Path) -> None:
    assert java_version(tmp_path / "java") is None
