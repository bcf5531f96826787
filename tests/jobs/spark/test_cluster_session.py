"""Which addresses a session listens on: a cluster's workers must reach it, others must not."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.spark import jvm_names, session
from jobs.spark.config import SparkConfig


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
    monkeypatch.setattr(jvm_names, "remember_names", lambda session: None)
    session.start_session(SparkConfig(master=master), tmp_path)
    assert master in settings
    assert settings.get("spark.driver.host") == host
    assert settings.get("spark.driver.bindAddress") == host
    assert os.environ.get("SPARK_LOCAL_IP") == host
    assert ("spark.python.daemon.module" in settings) is (host is not None)
