"""Housekeeping deletes what our own runs left, and nothing that anybody else put there."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from sqlalchemy import select, update

from contracts.content import KEEP_MODEL_DAYS
from contracts.errors import ContractError, UsageError
from contracts.ranking_config import RankingConfig
from contracts.tables import EXAMPLES, LABELS, RECONCILIATION, USER_SCORES, table_named
from contracts.tile_tables import USER_ITEM_DAYS
from flows.lake import home_binding
from flows.lake.home_binding import adopt, bind_folder, open_home, open_lake
from flows.lake.lake import Lake
from flows.lake.maintenance import expire, left_branches, remove, runs_of, stale_files
from flows.lake.maintenance import reached_files as reached
from flows.release.releases import Releases, branch_of, repair
from flows.retention.housekeeping import (
    Subject,
    check_has,
    old_content_models,
    old_days,
    run_housekeeping,
)
from flows.settings import read_settings
from flows.state.receipts import Fingerprint, Receipt, Receipts, trained_on
from flows.state.schema import PLACES, RUNS, open_database
from flows.state.writer_lock import record_run
from flows.storage.home import Home
from flows.storage.location import plain_path, uri_of
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.flows.lakes import FakeRegistry, day_file, release_of

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))
COUNTS = {"table_name": "orders", "source": "x", "landed_on": D1, "n_in": 1, "n_clean": 1} | {
    f"n_{verdict}": 0 for verdict in ("duplicate", "quarantined", "erased")
}
NOW = datetime.now(UTC) + timedelta(days=2)


def written(lake: Lake, run: str, day: date = D1, rows: int = 2) -> Path:
    """A file of a run, committed."""
    day_of_rows = day_file(Path(lake.staging(run, "user_days")), day, rows, run)
    lake.commit(USER_ITEM_DAYS, {day: day_of_rows})
    return Path(day_of_rows.files[0])


def unreached(lake: Lake) -> list[str]:
    return [plain_path(f.location) for f in stale_files(lake, {"one", "two"}, NOW).files]


def test_only_what_our_runs_left_unreached_goes(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    old, new = written(lake, "one", rows=2), written(lake, "two", rows=3)
    stranger = Path(lake.staging("stranger", "x")) / "theirs.parquet"
    other = tmp_path / "lake" / "other" / "metadata" / "00000.metadata.json"
    for path in (stranger, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(old.read_bytes())
    assert runs_of(lake, reached(lake)) == {"one", "two"}
    assert not [p for p in unreached(lake) if p.endswith(".parquet")]
    tip = lake.snapshot(USER_ITEM_DAYS)
    iceberg_table = lake.table(USER_ITEM_DAYS)
    expire(
        lake,
        USER_ITEM_DAYS,
        [s.snapshot_id for s in iceberg_table.snapshots() if s.snapshot_id != tip],
    )
    assert stale_files(lake, {"one", "two"}, datetime.now(UTC) - timedelta(hours=1)).files == ()
    stale = stale_files(lake, {"one", "two"}, NOW)
    assert [p for p in unreached(lake) if p.endswith(".parquet")] == [str(old)]
    remove(lake, stale)
    assert not old.parent.exists()
    assert new.exists()
    assert stranger.exists()
    assert other.exists()
    assert [f.rows for f in lake.files(USER_ITEM_DAYS)] == [3]


def test_what_pyiceberg_wrote_for_a_commit_goes_as_well(tmp_path: Path) -> None:
    """It writes rows of small tables itself, and what is left of a file that loses some days."""
    lake = Lake(tmp_path / "lake")
    folder = Path(lake.staging("one", "month"))
    row = {"kind": "item", "thing_id": "i", "user_key": "u"}
    rows = [row | {"day": day, "landed_on": day} for day in (D1, D2, D3)]
    pq.write_table(
        pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), folder / "month.parquet"
    )
    month = (str(folder / "month.parquet"),)
    lake.commit(USER_ITEM_DAYS, {d: WrittenDay(d, 1, "x", month) for d in (D1, D2, D3)})
    written(lake, "one", D1)
    (left,) = (Path(f.path) for f in lake.files(USER_ITEM_DAYS, D2, D3))
    written(lake, "one", D2)
    lake.replace_rows(RECONCILIATION, [COUNTS], [D1], {})
    (small,) = (Path(f.path) for f in lake.files(RECONCILIATION))
    lake.replace_rows(RECONCILIATION, [COUNTS | {"n_in": 2}], [D1], {})
    strange = left.with_name("notes.parquet")
    strange.write_bytes(left.read_bytes())
    for table in (USER_ITEM_DAYS, RECONCILIATION):
        tip = lake.snapshot(table)
        others = [s.snapshot_id for s in lake.table(table).snapshots() if s.snapshot_id != tip]
        expire(lake, table, others)
    remove(lake, stale_files(lake, set(), NOW))
    assert not left.exists()
    assert not small.exists()
    assert strange.exists()
    assert sum(f.rows for f in lake.files(USER_ITEM_DAYS)) == 5
    assert all(Path(f.path).exists() for f in lake.files(USER_ITEM_DAYS))
    assert [r["n_in"] for r in lake.table(RECONCILIATION).scan().to_arrow().to_pylist()] == [2]


@pytest.mark.parametrize("way", ["link", "link/../link", "real/lake/../../link"])
def test_a_table_reached_through_another_name_of_its_folder_keeps_its_files(
    tmp_path: Path, way: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    by_link = Lake(tmp_path / "link" / "lake")
    file = written(by_link, "one")
    for name in ("real", way):
        lake = Lake(tmp_path / name / "lake")
        assert stale_files(lake, {"one"}, NOW).files == ()
    assert file.exists()


def test_a_table_that_names_files_elsewhere_stops_housekeeping(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 2)})
    with pytest.raises(ContractError) as error:
        stale_files(lake, {"one"}, NOW)
    assert str(error.value) == (
        f"nothing was removed: tables name 1 file outside of {tmp_path}/lake, such as "
        f"{tmp_path}/f-2025-01-01.parquet, so what nothing reaches cannot be told for certain"
    )


def test_a_table_of_somebody_else_in_the_catalogue_keeps_its_files(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    written(lake, "one")
    catalogue = load_catalog(
        "x", type="sql", uri=f"sqlite:///{tmp_path}/lake/catalogue.db",
        warehouse=uri_of(str(tmp_path / "lake")),
    )  # fmt: skip
    for namespace in ("theirs", "nightjar"):
        catalogue.create_namespace_if_not_exists(namespace)
        rows = pa.table({"a": [1, 2]})
        theirs = catalogue.create_table(f"{namespace}.notes", rows.schema)
        theirs.append(rows)
        theirs.overwrite(rows)
    before = {p for p in tmp_path.rglob("*") if p.is_file() and "notes" in str(p)}
    assert before
    remove(lake, stale_files(lake, {"one"}, NOW))
    assert {p for p in tmp_path.rglob("*") if p.is_file() and "notes" in str(p)} == before


# The home


def test_a_home_that_was_moved_is_adopted_on_purpose_once_its_files_are_found(
    tmp_path: Path,
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    open_home(read_settings(home=before)).dispose()
    file = written(Lake(before / "lake"), "one")
    before.rename(after)
    settings = read_settings(home=after)
    with pytest.raises(UsageError) as error:
        open_home(settings)
    assert str(error.value) == (
        f"this home was made in {before} and is opened in {after}, but its tables name files by "
        f"where they lay. Use it where it was; if it was moved for good, `nightjar adopt --home "
        f"{after}` says what to do"
    )
    with pytest.raises(UsageError) as error:
        adopt(settings)
    assert str(error.value) == (
        f"{after} cannot be taken for the home that was in {before}, for its tables name files by "
        f"where they lay: make {before} a link to {after}, then call this again. A copy of a home "
        "that is still there cannot be one itself"
    )
    before.symlink_to(after)
    assert adopt(settings) == str(before)
    open_home(settings)
    open_home(read_settings(home=before))  # the link leads to the same home
    lake = Lake(settings.home_folder.lake)
    assert stale_files(lake, {"one"}, NOW).files == ()
    assert [f.path for f in lake.files(USER_ITEM_DAYS)] == [str(file)]


def test_a_folder_is_the_home_of_one_database(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    first, second = (open_database(f"sqlite:///{tmp_path}/{n}.db") for n in (1, 2))
    bind_folder(first, Home.of(folder))
    bind_folder(first, Home.of(folder))
    with pytest.raises(UsageError) as error:
        bind_folder(second, Home.of(folder))
    assert str(error.value) == (
        f"{folder} is the home of another database than sqlite:///{tmp_path}/2.db, which would "
        "take all that lies there for nobody's. Use the database it was made with, or another home"
    )
    with second.connect() as connection:
        assert connection.execute(select(PLACES)).first() is None
    bind_folder(second, Home.of(tmp_path / "other"))
    shutil.copy(tmp_path / "other" / "home.json", folder / "home.json")
    with pytest.raises(UsageError, match="is the home of another database"):
        bind_folder(first, Home.of(folder))


def test_a_database_names_its_folder_as_a_uri_and_earlier_ones_by_its_path(tmp_path: Path) -> None:
    engine, home = open_database(f"sqlite:///{tmp_path}/n.db"), Home.of(tmp_path / "home")
    bind_folder(engine, home)
    with engine.begin() as connection:
        assert connection.execute(select(PLACES.c.root)).scalar() == f"file://{tmp_path}/home"
        connection.execute(update(PLACES).values(root=f"{tmp_path}/home"))
    bind_folder(engine, home)


def test_another_catalogue_than_the_homes_is_refused(tmp_path: Path, monkeypatch) -> None:
    """Its tables lead to no file, so all of them would look like nobody's."""
    monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTJAR__URI", f"sqlite:///{tmp_path}/theirs.db")
    settings = read_settings(home=tmp_path / "home")
    engine = open_home(settings)
    lake = open_lake(settings, engine)
    written(lake, "one")
    receipt = Receipt("user_days", D1, Fingerprint("", "", ""), {}, 1, 1, 1.0, 1, None, "one", NOW)
    Receipts(engine).write([receipt])
    assert open_lake(settings, engine).home_id == lake.home_id
    monkeypatch.delenv("PYICEBERG_CATALOG__NIGHTJAR__URI")
    which = (
        "Which one it is says PYICEBERG_CATALOG__NIGHTJAR__URI in the environment, or pyiceberg's "
        "settings"
    )
    folder = settings.home_folder.path / "lake"
    with pytest.raises(UsageError) as error:
        open_lake(settings, engine)
    assert str(error.value) == (
        f"the catalogue of the lake in {folder} has no table, but this home has written some: it "
        f"is not the one that they are listed in. {which}"
    )
    monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTJAR__URI", f"sqlite:///{tmp_path}/theirs.db")
    other = read_settings(home=tmp_path / "other")
    with pytest.raises(UsageError) as error:
        open_lake(other, open_home(other))
    assert str(error.value) == (
        f"the catalogue of the lake in {other.home_folder.path / 'lake'} belongs to another home. {which}"
    )


