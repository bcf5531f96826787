"""A lookup that says something else: the days of the tables that name it are judged anew."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from contracts.errors import ContractError
from contracts.source_tables.items import ITEMS
from flows.engine import spark_provider
from flows.engine.run import Run
from flows.engine.spark_stages import check_mapping, compute, land
from flows.nightly import plan_of_night
from flows.settings import NightjarSettings, read_settings
from jobs.stages import job_named
from tests.flows.planning.mappings import log_of_views

AS_OF = date(2025, 3, 3)
SHELVES = """
[lookups.shelves]
file = "shelves.csv"
format = "csv"
columns = ["sku", "shelf"]
key = "sku"
[sources.log.tables.items]
item_id = "sku"
category_id = "shelves.shelf"
occurred_at = "time"
"""
LOG = log_of_views(columns="id, user, sku, time", target="sku")
WITH_LOOKUP = 'format = "csv"\nlookups = { shelves = "sku" }'
MAPPING = LOG.replace('format = "csv"', WITH_LOOKUP) + SHELVES


@pytest.fixture
def settings(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NightjarSettings:
    """Of a home with two days of raw rows; what sku `x` lies on is in a lookup."""
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    monkeypatch.setenv("NIGHTJAR_NO_TRAIN", "true")
    monkeypatch.setattr(spark_provider, "start_session", lambda config, scratch: spark)
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/shelves.csv").write_text("sku,shelf\nx,toys\ny,food\n")
    for day in (1, 2):
        path = tmp_path / f"raw/2025-03-0{day}.csv"
        path.write_text(f"id,user,sku,time\ne{day},ann,x,2025-03-0{day}T12:00:00Z\n")
    return read_settings(home=tmp_path / "home", source=tmp_path / "m.toml", raw=tmp_path / "raw")


def night_of(settings: NightjarSettings) -> Run:
    night = Run(settings, AS_OF)
    night.look_at_files()
    return night


def cleaned(night: Run, table: str) -> tuple[int, dict[str, int]]:
    """Days that were judged again, and why."""
    done = compute(night, f"clean_{table}", night.days.landed_days, lambda line: None)
    return done.recomputed, dict(done.reasons)


def shelves(night: Run) -> list[str]:
    files = [file.path for file in night.lake.files(ITEMS)]
    return [row for f in files for row in pq.read_table(f)["category_id"].to_pylist()]


@pytest.mark.slow
def test_a_lookup_that_changed_recomputes_what_names_it_and_the_plan_says_why(
    settings: NightjarSettings, tmp_path: Path
) -> None:
    night = night_of(settings)
    check_mapping(night, lambda line: None)
    land(night, night.mapping.sources[0], lambda line: None)
    for table in ("items", "engagements"):
        assert cleaned(night, table) == (2, {"never computed": 2})
    assert shelves(night) == ["toys", "toys"]

    lookup = tmp_path / "raw/shelves.csv"
    lookup.write_text("sku,shelf\ny,food\nx,toys\n")  # the same in another order
    assert cleaned(night_of(settings), "items") == (0, {})

    lookup.write_text("sku,shelf\ny,food\nx,games\n")
    night = night_of(settings)
    plan = plan_of_night(night)
    assert [(p.stage, p.day, p.reason) for p in plan.days if not p.reuse][:2] == [
        ("clean_items", date(2025, 3, 1), "lookup shelves changed"),
        ("clean_items", date(2025, 3, 2), "lookup shelves changed"),
    ]
    assert {d.reuse for d in night.days.land_decisions(night.mapping.sources[0])} == {True}
    assert cleaned(night, "engagements") == (0, {})
    assert cleaned(night, "items") == (2, {"lookup shelves changed": 2})
    assert shelves(night) == ["games", "games"]

    (tmp_path / "m.toml").write_text(
        MAPPING.replace('"shelves.shelf"', '"upper(sku)"').replace(
            'target_id = "sku"', "target_id = \"concat(sku, coalesce(shelves.shelf, ''))\""
        )
    )
    night = night_of(settings)
    reasons = {
        table: {d.reason for d in night.fingerprints.decisions(job_named(f"clean_{table}"), [AS_OF.replace(day=1)])}
        for table in ("items", "engagements")
    }  # fmt: skip
    assert reasons == {
        "items": {"configuration changed"},
        "engagements": {"configuration changed"},
    }

    lookup.unlink()
    with pytest.raises(ContractError, match=r"lookups.shelves: no file shelves.csv under"):
        Run(settings, AS_OF)
