"""What a killed process leaves in its folder is removed by whoever comes next."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.spark.scratch import own_folder, remove_left

HOLD = """
import sys, time
from pathlib import Path
from jobs.spark.scratch import own_folder
folder = own_folder(Path(sys.argv[1]))
(folder / "rows").write_text("ann")
print(folder, flush=True)
time.sleep(60)
"""


def test_a_folder_is_kept_as_long_as_its_process_lives_and_not_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        mine = own_folder(tmp_path)
        assert remove_left(tmp_path) == []
        assert (folder / "rows").read_text() == "ann"
        process.send_signal(signal.SIGKILL)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda folder, ignore_errors: None)  # as if it might not
        assert remove_left(tmp_path) == [folder]
    assert remove_left(tmp_path) == []
    assert list(tmp_path.iterdir()) == [mine]


def test_what_earlier_versions_left_goes_after_a_day(tmp_path: Path) -> None:
    for name, age_s in (("blockmgr-1", 90_000), ("spark-2", 60), ("somebody's", 90_000)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    own_folder(tmp_path)
    assert not (tmp_path / "blockmgr-1").exists()
    assert (tmp_path / "spark-2").exists()
    assert (tmp_path / "somebody's").exists()
