"""Releases: branches, repairs and rollback."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from contracts.errors import ContractError
from contracts.tables import NO_MODEL, USER_FEATURES, USER_SCORES
from flows.lake.home_binding import open_home
from flows.lake.lake import Lake
from flows.lake.maintenance import expire
from flows.release import releases as releases_module
from flows.release.duckdb_views import query
from flows.release.releases import Releases, Repairs, as_of_stages, branch_of, now, repair
from flows.settings import NightjarSettings, read_settings
from flows.state import writer_lock
from flows.state.receipts import WITHDRAWN, Fingerprint, Receipt, Receipts
from flows.state.schema import open_database
from flows.steps import publish
from jobs.stage import Job, Output
from jobs.stages import JOBS
from tests.flows.lakes import FakeRegistry, release_of

rollback_module = import_module("flows.rollback")
D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_release_becomes_current_by_its_row_and_all_else_is_repaired(
    lake: Lake, tmp_path: Path
) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    assert repair(releases, lake, registry, database) == Repairs()
    with pytest.raises(ContractError, match="nothing has been released yet"):
        query(database, "SELECT 1")

    one = release_of(lake, tmp_path, D1, "one")
    assert lake.files(USER_SCORES) == ()  # on its branch, nobody sees it
    releases.publish(one)
    # a crash here leaves the row alone: the next start derives the rest from it
    assert len(repair(releases, lake, registry, database).done) == 3
    assert repair(releases, lake, registry, database) == Repairs()
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]

    two = release_of(lake, tmp_path, D2, "two")
    assert lake.descends(
        USER_SCORES, two.snapshots[USER_SCORES.name], one.snapshots[USER_SCORES.name]
    )
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    releases.publish(two)
    repair(releases, lake, registry, database)
    assert query(
        database, "SELECT count(*), count(*) FILTER (as_of = DATE '2025-01-02') FROM user_scores"
    )[1] == [(4, 2)]
    assert query(database, "SELECT count(*) FROM newest_scores")[1] == [(2,)]
    assert registry.champion == "model-two"
    assert releases.champion(D2) == one.model_id
    assert [r.release_id for r in releases.all()] == ["one", "two"]


def test_a_release_without_a_model_moves_no_champion(lake: Lake, tmp_path: Path) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    releases.publish(replace(release_of(lake, tmp_path, D1, "one"), model_id=NO_MODEL))
    repair(releases, lake, registry, database)
    assert registry.champion == ""
    assert releases.champion(D2) is None
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    releases.publish(release_of(lake, tmp_path, D2, "two"))
    releases.publish(replace(release_of(lake, tmp_path, D3, "three"), model_id=NO_MODEL))
    repair(releases, lake, registry, database)
    assert releases.champion(D3 + timedelta(days=1)) == "model-two"  # the newest that there is


class CrashError(BaseException):
    """A crash at one point of publishing, which nobody catches."""


@pytest.mark.parametrize("point", ["point_main", "point_champion", "drop_branch", "tag", "build"])
def test_a_crash_at_any_point_behind_the_row_is_repaired(
    lake: Lake, tmp_path: Path, monkeypatch, point: str
) -> None:
    from flows.release import releases as module

    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    releases.publish(release_of(lake, tmp_path, D1, "one"))
    repair(releases, lake, registry, database)
    two = release_of(lake, tmp_path, D2, "two")
    releases.publish(two)

    def crash(*_: object, **__: object) -> None:
        raise CrashError

    of: object = {"point_champion": registry, "build": module}.get(point, lake)
    with monkeypatch.context() as patch:
        patch.setattr(of, {"build": "build_database"}.get(point, point), crash)
        with pytest.raises(CrashError):
            repair(releases, lake, registry, database)
    # Until it is repaired analysts see the release before, whole.
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    assert repair(releases, lake, registry, database).done
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(4,)]
    assert registry.champion == "model-two"
    assert lake.snapshot(USER_SCORES) == two.snapshots[USER_SCORES.name]
    assert lake.snapshot(USER_SCORES, "released-two") == two.snapshots[USER_SCORES.name]
    assert lake.snapshot(USER_SCORES, branch_of("two")) is None
    assert repair(releases, lake, registry, database) == Repairs()


def test_a_rollback_goes_to_the_release_before_and_no_further(lake: Lake, tmp_path: Path) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    with pytest.raises(ContractError, match="nothing was published yet"):
        releases.rollback(lake)
    releases.publish(release_of(lake, tmp_path, D1, "one"))
    repair(releases, lake, registry, database)
    with pytest.raises(ContractError, match="one is the first that still stands"):
        releases.rollback(lake)
    releases.publish(replace(release_of(lake, tmp_path, D2, "two"), replaces="one", days=(D2,)))
    repair(releases, lake, registry, database)
    assert [r.release_id for r in releases.rollback(lake)] == ["two", "one"]
    repair(releases, lake, registry, database)
    assert query(database, "SELECT count(*) FROM user_scores")[1] == [(2,)]
    assert registry.champion == "model-one"
    assert releases.champion(D3) == "model-one"
    with pytest.raises(ContractError, match="one is the first that still stands"):
        releases.rollback(lake)


def test_a_rollback_withdraws_every_stage_of_as_of_days_also_of_tables_that_are_new(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_of_stages(JOBS) == (
        "user_state", "item_features", "user_features", "labels", "examples", "rec_items",
        "rec_histories", "rec_popular", "rec_candidates", "train", "rec_retrieved", "score", "rank",
        "recommendations",
    )  # fmt: skip
    loyalty = replace(USER_FEATURES, name="loyalty")
    job = Job(
        "loyalty", "How loyal.", (), (loyalty,), compute=lambda inputs, days, settings: Output({})
    )
    monkeypatch.setattr(releases_module, "JOBS", (*JOBS, job))
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    releases, receipts = Releases(engine), Receipts(engine)
    receipts.write(
        Receipt(stage, day, Fingerprint("c", "f", "i"), {}, 1, 1, 0.1, 1, None, "run", now())
        for stage in ("loyalty", "user_features", "late_data", "scoreboard")
        for day in (D1, D2)
    )
    releases.publish(replace(release_of(lake, tmp_path, D1, "one"), days=(D1,)))
    releases.publish(replace(release_of(lake, tmp_path, D2, "two"), replaces="one", days=(D2,)))
    releases.rollback(lake)
    withdrawn = [
        (receipt.stage, receipt.day)
        for receipt in Receipts(engine).all()
        if receipt.fingerprint.inputs == WITHDRAWN
    ]
    assert sorted(withdrawn) == [("loyalty", D2), ("user_features", D2)]


def test_each_release_that_becomes_current_is_announced_once_it_is_shown(
    lake: Lake, tmp_path: Path, monkeypatch
) -> None:
    announced: list[str] = []
    monkeypatch.setattr(publish, "Registry", lambda settings: FakeRegistry())
    said: list[str] = []
    monkeypatch.setattr(publish, "say", said.append)
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    settings = NightjarSettings(home=tmp_path)
    releases.publish(release_of(lake, tmp_path, D1, "one"))
    away = httpx.ConnectError("gone")
    monkeypatch.setattr(publish, "announce", lambda release_id, as_of: away)
    publish.repair_and_announce(releases, lake, settings, "publish")
    assert said[-1] == (
        "warning: release one is not announced: Prefect's server does not answer. The next run "
        "announces it"
    )
    monkeypatch.setattr(publish, "announce", lambda release_id, as_of: announced.append(release_id))
    publish.repair_and_announce(releases, lake, settings, "publish")
    publish.repair_and_announce(releases, lake, settings, "repaired")
    assert announced == ["one"]
    releases.publish(replace(release_of(lake, tmp_path, D2, "two"), replaces="one", days=(D2,)))
    with monkeypatch.context() as patch:

        def gone(*_: object) -> bool:
            raise ContractError("main cannot be pointed to it")

        patch.setattr(lake, "point_main", gone)
        with pytest.raises(ContractError, match="main cannot be pointed to it"):
            publish.repair_and_announce(releases, lake, settings, "publish")
    assert announced == ["one"]  # nobody sees two yet
    publish.repair_and_announce(releases, lake, settings, "repaired")
    publish.repair_and_announce(releases, lake, settings, "repaired")
    assert announced == ["one", "two"]
    releases.rollback(lake)
    publish.repair_and_announce(releases, lake, settings, "rollback")
    publish.repair_and_announce(releases, lake, settings, "repaired")
    assert announced == ["one", "two", "one"]


def test_a_double_click_on_rollback_takes_one_release_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of the same moment, which have one place in line, wait while something writes."""
    monkeypatch.setenv("NIGHTJAR_HOME", str(tmp_path / "home"))
    settings = read_settings()
    engine, lake = open_home(settings), Lake(settings.home_folder.lake)
    releases, registry = Releases(engine), FakeRegistry()
    before = None
    for day, name in ((D1, "one"), (D2, "two"), (D3, "three")):
        releases.publish(replace(release_of(lake, tmp_path, day, name), replaces=before))
        repair(releases, lake, registry, tmp_path / "n.duckdb")  # type: ignore[arg-type]
        before = name
    asked_at = now()
    waiting = threading.Semaphore(0)
    patches = {
        "flow_run": SimpleNamespace(scheduled_start_time=asked_at),
        "now": lambda: asked_at,
        "patience": lambda: timedelta(minutes=5),
        "say": lambda line: waiting.release(),
        "repair_and_announce": lambda *arguments: None,
        "create_markdown_artifact": lambda *arguments, **named: None,
        "get_run_logger": lambda: logging.getLogger("rollback"),
    }
    for name, value in patches.items():
        monkeypatch.setattr(rollback_module, name, value)
    monkeypatch.setattr(writer_lock, "POLL_SECONDS", 0.05)
    with ThreadPoolExecutor(2) as pool:
        with writer_lock.writing(engine, "a-night", "the night"):
            clicks = [pool.submit(rollback_module.rollback.fn) for _ in range(2)]
            assert waiting.acquire(timeout=60)
            assert waiting.acquire(timeout=60)
        ended = [click.exception(timeout=60) for click in clicks]
    assert sorted(str(error) for error in ended) == [
        "None",
        "release: three is to be withdrawn, but two is current; nothing was changed",
    ]
    current = releases.current()
    assert current is not None
    assert current.release_id == "two"
    assert [r.release_id for r in releases.all() if r.withdrawn_at] == ["three"]


