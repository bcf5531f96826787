"""Lists as files for a key-value store."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError, UsageError
from contracts.recommendation_tables import REC_LISTS
from flows.engine.run import Run
from flows.release.export import FileFormat, export_lists
from flows.release.releases import Release, Releases, now
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.flows.planning.test_too_little_history import MAPPING, night_of

DAY = date(2025, 3, 10)
EMPTY: dict[str, Any] = {
    c.name: None if c.nullable else [] if c.column_type.is_array else 0 for c in REC_LISTS.columns
} | {"as_of": DAY, "ranker_id": "r1", "policy_id": "p1", "release_id": "one"}
ANN = {
    "surface": "products",
    "user_key": "ann",
    "item_ids": ["hat", "cup"],
    "values": [0.5, 0.25],
    "p_order": [0.5, 0.25],
    "sources": ["own", "popular_1d,own"],
    "because": ["hat", ""],
    "propensities": [1.0, 0.5],
}
BOB = {"surface": "products", "user_key": "bob", "shortfall": "no candidates"}


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A home with a release of two lists of products and one of people."""
    night = night_of(tmp_path, monkeypatch, MAPPING, DAY)
    path = Path(night.lake.staging("20250310T040000", "rank")) / "lists.parquet"
    rows = [{**EMPTY, **row} for row in (ANN, BOB, {"surface": "people", "user_key": "ann"})]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(REC_LISTS)), path)
    snapshot = night.lake.commit(REC_LISTS, {DAY: WrittenDay(DAY, 3, "x", (str(path),))})
    release = Release("one", DAY, "m", "f", {REC_LISTS.name: snapshot}, "run", now())
    Releases(night.engine).publish(release)
    return night


RECORD = {
    "key": "products:ann",
    "as_of": "2025-03-10",
    **ANN,
    "p_review": [],
    "p_like": [],
    "p_click": [],
    "p_view": [],
    "shortfall": None,
    "ranker_id": "r1",
    "policy_id": "p1",
    "release_id": "one",
}


def test_json_lines_have_a_record_per_user_by_key(night: Run, tmp_path: Path) -> None:
    folder = tmp_path / "out of here"
    done = export_lists(night.settings, "products", FileFormat.jsonl, str(folder), None)
    assert (done.path, done.n_lists, done.as_of) == (
        f"{folder}/products-2025-03-10.jsonl", 2, DAY,
    )  # fmt: skip
    ann, bob = [json.loads(line) for line in Path(done.path).read_text().splitlines()]
    assert ann == RECORD
    assert (bob["key"], bob["item_ids"], bob["shortfall"]) == (
        "products:bob", [], "no candidates",
    )  # fmt: skip
    assert [path.name for path in folder.iterdir()] == ["products-2025-03-10.jsonl"]


def test_parquet_has_the_same_and_replaces_what_was_there(night: Run, tmp_path: Path) -> None:
    for _ in range(2):
        done = export_lists(night.settings, "products", FileFormat.parquet, str(tmp_path), DAY)
    ann, bob = pq.read_table(done.path).to_pylist()
    assert {**ann, "as_of": str(ann["as_of"])} == RECORD
    assert bob["key"] == "products:bob"


def test_a_release_that_was_made_without_lists_gives_those_that_it_kept(
    night: Run, tmp_path: Path
) -> None:
    released = Releases(night.engine).current()
    assert released is not None
    later = replace(released, release_id="two", as_of=DAY + timedelta(days=1), published_at=now())
    Releases(night.engine).publish(later)
    done = export_lists(night.settings, "products", FileFormat.jsonl, str(tmp_path), None)
    assert (done.path, done.n_lists, done.as_of, done.release_id) == (
        f"{tmp_path}/products-2025-03-10.jsonl", 2, DAY, "two",
    )  # fmt: skip


def test_what_there_is_not_is_said(night: Run, tmp_path: Path) -> None:
    def exported(surface: str, day: date | None = None) -> str:
        with pytest.raises(UsageError) as error:
            export_lists(night.settings, surface, FileFormat.jsonl, str(tmp_path / "o"), day)
        return str(error.value)

    assert exported("product") == (
        "product: no such surface, expected one of products, ads, posts, people; did you mean products?"
    )
    hint = 'nightjar sql "SELECT DISTINCT surface, as_of FROM rec_lists" says which it has'
    assert exported("ads") == f"release one has no lists of ads as of 2025-03-10: {hint}"
    assert exported("products", date(2025, 3, 9)) == (
        f"release one has no lists of products as of 2025-03-09: {hint}"
    )
    assert not (tmp_path / "o").exists()


def test_nothing_is_exported_before_the_first_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = night_of(tmp_path, monkeypatch, MAPPING, DAY)
    with pytest.raises(ContractError) as error:
        export_lists(night.settings, "products", FileFormat.jsonl, str(tmp_path), None)
    assert str(error.value) == (
        "nothing has been released yet: run `nightjar run` or `nightjar demo`"
    )
