"""An erasure that is killed, wherever that is, is finished by the next try."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError, UsageError
from contracts.recommendation_tables import REC_ITEMS, REC_LISTS
from contracts.table import Table
from contracts.tables import EXAMPLES, USER_SCORES
from contracts.tile_tables import USER_ITEM_DAYS
from flows.engine.run import Run
from flows.lake import maintenance, named_people
from flows.lake.lake import MAIN
from flows.release.duckdb_views import query
from flows.release.releases import Release, Releases, branch_of, now, repair
from flows.retention import erasure, personal_rows
from flows.retention.personal_rows import PersonalRows
from flows.state.receipts import Fingerprint, Receipt
from flows.state.schema import suppressed, trained_on_erased
from flows.steps import publish
from flows.storage.location import plain_path
from flows.storage.storage import Storage
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.flows.lakes import D1, D2, FakeRegistry, scores_file
from tests.flows.planning.test_too_little_history import MAPPING, night_of

KEY, OTHER = "0123456789abcdef" * 2, "f" * 32


class Killed(BaseException):
    """The process is gone: nobody catches it."""


def both(folder: Path, table: Table, name: str, **row: object) -> WrittenDay:
    """A file with a row of the person and one of somebody else."""
    path = folder / f"{name}.parquet"
    rows = [row | {"user_key": key, str(table.day): D1} for key in (KEY, OTHER)]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(table)), path)
    return WrittenDay(D1, len(rows), "", (str(path),))


def published(night: Run, folder: Path, day: date, name: str, registry: FakeRegistry) -> None:
    night.lake.branch(USER_SCORES, branch_of(name))
    scored = scores_file(folder, day, [KEY, OTHER], name)
    snapshot = night.lake.commit(USER_SCORES, {day: scored}, branch=branch_of(name))
    releases = Releases(night.engine)
    snapshots = {USER_SCORES.name: snapshot}
    releases.publish(Release(name, day, f"model-{name}", "f", snapshots, "run", now()))
    repair(releases, night.lake, registry, night.settings.home_folder.analysts_file)  # type: ignore[arg-type]


@pytest.fixture
def registry(monkeypatch) -> FakeRegistry:
    fake = FakeRegistry()
    monkeypatch.setattr(publish, "Registry", lambda settings: fake)
    return fake


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    """Warnings of the run."""
    warnings: list[str] = []
    for module in (erasure, publish):
        monkeypatch.setattr(module, "say", lambda line: None)
    monkeypatch.setattr(publish, "warn", lambda problem, event: warnings.append(problem))
    return warnings


@pytest.fixture
def night(tmp_path: Path, monkeypatch, registry: FakeRegistry, warned: list[str]) -> Run:
    """A home in which a person is in two releases, in a day that was written twice, and in the
    examples of a model; in no raw row any more."""
    night = night_of(tmp_path, monkeypatch, MAPPING, date(2025, 3, 10))
    monkeypatch.setattr(erasure, "TABLES", (USER_ITEM_DAYS, EXAMPLES, USER_SCORES))
    monkeypatch.setattr(personal_rows, "find", lambda *given: PersonalRows({}, (), {}))
    lake, folder = night.lake, Path(night.lake.staging("20250309T040000", "x"))
    for name in ("first", "second"):
        written = both(folder, USER_ITEM_DAYS, name, kind="item", thing_id="i", day=D1)
        lake.commit(USER_ITEM_DAYS, {D1: written})
    examples = lake.commit(EXAMPLES, {D1: both(folder, EXAMPLES, "examples")})
    outputs = {"model_id": "m1", "examples_snapshot": examples}
    print_ = Fingerprint("", "", "")
    night.receipts.write(
        [Receipt("train", D1, print_, outputs, 1, 1, 1.0, 1, None, "20250309T040000", now())]
    )
    for day, name in ((D1, "one"), (D2, "two")):
        published(night, folder, day, name, registry)
    return night


def test_what_the_person_wrote_leaves_the_lists_of_others(
    night: Run, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "TABLES", (REC_ITEMS, REC_LISTS, *erasure.TABLES))
    folder = Path(night.lake.staging("20250309T040000", "x"))

    def commit(table: Table, rows: list[dict[str, Any]], branch: str = MAIN) -> int:
        """Rows of posts; of what they do not say, zero, empty or null."""
        usual = {
            c.name: None if c.nullable else [] if c.column_type.is_array else 0
            for c in table.columns
        } | {"surface": "posts", "as_of": D1}
        texts = ("ranker_id", "policy_id", "release_id")
        usual |= {name: "x" for name in texts if name in usual}
        path = folder / f"{table.name}.parquet"
        made = pa.Table.from_pylist([usual | row for row in rows], arrow_schema(table))
        pq.write_table(made, path)
        day = {D1: WrittenDay(D1, len(rows), "", (str(path),))}
        return night.lake.commit(table, day, branch=branch)

    commit(REC_ITEMS, [
        {"item_id": "theirs", "author_key": KEY, "available": True},
        {"item_id": "other", "author_key": OTHER, "available": True},
    ])  # fmt: skip
    listed = {"item_ids": ["theirs", "other"], "values": [2.0, 1.0], "because": ["", KEY]}
    lists = [{"user_key": OTHER, **listed}, {"user_key": KEY, **listed}]
    night.lake.branch(REC_LISTS, branch_of("three"))
    snapshot = commit(REC_LISTS, lists, branch_of("three"))
    releases = Releases(night.engine)
    snapshots = {REC_LISTS.name: snapshot}
    releases.publish(Release("three", D2, "model-two", "f", snapshots, "run", now()))
    repair(releases, night.lake, registry, night.settings.home_folder.analysts_file)  # type: ignore[arg-type]

    erased = erasure.erase_person(night, KEY, None)

    def rows(table: Table, *names: str) -> list[dict[str, Any]]:
        current = releases.current()
        assert current is not None
        (file,) = night.lake.files(table, snapshot=current.snapshots.get(table.name))
        return pq.read_table(file.path, columns=list(names), partitioning=None).to_pylist()

    assert rows(REC_ITEMS, "item_id") == [{"item_id": "other"}]
    assert rows(REC_LISTS, "user_key", "item_ids", "values", "because", "shortfall") == [
        {"user_key": OTHER, "item_ids": ["other"], "values": [1.0], "because": [""],
         "shortfall": "somebody was erased from it"},
    ]  # fmt: skip
    assert (erased["rows"]["rec_items"], erased["rows"]["rec_lists"]) == (1, 1)


def on_disk(night: Run) -> set[str]:
    files = (night.settings.home_folder.path / "lake").rglob("*")
    return {str(p) for p in files if p.suffix in (".parquet", ".avro")}


def kill_after(monkeypatch: pytest.MonkeyPatch, where: str, times: int) -> None:
    """Have the process die once a function has been called so often; 0: before it is called."""
    module_name, _, name = where.rpartition(".")
    module = importlib.import_module(module_name)
    act: Callable[..., Any] = getattr(module, name)
    n = 0

    def call(*given: Any) -> Any:
        nonlocal n
        if n < times:
            result = act(*given)
            n += 1
        if n == times:
            raise Killed
        return result

    monkeypatch.setattr(module, name, call)


STEPS = [
    ("flows.lake.rewrite.rewrite", 2),
    ("flows.lake.rewrite.expire_others", 2),
    ("flows.lake.maintenance.stale_files", 0),
    ("flows.retention.erasure.keep_receipt", 0),
]


@pytest.mark.parametrize(("where", "times"), STEPS)
def test_a_second_try_removes_what_the_first_would_have(
    night: Run, registry: FakeRegistry, monkeypatch, where: str, times: int
) -> None:
    before = on_disk(night)
    with monkeypatch.context() as patch:
        kill_after(patch, where, times)
        with pytest.raises(Killed):
            erasure.erase_person(night, KEY, None)
    later = Run(night.settings, night.as_of)
    erased = erasure.erase_person(later, KEY, None)
    # young as they are: nothing that was reached before and no longer is
    assert not (before & on_disk(later)) - maintenance.reached_files(later.lake)
    files = [p for p in on_disk(later) if p.endswith(".parquet")]
    assert files
    assert not [p for p in files if named_people.holding({KEY}, p)]
    scores = query(
        later.settings.home_folder.analysts_file, "SELECT release_id, user_key FROM user_scores"
    )[1]
    assert sorted(scores) == [("one", OTHER), ("two", OTHER)]
    assert erased["models_marked"] == ["m1"]
    assert trained_on_erased(later.engine) == registry.marked == {"m1": 1}
    assert suppressed(later.engine) == {KEY}
    assert personal_rows.unfinished(later.engine, KEY) is None
    assert (
        personal_rows.reached_before(later.engine, KEY, later.settings.home_folder.path)
        == frozenset()
    )
    with pytest.raises(UsageError, match="erased already, and stays so: nothing was changed"):
        erasure.erase_person(later, KEY, None)


@pytest.mark.parametrize("name", ["erasing", "forgetting"])
def test_a_branch_that_a_killed_try_left_is_cleared_also_one_of_an_earlier_version(
    night: Run, name: str
) -> None:
    table = night.lake.table(USER_ITEM_DAYS)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    table.manage_snapshots().create_branch(snapshot.snapshot_id, name).commit()
    before = on_disk(night)
    erasure.erase_person(night, KEY, None)
    refs = night.lake.table(USER_ITEM_DAYS).metadata.refs
    assert name not in refs
    assert refs["main"].snapshot_id != snapshot.snapshot_id
    files = [p for p in before & on_disk(night) if p.endswith(".parquet")]
    assert not [p for p in files if named_people.holding({KEY}, p)]


def test_an_erasure_needs_no_mlflow_and_the_next_run_marks_the_models(
    night: Run, registry: FakeRegistry, warned: list[str], monkeypatch
) -> None:
    def away(people: object) -> list[str]:
        raise ContractError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "mark_erased", away)
        erased = erasure.erase_person(night, KEY, "request 7")
    assert erased["models_marked"] == ["m1"]
    assert warned == [
        "MLflow does not show that 1 model was trained on people who were erased: the database "
        "is away. The database's table trained_on_erased does; the next run tries again"
    ]
    assert registry.marked == {}
    publish.repair_after_crash(night.engine, night.lake, night.settings)
    assert registry.marked == {"m1": 1}
    assert len(warned) == 1


def test_a_folder_that_cannot_be_removed_leaves_the_erasure_to_be_finished(
    night: Run, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = night.settings.home_folder
    stuck, other = (home.storage.make_folder(home.run(name)) for name in ("stuck", "other"))
    remove_folder = Storage.remove_folder

    def refused(storage: Storage, location: str) -> None:
        if location == stuck:
            raise PermissionError(13, "Permission denied", plain_path(location))
        remove_folder(storage, location)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "remove_folder", refused)
        with pytest.raises(ContractError) as error:
            erasure.erase_person(night, KEY, None)
    assert str(error.value) == (
        "the person is out of every table, but 1 folder that runs have left may still tell of "
        "them. Remove what could not be removed, then erase again, which ends the erasure:\n"
        f"  {plain_path(stuck)}: Permission denied"
    )
    assert home.storage.exists(stuck)
    assert not home.storage.exists(other)
    later = Run(night.settings, night.as_of)
    erasure.erase_person(later, KEY, None)
    assert not home.storage.exists(stuck)
    assert personal_rows.unfinished(later.engine, KEY) is None


def test_young_files_that_nothing_reaches_stay_unless_they_may_tell_of_the_person(
    night: Run, registry: FakeRegistry
) -> None:
    """Somebody may be about to commit them."""
    staging = Path(night.lake.staging("20250309T040000", "y"))
    tells = Path(both(staging, USER_ITEM_DAYS, "tells", kind="item", thing_id="i", day=D1).files[0])
    other = staging / "other.parquet"
    rows = pq.read_table(tells)
    pq.write_table(rows.filter(pc.field("user_key") == OTHER), other)
    old = staging / "old.parquet"
    pq.write_table(pq.read_table(other), old)
    os.utime(old, (1, 1))
    erasure.erase_person(night, KEY, None)
    assert other.exists()
    assert not tells.exists()
    assert not old.exists()


def test_a_run_tells_of_an_erasure_that_was_cut_off(
    night: Run, registry: FakeRegistry, warned: list[str], monkeypatch
) -> None:
    for where in ("flows.retention.personal_rows.find", "flows.lake.rewrite.rewrite"):
        with monkeypatch.context() as patch:
            kill_after(patch, where, 0)
            with pytest.raises(Killed):
                erasure.erase_person(night, KEY, None)
        publish.repair_after_crash(night.engine, night.lake, night.settings)
        publish.repair_after_crash(night.engine, night.lake, night.settings, KEY)
        assert warned == [
            f"the erasure of {KEY} was cut off, so that tables may still tell of them: start the "
            "deployment `erase` with this user_key again, and it goes on"
        ]
        warned.clear()
    erasure.erase_person(night, KEY, None)
    publish.repair_after_crash(night.engine, night.lake, night.settings)
    assert warned == []


def test_rows_of_a_source_that_left_the_mapping_stop_an_erasure_before_it_begins(
    night: Run,
) -> None:
    print_ = Fingerprint("", "", "")
    landed = {"landed": {"rows": 2, "digest": "x"}}
    night.receipts.write(
        [Receipt("land_old", D1, print_, landed, 2, 2, 1.0, 1, None, "20250309T040000", now())]
    )
    with pytest.raises(UsageError) as error:
        erasure.erase_person(Run(night.settings, night.as_of), KEY, None)
    assert str(error.value) == (
        "nothing was erased: raw rows of old are kept, of which the mapping shop says nothing "
        "any more, so whom they name cannot be told. Erase with a mapping that has them (--source), "
        "such as the one that they landed with"
    )
    assert suppressed(night.engine) == frozenset()


def test_who_is_in_no_table_leaves_no_trace(night: Run) -> None:
    with pytest.raises(UsageError, match="no table holds that user_key: nothing was erased"):
        erasure.erase_person(night, "0" * 32, None)
    assert suppressed(night.engine) == frozenset()