def test_a_release_whose_snapshots_are_gone_does_not_come_back(lake: Lake, tmp_path: Path) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    registry, database = FakeRegistry(), tmp_path / "n.duckdb"
    one = release_of(lake, tmp_path, D1, "one")
    releases.publish(one)
    repair(releases, lake, registry, database)
    releases.publish(replace(release_of(lake, tmp_path, D2, "two"), replaces="one", days=(D2,)))
    repair(releases, lake, registry, database)
    lake.untag(USER_SCORES, "released-one")
    expire(lake, USER_SCORES, [one.snapshots[USER_SCORES.name]])
    with pytest.raises(ContractError, match="one cannot come back: housekeeping has dropped its"):
        releases.rollback(lake)
    current = releases.current()
    assert current is not None
    assert (current.release_id, current.withdrawn_at) == ("two", None)
    releases.publish(one)  # as a database that was put back without its catalogue has it
    with pytest.raises(ContractError, match=r"^user_scores: `main` is to be snapshot"):
        repair(releases, lake, registry, database)


class RegistryThatIsAway(FakeRegistry):
    def point_champion(self, model_id: str) -> bool:
        raise ContractError("the database is away")


def test_what_only_shows_a_release_stops_nobody(lake: Lake, tmp_path: Path, monkeypatch) -> None:
    """MLflow is away, and the file of views cannot be written: the release stands all the same."""
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    releases.publish(release_of(lake, tmp_path, D1, "one"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("flows.release.releases.build_database", full)
        repairs = repair(releases, lake, RegistryThatIsAway(), tmp_path / "n.duckdb")
    assert repairs.done == ["user_scores points to release one"]
    assert repairs.problems == [
        "MLflow does not show model model-one as champion: the database is away. "
        "Nothing else depends on it; the next run tries again",
        "n.duckdb does not show release one yet, and analysts read what it showed before: "
        "No space left on device. The next run tries again",
    ]
    registry = FakeRegistry()
    assert repair(releases, lake, registry, tmp_path / "n.duckdb").problems == []
    assert registry.champion == "model-one"


def test_releases_are_asked_for_one_by_one(lake: Lake, tmp_path: Path) -> None:
    releases = Releases(open_database(f"sqlite:///{tmp_path}/n.db"))
    one, two = (release_of(lake, tmp_path, d, name) for d, name in ((D1, "one"), (D2, "two")))
    releases.publish(one)
    releases.publish(two)
    assert [r.release_id for r in releases.newest(1)] == ["two"]
    assert [r.release_id for r in releases.newest(9)] == ["two", "one"]
    assert releases.of("one") == releases.before(D2)
    assert releases.of("one") == one
    assert releases.of(None) is releases.of("three") is releases.before(D1) is None