def test_a_catalogue_that_is_older_than_the_release_stops_housekeeping(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    release = release_of(lake, Path(lake.staging("one", "score")), D1, "r1")
    check_has(lake, release)
    snapshot = release.snapshots[USER_SCORES.name]
    older = Lake(tmp_path / "older")
    with pytest.raises(ContractError) as error:
        check_has(older, release)
    assert str(error.value) == (
        f"nothing was removed: release r1 names snapshot {snapshot} of user_scores, which the "
        "catalogue does not have, as if it were an older copy. Put the newer one back, or make a "
        "release with this one first (nightjar run)"
    )


def test_a_database_that_keeps_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    monkeypatch.setattr(home_binding, "_place", lambda engine: None)
    with pytest.raises(UsageError) as error:
        bind_folder(engine, Home.of(tmp_path / "home"))
    assert str(error.value) == (
        f"sqlite:///{tmp_path}/n.db neither takes the folder of this home, {tmp_path}/home, nor names "
        "another: its table place is not as Nightjar makes it. Use another database, or another home"
    )


def test_runs_that_wrote_are_remembered_by_rising_tokens(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    with engine.begin() as connection:
        tokens = [record_run(connection, name, "a run", NOW) for name in ("a", "b", "a")]
        assert tokens == sorted(set(tokens))
        assert connection.execute(select(RUNS.c.run_id)).scalars().all() == ["a", "b", "a"]


# What is kept


def test_snapshots_that_models_were_trained_on_are_those_of_each_table(tmp_path: Path) -> None:
    receipts = Receipts(open_database(f"sqlite:///{tmp_path}/n.db"))
    of_model = {"model_id": "m", "examples_snapshot": 5, "labels_snapshot": 7}
    of_before = {"model_id": "old", "examples_snapshot": 3}
    receipts.write(
        Receipt("train", day, Fingerprint("", "", ""), outputs, 1, 1, 1.0, 1, None, "r", NOW)
        for day, outputs in ((D1, of_before), (D2, of_model))
    )
    assert trained_on(receipts) == {EXAMPLES.name: {3, 5}, LABELS.name: {7}}
    assert trained_on(receipts, {"m"}) == {EXAMPLES.name: {5}, LABELS.name: {7}}


def test_a_branch_that_was_never_published_is_left_for_some_days_and_then_goes(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path / "lake")
    release_of(lake, tmp_path, D1, "failed")
    assert left_branches(lake, USER_SCORES, datetime.now(UTC) - timedelta(hours=1)) == []
    assert left_branches(lake, USER_SCORES, NOW) == ["release-failed"]


def test_housekeeping_drops_what_was_never_published_and_keeps_what_a_model_was_trained_on(
    tmp_path: Path,
) -> None:
    settings = read_settings(home=tmp_path / "home", keep_snapshots=1, keep_snapshot_days=1)
    engine = open_home(settings)
    lake, releases = open_lake(settings, engine), Releases(engine)
    folder = Path(lake.staging("run", "score"))
    failed = release_of(lake, folder, D1, "failed").snapshots[USER_SCORES.name]
    one = release_of(lake, folder, D1, "one")
    releases.publish(one)
    repair(releases, lake, FakeRegistry(), tmp_path / "n.duckdb")  # type: ignore[arg-type]
    labels = []
    for _ in range(3):
        lake.writable(LABELS).append(arrow_schema(LABELS).empty_table())
        labels.append(lake.snapshot(LABELS))
    outputs = {"model_id": one.model_id, "labels_snapshot": labels[0]}
    Receipts(engine).write(
        [Receipt("train", D1, Fingerprint("", "", ""), outputs, 1, 1, 1.0, 1, None, "run", NOW)]
    )
    run_housekeeping(settings, False, NOW, lambda line: None)
    assert lake.snapshot(USER_SCORES, branch_of("failed")) is None
    assert not lake.has_snapshot(USER_SCORES, failed)
    assert lake.has_snapshot(USER_SCORES, one.snapshots[USER_SCORES.name])
    kept = [lake.has_snapshot(LABELS, snapshot) for snapshot in labels]
    assert kept == [True, False, True]  # trained on, nobody's, the newest


def test_candidates_go_after_some_days_but_for_those_that_rankers_will_learn_from(
    tmp_path: Path,
) -> None:
    settings = read_settings(home=tmp_path / "home")
    engine = open_home(settings)
    lake, receipts = open_lake(settings, engine), Receipts(engine)
    newest = date(2025, 9, 1)
    days = [newest - timedelta(days=10 * k) for k in range(13)]
    stages = ("rec_items", "rec_histories", "rec_popular", "rec_candidates", "rec_retrieved")
    receipts.write(
        [
            Receipt(stage, day, Fingerprint("", "", ""), {}, 1, 1, 1.0, 1, None, "run", NOW)
            for stage in (*stages, "rank")
            for day in days
        ]
    )
    release = replace(release_of(lake, Path(lake.staging("run", "score")), D1, "one"), as_of=newest)

    def gone(**changed: Any) -> dict[str, list[int]]:
        old = old_days(settings.model_copy(update=changed), receipts, release)
        found = {table.name: [(newest - day).days for day in of] for table, of in old.items()}
        return {name: days for name, days in found.items() if name.startswith("rec_")}

    assert gone() == {name: [120, 110] for name in stages}
    # The nights to come learn from what is 30, 60 and 90 days before them.
    assert gone(keep_candidate_days=1) == {name: [120, 110, 100] for name in stages}
    assert gone(keep_candidate_days=None) == {name: [] for name in stages}
    # Rankers that learn from 15 and 30 days back; what lists were good for is known after 32 days,
    # which a week of nights that are left out may come to 39.
    rarely = {"ranking": RankingConfig(learn_days=1), "keep_candidate_days": 1}
    assert gone(**rarely) == {name: [*range(120, 30, -10)] for name in stages}
    # Lists of those days leave with the next release, and no release that names them loses any.
    assert "rec_lists" not in gone()


def test_models_of_texts_of_long_ago_are_removed(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path / "home")
    engine = open_home(settings)
    for name, days in (("old", KEEP_MODEL_DAYS + 1), ("kept", KEEP_MODEL_DAYS - 1)):
        folder = Path(plain_path(settings.home_folder.content_model(name)))
        folder.mkdir(parents=True)
        at = (NOW - timedelta(days=days)).timestamp()
        os.utime(folder, (at, at))
    lake, receipts = open_lake(settings, engine), Receipts(engine)
    subject = Subject(settings, engine, lake, receipts, Releases(engine), NOW)
    assert old_content_models(subject) == [settings.home_folder.content_model("old")]


def test_a_table_that_is_not_known_is_named() -> None:
    with pytest.raises(ContractError, match="users_days: no such table; expected one of"):
        table_named("users_days")
