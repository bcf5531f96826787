"""Writers that meet, and writers that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.table import ContractError
from contracts.tables import USER_ITEM_DAYS
from flows import lease
from flows.database import open_database
from flows.lake import Lake
from flows.lease import writing
from jobs.io import WrittenDay
from jobs.schema import arrow_schema
from tests.conftest import REPOSITORY
from tests.flows.lakes import day_file, rows_per_day

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


def test_two_writers_of_one_day_one_wins_and_the_other_is_told(tmp_path: Path, monkeypatch) -> None:
    """Both looked at the same table before either committed: the second commit is refused."""
    one, two = Lake(tmp_path / "lake"), Lake(tmp_path / "lake")
    one.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 1, "a")})
    stale = two.table(USER_ITEM_DAYS)
    one.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2, "b")})
    monkeypatch.setattr(two, "table", lambda table: stale)
    with pytest.raises(ContractError) as error:
        two.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 3, "c")})
    assert str(error.value) == (
        "user_item_days: somebody else has written these days at the same time; nothing of this "
        "commit is visible: run again"
    )
    assert rows_per_day(one) == {"b-2025-01-01": 2}


def test_a_home_has_one_writer_and_a_dead_one_is_no_obstacle(tmp_path: Path, monkeypatch) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    with writing(engine, "first", "the night of 2025-01-01"):
        with pytest.raises(ContractError, match="run first"), writing(engine, "x", "ourselves"):
            pass
        monkeypatch.setattr(lease.os, "getpid", lambda: 1)
        with (
            pytest.raises(ContractError) as error,
            writing(engine, "second", "the backfill of January"),
        ):
            pass
        assert str(error.value).startswith("the night of 2025-01-01 (run first, process ")
        monkeypatch.setattr(lease, "_is_ours", lambda pid: False)
        with writing(engine, "third", "the next night"):
            pass
    with writing(engine, "fourth", "and the next"):
        pass


_WRITES = """
import sys
from datetime import date, timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from contracts.tables import USER_ITEM_DAYS
from flows.lake import Lake
from jobs.io import WrittenDay
lake, n = Lake(Path(sys.argv[1])), 0
while True:
    n += 1
    for k in range(4):
        day = date(2025, 1, 1) + timedelta(days=k)
        path = f"{sys.argv[2]}/{k}-{n % 5}.parquet"
        lake.commit(USER_ITEM_DAYS, {day: WrittenDay(day, 3, "", (path,))})
"""


def test_killed_in_the_middle_of_commits_each_day_is_whole(tmp_path: Path) -> None:
    """A process commits day after day, each time other rows; it is killed at random instants."""
    for k in range(4):
        day = date(2025, 1, 1) + timedelta(days=k)
        for n in range(5):
            row = {"user_key": f"{n}", "kind": "item", "day": day, "landed_on": day}
            rows = [row | {"thing_id": f"i{i}"} for i in range(3)]
            path = tmp_path / f"{k}-{n}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), path)
    dice = random.Random(3)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(tmp_path / "lake"), str(tmp_path),
             str(REPOSITORY)], cwd=REPOSITORY,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (tmp_path / "lake/catalogue.db").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(dice.uniform(2, 5))
        assert process.poll() is None
        process.kill()
        process.wait()
        lake = Lake(tmp_path / "lake")
        for k in range(4):
            day = date(2025, 1, 1) + timedelta(days=k)
            files = lake.files(USER_ITEM_DAYS, day, day + timedelta(days=1))
            assert len(files) <= 1
            for file in files:
                found = pq.read_table(file.path)
                assert found.num_rows == 3
                assert len(set(found["user_key"].to_pylist())) == 1
    lake = Lake(tmp_path / "lake")
    lake.commit(USER_ITEM_DAYS, {D1: WrittenDay(D1, 3, "", (str(tmp_path / "0-1.parquet"),))})
    assert len(lake.files(USER_ITEM_DAYS, D1, D1 + timedelta(days=1))) == 1
