"""Writers that meet, and writers that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection, Delete, event

from contracts.errors import BusyError
from contracts.tile_tables import USER_ITEM_DAYS
from flows.lake.lake import Lake
from flows.state import writer_lock
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from flows.state.writer_lock import Lease, LeaseLost, writing
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.conftest import REPOSITORY
from tests.flows.lakes import day_file, rows_per_day
from tests.flows.state.writers import (
    T0,
    asleep_while_another_takes_over,
    at,
    check_that_the_sleeper_adds_nothing,
    receipt,
)

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


def test_two_writers_of_one_day_one_wins_and_the_other_is_told(tmp_path: Path, monkeypatch) -> None:
    """Both looked at the same table before either committed: the second commit is refused."""
    one, two = Lake(tmp_path / "lake"), Lake(tmp_path / "lake")
    one.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 1, "a")})
    stale = two.table(USER_ITEM_DAYS)
    one.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2, "b")})
    monkeypatch.setattr(two, "table", lambda table: stale)
    with pytest.raises(BusyError) as error:
        two.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 3, "c")})
    assert str(error.value) == (
        "user_item_days: somebody else has written these days at the same time; nothing of this "
        "commit is visible: run again"
    )
    assert rows_per_day(one) == {"b-2025-01-01": 2}


def test_a_home_has_one_writer_and_a_dead_one_is_no_obstacle(tmp_path: Path, monkeypatch) -> None:
    engine, other = (open_database(f"sqlite:///{tmp_path}/n.db") for _ in range(2))
    with writing(engine, "first", "the night of 2025-01-01"):
        with pytest.raises(BusyError, match="run first"), writing(other, "x", "ourselves"):
            pass
        monkeypatch.setattr(writer_lock.os, "getpid", lambda: 1)
        with (
            pytest.raises(BusyError) as error,
            writing(other, "second", "the backfill of January"),
        ):
            pass
        assert str(error.value).startswith("the night of 2025-01-01 (run first, process ")
        monkeypatch.setattr(writer_lock, "_is_ours", lambda pid: False)
        with writing(other, "third", "the next night"):
            pass
    with writing(other, "fourth", "and the next"):
        pass


def test_of_two_runs_of_one_name_in_one_process_the_second_waits(
    tmp_path: Path, monkeypatch
) -> None:
    """The second looks when the first has just begun, and when it is about to end."""
    engine, other = (open_database(f"sqlite:///{tmp_path}/n.db") for _ in range(2))

    def second_is_told() -> None:
        with pytest.raises(BusyError) as error, writing(other, "click", "the second click"):
            pass
        assert str(error.value).startswith("the first click (run click, process ")

    def begun(*fields: object) -> Lease:
        if fields[2] == "the first click":
            second_is_told()
        return Lease(*fields)  # type: ignore[arg-type]

    monkeypatch.setattr(writer_lock, "Lease", begun)
    with writing(engine, "click", "the first click") as lease:
        event.listen(
            engine,
            "before_execute",
            lambda *of: second_is_told() if isinstance(of[1], Delete) else None,
        )
    assert not lease.took_over
    with writing(other, "click", "the second click") as lease:
        assert not lease.took_over


def test_a_writer_that_was_taken_over_from_adds_no_receipt_and_no_release(
    tmp_path: Path, monkeypatch
) -> None:
    check_that_the_sleeper_adds_nothing(f"sqlite:///{tmp_path}/n.db", tmp_path, monkeypatch)


def test_a_writer_that_was_taken_over_from_stops_at_its_next_heartbeat(
    tmp_path: Path, monkeypatch
) -> None:
    lost: list[str] = []
    monkeypatch.setattr(writer_lock, "BEAT_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/n.db"
    one, two = open_database(url), open_database(url)
    asleep = threading.Event()

    def clock(connection: Connection) -> datetime:
        if asleep.is_set():
            time.sleep(0.5)  # the others' clock goes on
        return T0

    with writing(one, "sleeper", "the night", clock=clock, stop=lambda e: lost.append(str(e))):
        asleep.set()
        monkeypatch.setattr(writer_lock, "_here", lambda: "elsewhere/1")
        with writing(two, "heir", "a backfill", clock=at(T0 + timedelta(hours=1))):
            deadline = time.monotonic() + 10
            while not lost and time.monotonic() < deadline:
                time.sleep(0.02)
    assert len(lost) == 1
    assert lost[0].startswith("the night (run sleeper) stops: a backfill (run heir, ")


def test_a_writer_that_lost_its_lease_ends_with_one_sentence_and_exit_code_1(
    tmp_path: Path,
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _LOSES, f"sqlite:///{tmp_path}/n.db"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr == (
        "the night (run sleeper) stops: another run, which has ended since, took over the right to "
        "write to this home after 120 s without a sign of life, as of a machine that sleeps or is "
        "cut off. What was finished before is kept; run it again\n"
    )


_LOSES = """
import sys, time
from sqlalchemy import delete
from flows.state import writer_lock
from flows.state.schema import WRITER, open_database
writer_lock.BEAT_SECONDS = 0.05
url = sys.argv[1]
with writer_lock.writing(open_database(url), "sleeper", "the night"):
    with open_database(url).begin() as connection:
        connection.execute(delete(WRITER))
    time.sleep(30)
    print("still there")
