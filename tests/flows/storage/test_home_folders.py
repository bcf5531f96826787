"""Where a home may lie, and what its name may hold."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from inspect import Parameter, signature
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
from pyspark.sql import SparkSession
from typer.models import ArgumentInfo

from contracts.errors import ContractError, UsageError
from contracts.tables import RELEASED_TABLES, USER_ITEM_DAYS
from flows.cli.main import run_command
from flows.cli.terminal import app
from flows.lake.lake import Lake
from flows.release.duckdb_views import build_database, query
from flows.settings import read_settings
from jobs.spark import session
from jobs.spark.config import SparkConfig
from jobs.spark.files import read_table
from models.distributed import check_world
from tests.flows.lakes import day_file

models = import_module("models.__main__")
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


@pytest.mark.parametrize(
    ("master", "local"),
    [("local[*]", True), ("local", True), ("spark://host:7077", False), ("yarn", False)],
)
def test_only_a_local_spark_is_out_of_others_reach(master: str, local: bool) -> None:
    assert SparkConfig(master=master).is_local is local


@pytest.mark.parametrize(
    ("master", "host"), [("local[2]", "127.0.0.1"), ("spark://host:7077", None), ("yarn", None)]
)
def test_a_session_on_a_cluster_can_be_reached_by_its_workers(
    tmp_path: Path, monkeypatch, master: str, host: str | None
) -> None:
    settings: dict[str, str] = {}

    class Builder:
        conf = SimpleNamespace(get=settings.get)

        def given(self, name: str, value: str = "") -> Builder:
            settings[name] = value
            return self

        appName = master = config = given

        def getOrCreate(self) -> Builder:
            return self

    for name in ("SPARK_LOCAL_IP", "JAVA_HOME", "PYSPARK_PYTHON", "PYSPARK_GATEWAY_PORT"):
        monkeypatch.setenv(name, "")  # so that what is set from here on is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(session, "SparkSession", SimpleNamespace(builder=Builder()))
    monkeypatch.setattr(session, "find_java", lambda home, scratch: tmp_path)
    session.start_session(SparkConfig(master=master), tmp_path)
    assert master in settings
    assert settings.get("spark.driver.host") == host
    assert settings.get("spark.driver.bindAddress") == host
    assert os.environ.get("SPARK_LOCAL_IP") == host
    assert ("spark.python.daemon.module" in settings) is (host is not None)


def test_a_process_that_would_do_a_share_unseen_reports_it(tmp_path: Path, monkeypatch) -> None:
    spec, report = tmp_path / "score.spec.json", tmp_path / "score.report.json"
    spec.write_text(json.dumps({"processes": 1, "days": []}))
    monkeypatch.setattr(sys, "argv", ["models", "score", str(spec), str(report)])
    monkeypatch.setattr(models, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(models.encryption, "use", lambda key: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert models.main() == 1
    assert json.loads(report.read_text()) == {
        "error": "WORLD_SIZE is 2, but score_processes is 1: each process would do its share of "
        "the work and the others' would be lost. Start it without torchrun, with score_processes = "
        "2 for as many processes",
        "is_call": False,
    }
    monkeypatch.delenv("WORLD_SIZE")
    assert models.main() == 0
    assert json.loads(report.read_text()) == {"days": []}


def test_processes_that_would_each_do_a_share_unseen_stop(monkeypatch) -> None:
    check_world(1, "train.machine.devices")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2, "train.machine.devices")
    with pytest.raises(ContractError) as error:
        check_world(1, "train.machine.devices")
    assert str(error.value) == (
        "WORLD_SIZE is 2, but train.machine.devices is 1: each process would do its share of the work and "
        "the others' would be lost. Start it without torchrun, with train.machine.devices = 2 for as many "
        "processes"
    )
