"""Where a home may lie, and what its name may hold."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.table import CallError, ContractError
from contracts.tables import PUBLISHED, USER_ITEM_DAYS
from flows.analysts import build_database, query
from flows.lake import Lake
from flows.settings import read_settings
from jobs.config import SparkConfig
from jobs.io import read_table
from models.ranks import check_world
from tests.flows.lakes import day_file

D1, D2 = date(2025, 1, 1), date(2025, 1, 2)
ODD = "a b ü%23 #'$"


def test_a_home_of_any_name_is_written_and_read_by_every_engine(
    tmp_path: Path, spark: SparkSession
) -> None:
    home, other = tmp_path / ODD, tmp_path / ODD.replace("%23", "#")
    for folder, rows in ((home, 3), (other, 5)):  # decoded, the one's name means the other
        folder.mkdir()
        lake = Lake(folder / "lake")
        lake.commit(USER_ITEM_DAYS, {D1: day_file(folder, D1, rows)})
    lake = Lake(home / "lake")
    lake.commit(USER_ITEM_DAYS, {D2: day_file(home, D2, 4)})
    files = [file.path for file in lake.files(USER_ITEM_DAYS)]
    assert files == [str(home / f"f-2025-01-0{n}.parquet") for n in (1, 2)]
    assert read_table(spark, USER_ITEM_DAYS, files).count() == 7
    assert {p.name for p in tmp_path.iterdir()} == {home.name, other.name}
    every = {
        table: files if table is USER_ITEM_DAYS else [] for table in (*PUBLISHED, USER_ITEM_DAYS)
    }
    build_database(home / "nightjar.duckdb", "r", D1, every)
    seen = query(home / "nightjar.duckdb", f"SELECT count(*) FROM {USER_ITEM_DAYS.name}")
    assert seen[1] == [(7,)]


def test_a_home_goes_by_its_real_name(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("real", "link", "real/inner/..", "link/inner/.."):
        assert read_settings(home=tmp_path / name).folder == (tmp_path / "real").resolve()


@pytest.mark.parametrize("name", ["home", "source", "raw", "key_file", "weights_key_file"])
@pytest.mark.parametrize("given", ["s3://bucket/x", "gs://bucket/x", "file:///x"])
def test_addresses_are_refused_for_paths(name: str, given: str) -> None:
    for told in (given, Path(given)):
        with pytest.raises(CallError) as error:
            read_settings(**{name: told})
        assert str(error.value) == (
            f"the settings are not valid:\n  {name}: {told} is an address; homes, mappings, raw "
            "files and keys are read from folders of this machine so far: give a path, such as "
            "where it is mounted"
        )


def test_a_home_that_duckdb_or_spark_could_not_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallError) as error:
        read_settings(home=tmp_path / "what?,[1]")
    assert str(error.value) == (
        f"the settings are not valid:\n  home: {tmp_path}/what?,[1] holds ',' '?' '[' ']', which "
        "DuckDB or Spark cannot have in a path: choose another"
    )


def test_a_warehouse_elsewhere_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTJAR__WAREHOUSE", "s3://bucket/lake")
    with pytest.raises(CallError) as error:
        Lake(tmp_path / "lake")
    assert str(error.value) == (
        "the catalogue's warehouse is s3://bucket/lake, but runs stage their files under "
        f"{tmp_path}/lake, and both must lie together so far: leave the warehouse out"
    )


@pytest.mark.parametrize(
    ("master", "local"),
    [("local[*]", True), ("local", True), ("spark://host:7077", False), ("yarn", False)],
)
def test_only_a_local_spark_is_out_of_others_reach(master: str, local: bool) -> None:
    assert SparkConfig(master=master).is_local is local


def test_processes_that_would_each_do_a_share_unseen_stop(monkeypatch) -> None:
    check_world(1, "train.devices")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2, "train.devices")
    with pytest.raises(ContractError) as error:
        check_world(1, "train.devices")
    assert str(error.value) == (
        "WORLD_SIZE is 2, but train.devices is 1: each process would do its share of the work and "
        "the others' would be lost. Start it without torchrun, with train.devices = 2 for as many "
        "processes"
    )