"""


def test_a_writer_that_is_asked_to_stop_commits_no_more_and_is_taken_over_from_at_once(
    tmp_path: Path, monkeypatch
) -> None:
    """Its main thread goes on until the process ends."""
    acts: list[Callable[[], object]] = []

    @contextmanager
    def asked(act: Callable[[], object]) -> Iterator[None]:
        acts.append(act)
        yield

    monkeypatch.setattr(writer_lock, "cleaned_up_when_stopped", asked)
    mine, theirs = Lake(tmp_path / "lake"), Lake(tmp_path / "lake")
    mine.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 1, "before")})
    url = f"sqlite:///{tmp_path}/n.db"
    one, two = open_database(url), open_database(url)
    with writing(one, "stopped", "the night") as stopped:
        mine.hold(stopped)
        stale = mine.writable(USER_ITEM_DAYS)  # it has looked, and is about to commit
        acts.pop()()
        with pytest.raises(LeaseLost):
            Receipts(one).write([receipt("stopped")])
        with pytest.raises(LeaseLost):
            mine.commit(USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 2, "late")})
        monkeypatch.setattr(writer_lock, "_is_ours", lambda pid: True)  # it has not ended yet
        with writing(two, "next", "the next night") as heir:
            assert heir.took_over
            theirs.hold(heir)
            monkeypatch.setattr(mine, "writable", lambda table: stale)
            mine.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2, "late")})  # does not count
            theirs.commit(USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 4, "heir")})
    assert rows_per_day(theirs) == {"before-2025-01-01": 1, "heir-2025-01-02": 4}
    with writing(two, "last", "and the next") as last:
        assert not last.took_over


def test_a_writer_that_only_slept_goes_on(tmp_path: Path) -> None:
    """A machine that wakes up, and nobody had taken over."""
    engine, now = open_database(f"sqlite:///{tmp_path}/n.db"), [T0]
    with writing(engine, "sleeper", "the night", clock=lambda connection: now[0]) as held:
        now[0] = T0 + timedelta(hours=9)
        Receipts(engine).write([receipt("sleeper")])
        held.check()
    assert len(list(Receipts(engine).all())) == 1


def test_commits_of_a_writer_that_was_taken_over_from_fail_or_do_not_count(
    tmp_path: Path, monkeypatch
) -> None:
    """It has looked whether it may write, sleeps, and wakes up before its commit."""
    mine, theirs = Lake(tmp_path / "lake"), Lake(tmp_path / "lake")
    mine.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 1, "before")})
    url = f"sqlite:///{tmp_path}/n.db"
    with asleep_while_another_takes_over(url, monkeypatch) as (_, sleeper, _, heir):
        mine.hold(sleeper)
        stale = mine.table(USER_ITEM_DAYS)
        theirs.hold(heir)
        with pytest.raises(LeaseLost):
            mine.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2, "late")})
        awake = replace(sleeper)
        monkeypatch.setattr(Lease, "check", lambda lease: None)
        mine.hold(awake)
        with pytest.raises(LeaseLost, match="user_item_days was written by a later run, "):
            mine.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2, "late")})
        with monkeypatch.context() as patch:  # it had looked before, and pyiceberg tries again
            patch.setattr(mine, "writable", lambda table: stale)
            mine.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2, "late")})
        assert rows_per_day(theirs) == {"before-2025-01-01": 1}
        theirs.commit(USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 4, "heir")})
        with monkeypatch.context() as patch:
            patch.setattr(mine, "writable", mine.table)
            mine.commit(USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 2, "late")})
        expected = {"before-2025-01-01": 1, "heir-2025-01-02": 4}
        assert rows_per_day(theirs) == expected
        assert rows_per_day(Lake(tmp_path / "lake")) == expected
        theirs.commit(USER_ITEM_DAYS, {D3: day_file(tmp_path, D3, 5, "heir")})
        assert rows_per_day(theirs) == expected | {"heir-2025-01-03": 5}


_WRITES = """
import sys
from datetime import date, timedelta
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from contracts.tables import USER_ITEM_DAYS
from flows.lake.lake import Lake
from jobs.spark.files import WrittenDay
lake, n = Lake(Path(sys.argv[1])), 0
while True:
    n += 1
    for k in range(4):
        day = date(2025, 1, 1) + timedelta(days=k)
        path = f"{sys.argv[2]}/{k}-{n % 5}.parquet"
        lake.commit(USER_ITEM_DAYS, {day: WrittenDay(day, 3, "", (path,))})
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_commits_each_day_is_whole(tmp_path: Path) -> None:
    """A process commits day after day, each time other rows; it is killed at random instants."""
    for k in range(4):
        day = date(2025, 1, 1) + timedelta(days=k)
        for n in range(5):
            row = {"user_key": f"{n}", "kind": "item", "day": day, "landed_on": day}
            rows = [row | {"thing_id": f"i{i}"} for i in range(3)]
            path = tmp_path / f"{k}-{n}.parquet"
            pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), path)
    rng = random.Random(3)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(tmp_path / "lake"), str(tmp_path),
             str(REPOSITORY)], cwd=REPOSITORY,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (tmp_path / "lake/catalogue.db").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(rng.uniform(2, 5))
        assert process.poll() is None
        process.kill()
        process.wait()
        lake = Lake(tmp_path / "lake")
        for k in range(4):
            day = date(2025, 1, 1) + timedelta(days=k)
            files = lake.files(USER_ITEM_DAYS, day, day + timedelta(days=1))
            assert len(files) <= 1
            for file in files:
                written = pq.read_table(file.path)
                assert written.num_rows == 3
                assert len(set(written["user_key"].to_pylist())) == 1
    lake = Lake(tmp_path / "lake")
    lake.commit(USER_ITEM_DAYS, {D1: WrittenDay(D1, 3, "", (str(tmp_path / "0-1.parquet"),))})
    assert len(lake.files(USER_ITEM_DAYS, D1, D1 + timedelta(days=1))) == 1
