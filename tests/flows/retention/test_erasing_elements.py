"""A raw row about several people: one of them is erased, and nothing of the others."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.users import USERS
from contracts.table import Table
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from flows.engine import spark_provider, spark_stages
from flows.engine.run import Run
from flows.retention import erasure
from flows.retention.personal_rows import Blank, PersonalRows
from flows.settings import read_settings
from flows.steps import publish
from jobs import erasure as erasing
from jobs.spark.schema import spark_schema
from tests.flows.retention.test_erasure import Killed, kill_after

DAY, AS_OF = date(2025, 3, 1), date(2025, 3, 2)
MAPPING = """
name = "app"
[sources.app]
files = "{day}.jsonl"
format = "jsonl"
missing_key = "null"
columns = ["batch", "by", "owner", "events"]
[sources.app.tables.users]
where = "by is not null"
user_id = "by"
occurred_at = "'2025-03-01T10:00:00Z'"
[sources.app.tables.posts]
each = "events"
where = "each.type = 'post'"
post_id = "each.id"
user_id = "each.user"
text = "each.text"
occurred_at = "'2025-03-01T10:00:00Z'"
[sources.app.tables.engagements]
each = "events"
where = "each.type = 'like'"
engagement_id = "each.id"
user_id = "each.user"
verb = "'like'"
target_kind = "'item'"
target_id = "'i'"
occurred_at = "'2025-03-01T10:00:00Z'"
[sources.late]
files = "late.csv"
format = "csv"
columns = ["who", "day", "kind", "whom"]
landed_on = "day"
[sources.late.tables.engagements]
engagement_id = "concat(who, line_number)"
user_id = "regexp_replace(who, '^user ', '')"
verb = "'like'"
target_kind = "kind"
target_id = "whom"
occurred_at = "'2025-03-01T10:00:00Z'"
"""
TABLES = (LANDED, QUARANTINE, RECONCILIATION, POSTS, ENGAGEMENTS, USERS)


def event(type_: str, id_: str | None, user: str) -> dict[str, Any]:
    return {"type": type_, "id": id_, "user": user, "text": "so, {so]"}


ROWS = [
    # ann's and bob's, one of each that is quarantined, one of nobody, and one for no table
    {"batch": 1, "events": [event("post", "p1", "ann"), event("post", "p2", "bob"),
                            event("like", "l1", "ann"), event("post", None, "bob"),
                            event("post", None, "ann"), None, event("login", "x", "ann")]},
    # ann is named beside her batch as well
    {"batch": 2, "by": "ann", "events": [event("post", "p3", "bob"), event("post", "p4", "ann")]},
    {"batch": 3, "by": "cyd", "events": [event("post", "p5", "ann")]},
    {"batch": 4, "by": "cyd", "events": [event("post", "p6", "bob"), event("like", "l2", "bob")]},
    # a column that no table is made of names ann
    {"batch": 5, "owner": "ann", "events": [event("post", "p7", "ann"), event("post", "p8", "bob")]},
    # for no table
    {"batch": 6, "events": [event("login", "y", "ann")]},
]  # fmt: skip

LATE = """who,day,kind,whom
user ann,2025-03-01,item,i
user ann,2101-03-01,item,i
user bob,2025-03-01,Users,ann
user bob,2025-03-01,user,ann
user bob,2101-03-01,item,i
user bob,2025-03-01,post,ann
"""
"""Of ann: all but the last two, for a post is nobody."""


@pytest.fixture
def nothing_landed(spark: SparkSession, tmp_path: Path, monkeypatch) -> Run:
    """A home with raw files beside it."""
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    monkeypatch.setattr(spark_provider, "start_session", lambda *arguments: spark)
    monkeypatch.setattr(erasure, "TABLES", TABLES)
    for module in (erasure, publish):
        monkeypatch.setattr(module, "say", said.append)
    said.clear()
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/late.csv").write_text(LATE)
    (tmp_path / f"raw/{DAY}.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    settings = read_settings(
        home=tmp_path / "home", source=tmp_path / "m.toml", raw=tmp_path / "raw"
    )
    night = Run(settings, AS_OF)
    night.look_at_files()
    return night


@pytest.fixture
def night(nothing_landed: Run) -> Run:
    """The same with the day landed and cleaned."""
    land(nothing_landed)
    clean(nothing_landed)
    return nothing_landed


said: list[str] = []


def land(night: Run) -> None:
    for source in night.mapping.sources:
        spark_stages.land(night, source, said.append)


def clean(night: Run) -> None:
    for table in (POSTS, ENGAGEMENTS, USERS):
        spark_stages.compute(night, f"clean_{table.name}", [DAY], said.append, force=[DAY])


def rows(night: Run, table: Table) -> list[dict[str, Any]]:
    files = night.lake.files(table)
    all_rows = [r for f in files for r in pq.read_table(f.path, partitioning=None).to_pylist()]
    return sorted(all_rows, key=lambda row: [str(row[name]) for name in table.grain])


def counts(night: Run) -> dict[str, tuple[int, ...]]:
    """Table to rows in, clean, duplicate, quarantined, erased; what tables hold is what is said."""
    by_table: dict[str, tuple[int, ...]] = {}
    for row in rows(night, RECONCILIATION):
        what = ("in", "clean", "duplicate", "quarantined", "erased")
        before = by_table.get(row["table_name"], (0,) * len(what))
        by_table[row["table_name"]] = tuple(
            n + row[f"n_{name}"] for n, name in zip(before, what, strict=True)
        )
    for table in (POSTS, ENGAGEMENTS, USERS):
        n_in, n_clean, n_duplicate, n_quarantined, n_erased = by_table[table.name]
        assert n_in == n_clean + n_duplicate + n_quarantined + n_erased, table.name
        assert len(rows(night, table)) == n_clean, table.name
        dropped = [r for r in rows(night, QUARANTINE) if r["table_name"] == table.name]
        assert len(dropped) == n_quarantined, table.name
    return by_table


def left(night: Run) -> list[tuple[str | None, str]]:
    """The events of each batch, and what is said of it."""
    landed = [row for row in rows(night, LANDED) if row["source"] == "app"]
    assert all((row["problem"] is None) == (row["row_hash"] != "") for row in landed)
    return [(row["fields"] and row["fields"][3], row["problem"]) for row in landed]


@pytest.mark.slow
def test_one_of_several_people_in_a_raw_row_is_erased(night: Run, monkeypatch) -> None:
    assert counts(night) == {
        "posts": (11, 8, 0, 3, 0), "engagements": (9, 5, 0, 4, 0), "users": (3, 2, 1, 0, 0),
    }  # fmt: skip

    for n in (1, len(TABLES) // 2, len(TABLES)):  # killed behind so many tables, and begun again
        with monkeypatch.context() as patch:
            kill_after(patch, "flows.lake.rewrite.rewrite", n)
            with pytest.raises(Killed):
                erasure.erase_person(night, night.context.key.of("ann"), None)
    erased = erasure.erase_person(night, night.context.key.of("ann"), None)

    assert (erased["raw_rows"], erased["rows_of_others"]) == (9, 2)
    assert {line for line in said if "other people" in line} == {
        "2 rows of tables about other people were made of raw rows that are blanked whole: the "
        "person is named there outside of arrays, or their table's `each` is no column. They stay "
        "until their day is cleaned again, and are then counted as erased"
    }
    text = [json.dumps(event("post", id_, "bob")) for id_ in ("p2", None, "p6")]
    liked = json.dumps(event("like", "l2", "bob"))
    assert left(night) == [
        (f"[null, {text[0]}, null, {text[1]}, null, null, null]",
         "erased elements: engagements (1) 3 (5) (7), posts 1 (3) 5 (7)"),
        (None, "erased: posts 2, users"),
        ("[null]", "erased elements: engagements (1), posts 1"),
        (f"[{text[2]}, {liked}]", None),
        (None, "erased: posts 2"),
        ("[null]", "erased elements: engagements (1), posts (1)"),
    ]  # fmt: skip
    # bob's and cyd's rows are those of before, in quarantine too
    after = counts(night)
    assert after == {
        "posts": (11, 4, 0, 2, 5), "engagements": (9, 2, 0, 2, 5), "users": (3, 1, 1, 0, 1),
    }  # fmt: skip
    bobs = rows(night, POSTS)
    assert {row["user_key"] for row in bobs} == {night.context.key.of("bob")}
    assert {(r["line"], r["element"], r["row_hash"] == "") for r in rows(night, QUARANTINE)} == {
        (1, 4, True), (1, 6, True), (6, 0, False),
    }  # fmt: skip
    assert [(r["line"], r["problem"]) for r in rows(night, LANDED) if r["source"] == "late"] == [
        *((line, "erased: engagements") for line in (2, 3, 4, 5)),
        (6, "landed_on: in the future"), (7, None),
    ]  # fmt: skip

    clean(night)  # what bob did in batches that were blanked whole goes with them
    assert counts(night) == after | {"posts": (11, 2, 0, 2, 7)}
    assert [row for row in bobs if row in rows(night, POSTS)] == rows(night, POSTS)

    erasure.erase_person(night, night.context.key.of("bob"), None)
    assert left(night) == [
        ("[null, null, null, null, null, null, null]",
         "erased elements: engagements (1) (2) 3 (4) (5) (7), posts 1 2 (3) 4 5 (7)"),
        (None, "erased: posts 2, users"),
        ("[null]", "erased elements: engagements (1), posts 1"),
        ("[null, null]", "erased elements: engagements (1) 2, posts 1 (2)"),
        (None, "erased: posts 2"),
        ("[null]", "erased elements: engagements (1), posts (1)"),
    ]  # fmt: skip
    both = counts(night)
    assert both == {
        "posts": (11, 0, 0, 1, 10), "engagements": (9, 0, 0, 1, 8), "users": (3, 1, 1, 0, 1),
    }  # fmt: skip
    clean(night)
    assert counts(night) == both

    # the file lands again, with both of them in it
    landed = rows(night, LANDED)
    path = night.context.raw_folder / f"{DAY}.jsonl"
    path.write_text(path.read_text() + "\n")
    later = Run(night.settings, AS_OF)
    later.look_at_files()
    land(later)
    assert rows(later, LANDED) == landed


def test_an_erasure_that_an_earlier_version_began_goes_on() -> None:
    kept = {
        "tables": [["app", "a.jsonl", 7, "posts, users"]],
        "days": ["2025-03-01"],
        "counts": [["posts", "app", "2025-03-01", {"quarantined": 1}]],
        "rows": {"posts": 2},
    }
    traces = PersonalRows.of_json(kept)
    assert traces == PersonalRows(
        {("app", "a.jsonl", 7): Blank("erased: posts, users")},
        (DAY,),
        {("posts", "app", DAY): {"quarantined": 1}},
        frozenset({("posts", "app", "a.jsonl", 7, 0), ("users", "app", "a.jsonl", 7, 0)}),
        rows={"posts": 2},
    )
    assert PersonalRows.of_json(json.loads(json.dumps(traces.as_json()))) == traces


def test_nothing_that_people_wrote_is_computed_to_find_somebody(nothing_landed: Run) -> None:
    """Spark would push the comparison down and copy it, until no memory held the plan."""
    night = nothing_landed
    (source, _) = night.mapping.sources
    landed = night.spark.session.createDataFrame([], spark_schema(LANDED))
    about_her = erasing.about(
        landed, source, night.context.job_settings, {night.context.key.of("ann")}
    )
    plan = about_her._jdf.queryExecution().optimizedPlan().toString()
    assert "from_json" in plan
    assert "<email>" not in plan
