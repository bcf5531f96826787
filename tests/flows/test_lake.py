"""Real pyiceberg over SQLite: whole days or nothing, branches, releases that heal."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.table import CallError, ContractError
from contracts.tables import PUBLISHED, QUARANTINE, RECONCILIATION, USER_ITEM_DAYS, USER_SCORES
from contracts.tasks import TASKS
from flows import lease
from flows.analysts import query
from flows.audit import audit_drift, audit_scores, raise_if_failed
from flows.database import open_database
from flows.lake import Lake
from flows.lease import writing
from flows.releases import Release, Releases, branch_of, heal, now
from jobs.io import WrittenDay
from jobs.schema import arrow_schema
from tests.conftest import REPOSITORY

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def day_file(folder: Path, day: date, n: int, name: str = "f") -> WrittenDay:
    path = folder / f"{name}-{day}.parquet"
    row = {"kind": "item", "thing_id": "i", "day": day, "landed_on": day}
    rows = [row | {"user_key": f"u{i}"} for i in range(n)]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), path)
    return WrittenDay(day, n, "x", (str(path),))


def rows_per_day(lake: Lake) -> dict[str, int]:
    return {Path(f.path).stem: f.rows for f in lake.files(USER_ITEM_DAYS)}


def test_a_commit_replaces_whole_days_and_leaves_the_others(lake: Lake, tmp_path: Path) -> None:
    lake.commit(USER_ITEM_DAYS, {d: day_file(tmp_path, d, 2) for d in (D1, D2, D3)})
    first = lake.snapshot(USER_ITEM_DAYS)
    lake.commit(
        USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 5, "again"), D3: WrittenDay(D3, 0, "", ())}
    )
    assert rows_per_day(lake) == {"f-2025-01-01": 2, "again-2025-01-02": 5}
    assert [f.rows for f in lake.files(USER_ITEM_DAYS, D2, D3)] == [5]
    assert len(lake.files(USER_ITEM_DAYS, snapshot=first)) == 3  # the old snapshot is whole


def test_a_file_is_looked_into_before_it_is_committed(lake: Lake, tmp_path: Path) -> None:
    wrong_day = replace(day_file(tmp_path, D1, 2), day=D2)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"user_key": ["a"]}), other)
    with pytest.raises(ContractError) as error:
        lake.commit(
            USER_ITEM_DAYS,
            {
                D2: wrong_day,
                D1: WrittenDay(D1, 1, "", (str(other),)),
                D3: replace(day_file(tmp_path, D3, 2), rows=3),
            },
        )
    assert str(error.value) == "\n".join(
        [
            "user_item_days breaks its contract:",
            f"  {wrong_day.files[0]}: expected landed_on of only 2025-01-02, found 2025-01-01 to 2025-01-01",
            f"  {other}: its columns are not the contract's",
            "  6 rows counted, 5 in the files",
        ]
    )
    assert lake.files(USER_ITEM_DAYS) == ()


def test_history_shares_month_files_and_a_day_of_it_can_be_replaced(
    lake: Lake, tmp_path: Path
) -> None:
    days = [D1 + timedelta(days=n) for n in range(40)]
    for month in (1, 2):
        mine = [d for d in days if d.month == month]
        rows = [
            {"user_key": "u", "kind": "item", "thing_id": "i", "day": d, "landed_on": d}
            for d in mine
        ]
        path = tmp_path / f"month-{month}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), path)
    history = {
        d: WrittenDay(d, 1, "x", (str(tmp_path / f"month-{d.month}.parquet"),)) for d in days
    }
    lake.commit(USER_ITEM_DAYS, history)
    assert rows_per_day(lake) == {"month-1": 31, "month-2": 9}
    assert [f.rows for f in lake.files(USER_ITEM_DAYS, D1, D2)] == [31]

    lake.commit(USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 5)})  # a night's file, within history
    left = lake.files(USER_ITEM_DAYS, D1, D1 + timedelta(days=31))
    found = pa.concat_tables([pq.read_table(f.path) for f in left]).column("landed_on").to_pylist()
    assert len(found) == 30 + 5
    assert found.count(D2) == 5
    assert rows_per_day(lake)["month-2"] == 9  # untouched

    lake.commit(USER_ITEM_DAYS, history)  # all of it again
    assert sorted(f.rows for f in lake.files(USER_ITEM_DAYS)) == [9, 31]

    missing = {d: made for d, made in history.items() if d != D1}
    with pytest.raises(
        ContractError, match="expected landed_on of 2025-01-02 to 2025-01-31, found"
    ):
        lake.commit(USER_ITEM_DAYS, missing)


def test_what_is_replaced_within_a_day_can_be_narrowed(lake: Lake, tmp_path: Path) -> None:
    def quarantined(table: str, n: int) -> dict[date, WrittenDay]:
        path = tmp_path / f"{table}{n}.parquet"
        rows = [
            {
                "landed_on": D1,
                "table_name": table,
                "source": "s",
                "reason": "r",
                "file": "f",
                "line": i + 1,
                "row_hash": "h",
            }
            for i in range(n)
        ]
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(QUARANTINE)), path)
        return {D1: WrittenDay(D1, n, "", (str(path),))}

    for table, n in (("orders", 2), ("posts", 3), ("orders", 4)):
        lake.commit(QUARANTINE, quarantined(table, n), {"table_name": table})
    assert sorted(f.rows for f in lake.files(QUARANTINE)) == [3, 4]


def test_small_tables_are_replaced_by_rows(lake: Lake) -> None:
    row = {
        "landed_on": D1,
        "table_name": "orders",
        "source": "s",
        "n_in": 1,
        "n_clean": 1,
        "n_duplicate": 0,
        "n_quarantined": 0,
    }
    for n in (1, 2):
        lake.replace_rows(
            RECONCILIATION,
            [row | {"n_in": n}, row | {"landed_on": D2}],
            [D1, D2],
            {"table_name": "orders"},
        )
        lake.replace_rows(
            RECONCILIATION, [row | {"table_name": "posts"}], [D1], {"table_name": "posts"}
        )
    assert sum(f.rows for f in lake.files(RECONCILIATION)) == 3


# Releases


def scores_file(folder: Path, as_of: date, users: list[str], release: str, **changed) -> WrittenDay:
    row = {c.name: 0.25 for c in USER_SCORES.columns if c.type in ("float", "double")}
    row |= {c.name: 1.0 for c in USER_SCORES.columns if c.name == "score_next_rating_90d_expected"}
    row |= {c.name: [0.25, 0.5] for c in USER_SCORES.columns if c.type == "array<float>"}
    row |= {c.name: ["a", "b"] for c in USER_SCORES.columns if c.type == "array<string>"}
    row |= {c.name: "b" for c in USER_SCORES.columns if c.name.endswith("_top")}
    rows = [
        row
        | {
            "user_key": u,
            "as_of": as_of,
            "model_id": "m",
            "release_id": release,
            "retrospective": False,
        }
        | changed
        for u in users
    ]
    path = folder / f"scores-{release}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_SCORES)), path)
    return WrittenDay(as_of, len(rows), "", (str(path),))


class FakeRegistry:
    """The outside world: which model is champion."""

    champion = ""

    def point_champion(self, model_id: str) -> bool:
        moved, self.champion = self.champion != model_id, model_id
        return moved


def release_of(lake: Lake, tmp_path: Path, as_of: date, release_id: str) -> Release:
    lake.branch(USER_SCORES, branch_of(release_id))
    snapshot = lake.commit(
        USER_SCORES,
        {as_of: scores_file(tmp_path, as_of, ["a", "b"], release_id)},
        branch=branch_of(release_id),
    )
    return Release(
        release_id, as_of, f"model-{release_id}", "f", {USER_SCORES.name: snapshot}, "run", now()
    )


def test_a_release_becomes_current_by_its_row_and_all_else_heals(
    lake: Lake, tmp_path: Path
) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    assert heal(releases, lake, registry, database) == []
    with pytest.raises(CallError, match="nothing has been released yet"):
        query(database, "SELECT 1")

    one = release_of(lake, tmp_path, D1, "one")
    assert lake.files(USER_SCORES) == ()  # on its branch, nobody sees it
    releases.publish(one)
    # a crash here leaves the row alone: the next start derives the rest from it
    assert len(heal(releases, lake, registry, database)) == 3
    assert heal(releases, lake, registry, database) == []
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]

    two = release_of(lake, tmp_path, D2, "two")
    assert lake.descends(
        USER_SCORES, two.snapshots[USER_SCORES.name], one.snapshots[USER_SCORES.name]
    )
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    releases.publish(two)
    heal(releases, lake, registry, database)
    assert query(
        database, "SELECT count(*), count(*) FILTER (as_of = DATE '2025-01-02') FROM user_scores"
    )[1] == [(4, 2)]
    assert query(database, "SELECT count(*) FROM newest_scores")[1] == [(2,)]
    assert registry.champion == "model-two"
    assert releases.before(D2) == one
    assert [r.release_id for r in releases.all()] == ["one", "two"]


class CrashError(Exception):
    """A crash at one point of publishing."""


@pytest.mark.parametrize("point", ["point_main", "point_champion", "drop_branch", "tag", "build"])
def test_a_crash_at_any_point_behind_the_row_heals(
    lake: Lake, tmp_path: Path, monkeypatch, point: str
) -> None:
    from flows import releases as module

    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    releases.publish(release_of(lake, tmp_path, D1, "one"))
    heal(releases, lake, registry, database)
    two = release_of(lake, tmp_path, D2, "two")
    releases.publish(two)

    def crash(*_: object, **__: object) -> None:
        raise CrashError

    of: object = {"point_champion": registry, "build": module}.get(point, lake)
    with monkeypatch.context() as patch:
        patch.setattr(of, {"build": "build_database"}.get(point, point), crash)
        with pytest.raises(CrashError):
            heal(releases, lake, registry, database)
    # Until it is healed analysts see the release before, whole.
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    assert heal(releases, lake, registry, database)
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(4,)]
    assert registry.champion == "model-two"
    assert lake.snapshot(USER_SCORES) == two.snapshots[USER_SCORES.name]
    assert lake.snapshot(USER_SCORES, "released-two") == two.snapshots[USER_SCORES.name]
    assert lake.snapshot(USER_SCORES, branch_of("two")) is None
    assert heal(releases, lake, registry, database) == []


def test_a_rollback_goes_to_the_release_before_and_no_further(lake: Lake, tmp_path: Path) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    with pytest.raises(ContractError, match="nothing was published yet"):
        releases.rollback()
    releases.publish(release_of(lake, tmp_path, D1, "one"))
    heal(releases, lake, registry, database)
    with pytest.raises(ContractError, match="one is the first that still stands"):
        releases.rollback()
    releases.publish(replace(release_of(lake, tmp_path, D2, "two"), replaces="one", days=(D2,)))
    heal(releases, lake, registry, database)
    assert [r.release_id for r in releases.rollback()] == ["two", "one"]
    heal(releases, lake, registry, database)
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    assert registry.champion == "model-one"
    assert releases.before(D3) == releases.current()
    with pytest.raises(ContractError, match="one is the first that still stands"):
        releases.rollback()


def test_scores_that_lie_elsewhere_or_lack_users_fail_the_audit(tmp_path: Path) -> None:
    def scores(name: str, n: int, shift: float) -> list[str]:
        path = tmp_path / f"{name}.parquet"
        values = [min(i / n + shift, 1.0) for i in range(n)]
        pq.write_table(pa.table({"score_churn_28d": pa.array(values, pa.float32())}), path)
        return [str(path)]

    def failed(n: int, shift: float, lost: float | None = 0.1, most: float | None = 1.0) -> list:
        made = audit_drift(scores("b", n, shift), scores("a", 500, 0), ["churn_28d"], lost, most)
        return [(a.check, a.found) for a in made if not a.passed]

    assert failed(500, 0.0) == []
    assert failed(451, 0.02) == []
    assert failed(440, 0.0) == [
        ("as many users as before", "440 users, 500 before, at least 450 expected")
    ]
    ((check, found),) = failed(500, 0.6)
    assert check == "churn_28d lies as before"
    assert found.startswith("stability index ")
    assert failed(100, 0.6, None, None) == []


@pytest.fixture
def database(lake: Lake, tmp_path: Path) -> Path:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    releases.publish(release_of(lake, tmp_path, D1, "one"))
    heal(releases, lake, FakeRegistry(), tmp_path / "n.duckdb")
    return tmp_path / "n.duckdb"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (i INT)",
        "DROP VIEW user_scores",
        "COPY (SELECT 1) TO 'x.csv'",
        "SELECT 1; SELECT 2",
        "ATTACH 'x.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "PRAGMA database_list",
        "",
    ],
)
def test_sql_is_one_reading_statement(database: Path, statement: str) -> None:
    with pytest.raises(CallError):
        query(database, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM no_such_table",
        "SELEC 1",
    ],
)
def test_sql_reads_nothing_but_the_release(database: Path, statement: str) -> None:
    with pytest.raises(CallError):
        query(database, statement)


def test_every_published_table_is_a_view_with_its_docs(database: Path) -> None:
    for table in PUBLISHED:
        names, _ = query(database, f"SELECT * FROM {table.name}")
        assert tuple(names) == table.names
    comments = dict(
        query(
            database,
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'user_scores'",
        )[1]
    )
    assert comments["score_churn_28d"] == USER_SCORES["score_churn_28d"].doc


# Audits


def test_an_audit_names_each_failed_check_with_its_numbers(tmp_path: Path) -> None:
    features = tmp_path / "features.parquet"
    pq.write_table(pa.table({"user_key": ["a", "b", "c"]}), features)
    learnt = [task.name for task in TASKS if task.name != "return_90d"] + ["return_90d"]
    good = scores_file(tmp_path, D1, ["a", "b", "c"], "good")
    raise_if_failed(audit_scores(good.files, [str(features)], D1, learnt))

    bad = scores_file(
        tmp_path,
        D1,
        ["a", "a", "x"],
        "bad",
        score_churn_28d=float("nan"),
        score_purchase_7d=0.5,
        percentile_return_90d=None,
        score_interests_30d_probabilities=[0.5, 1.5],
    )
    with pytest.raises(ContractError) as error:
        raise_if_failed(audit_scores(bad.files, [str(features)], D1, learnt[:-1]))
    assert str(error.value) == "\n".join(
        [
            "user_scores fails its audit; the release before stays current:",
            "  one row per user: 3 rows, 2 users",
            "  every known user, no other: 3 known, 2 scored, 1 unknown",
            "  purchase_7d is not above purchase_30d: 3 rows above",
            "  interests_30d is whole and in range: 0 nulls, 3 rows outside",
            "  churn_28d is whole and in range: 0 nulls, 3 rows outside",
            "  return_90d is off: 3 of 6 values null",
        ]
    )


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
from tests.flows.test_lake import Lake, USER_ITEM_DAYS, WrittenDay
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
