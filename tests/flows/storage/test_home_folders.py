"""Where a home may lie, and what its name may hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from inspect import Parameter, signature
from itertools import chain
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from pyspark.sql import SparkSession
from typer.models import ArgumentInfo

from contracts.errors import UsageError
from contracts.tables import RELEASED_TABLES
from contracts.tile_tables import USER_ITEM_DAYS
from flows.cli.main import run_command
from flows.cli.terminal import app
from flows.lake.lake import Lake
from flows.release.duckdb_views import build_database, query
from flows.settings import read_settings
from jobs.spark.files import read_table
from tests.flows.lakes import day_file

D1, D2 = date(2025, 1, 1), date(2025, 1, 2)
BUCKET = "s3://bucket/x"
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
        table: files if table is USER_ITEM_DAYS else []
        for table in (*RELEASED_TABLES, USER_ITEM_DAYS)
    }
    build_database(home / "nightjar.duckdb", "r", D1, every)
    seen = query(home / "nightjar.duckdb", f"SELECT count(*) FROM {USER_ITEM_DAYS.name}")
    assert seen[1] == [(7,)]


def test_a_home_goes_by_its_real_name(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("real", "link", "real/inner/..", "link/inner/.."):
        assert read_settings(home=tmp_path / name).home_folder.path == (tmp_path / "real").resolve()


def test_a_home_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "link"
    first.mkdir()
    second.mkdir()
    link.symlink_to(first)
    monkeypatch.chdir(first)
    here, linked = read_settings(home=Path("home")), read_settings(home=link)
    monkeypatch.chdir(second)
    link.unlink()
    link.symlink_to(second)
    assert (here.home_folder.path, linked.home_folder.path) == (first / "home", first)
    assert here.home_folder is here.home_folder
    assert here.home_folder.storage is here.home_folder.storage


@pytest.mark.parametrize("name", ["home", "source", "raw", "key_file", "weights_key_file"])
@pytest.mark.parametrize("given", ["s3://bucket/x", "gs://bucket/x", "file:///x"])
def test_addresses_are_refused_for_paths(name: str, given: str) -> None:
    for address in (given, Path(given)):
        with pytest.raises(UsageError) as error:
            read_settings(**{name: address})
        assert str(error.value) == (
            f"the settings are not valid:\n  {name}: {address} is an address; homes, mappings, raw "
            "files and keys are read from folders of this machine so far: give a path, such as "
            "where it is mounted"
        )


def path_calls() -> Iterator[tuple[str, list[str]]]:
    """Each path that some command takes, and the words of a call that gives an address for it, and
    else only what is required."""
    for command in app.registered_commands:
        assert command.callback is not None
        hints = get_type_hints(command.callback, include_extras=True)
        parameters = signature(command.callback).parameters.values()
        words = {}
        for given in parameters:
            type_, said = get_args(hints[given.name])
            names = [n for n in (said.default, *(said.param_decls or ())) if isinstance(n, str)]
            flag = (
                []
                if isinstance(said, ArgumentInfo)
                else names or ["--" + given.name.replace("_", "-")]
            )
            value = BUCKET if Path in (type_, *get_args(type_)) else "2025-01-01"
            words[given.name] = [*flag[:1], value]
        required = [given.name for given in parameters if given.default is Parameter.empty]
        for name in [name for name, (*_, value) in words.items() if value == BUCKET]:
            options = [*required, name] if name not in required else required
            called = command.name or command.callback.__name__.replace("_", "-")
            yield words[name][0], [called, *chain.from_iterable(words[n] for n in options)]


def test_no_command_takes_an_address_for_a_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls = list(path_calls())
    assert {name for name, _ in calls} == {BUCKET, "--home", "--out", "--raw", "--source"}
    for _, words in calls:
        code, message = run_command(words)
        assert code == 2, (words, message)
        assert message.endswith(
            "s3:/bucket/x is an address; homes, mappings, raw files and keys are read from folders "
            "of this machine so far: give a path, such as where it is mounted"
        ), (words, message)
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_duckdb_or_spark_could_not_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_settings(home=tmp_path / "what?,[1]")
    assert str(error.value) == (
        f"the settings are not valid:\n  home: {tmp_path}/what?,[1] holds ',' '?' '[' ']', which "
        "DuckDB or Spark cannot have in a path: choose another"
    )


def test_a_warehouse_elsewhere_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__NIGHTJAR__WAREHOUSE", "s3://bucket/lake")
    with pytest.raises(UsageError) as error:
        Lake(tmp_path / "lake")
    assert str(error.value) == (
        "the catalogue's warehouse is s3://bucket/lake, but runs stage their files under "
        f"{tmp_path}/lake, and both must lie together so far: leave the warehouse out"
    )
