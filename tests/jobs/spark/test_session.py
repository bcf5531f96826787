"""The user key stands in no plan that Spark writes down, here or on a Connect server."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.errors import UsageError
from jobs.cleaning.verdicts import user_key
from jobs.spark import session
from jobs.spark.config import SparkConfig
from jobs.spark.java import find_java
from jobs.spark.session import (
    EVENT_LOG,
    HEX_DIGITS,
    LOG_LEVEL,
    REDACTION,
    check_secrecy,
    collector_options,
)
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY

KEY = UserKey(b"a key that is looked for in plans")
MODES = ("simple", "extended", "codegen", "cost", "formatted")


def pieces() -> set[str]:
    """Every 16 digits of the pads: a plan that is cut shows no such piece either."""
    return {pad[i : i + 16] for pad in KEY.pads for i in range(0, 112, 4)}


def shown(text: str) -> list[str]:
    return [piece for piece in pieces() if piece in text.lower()]


def test_the_pads_of_the_user_key_stand_in_no_plan(spark: SparkSession) -> None:
    frame = spark.range(3).select(user_key(F.col("id").cast("string"), KEY).alias("user_key"))
    execution = frame._jdf.queryExecution()  # type: ignore[operator]
    explain = spark._jvm.org.apache.spark.sql.execution.ExplainMode  # type: ignore[union-attr]
    plans = [execution.toString()]
    plans += [execution.explainString(explain.fromString(mode)) for mode in MODES]
    assert "(redacted)" in plans[0]
    assert shown("".join(plans)) == []
    assert frame.distinct().count() == 3


CLIENT = """
import sys
from pathlib import Path
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from contracts.errors import UsageError
from jobs.cleaning.verdicts import user_key
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from tests.jobs.spark.test_session import KEY, MODES

try:
    start_session(SparkConfig(remote=sys.argv[1]), Path(sys.argv[2]))
except UsageError as error:
    print(error)
spark = SparkSession.active()
frame = spark.range(3).select(user_key(F.col("id").cast("string"), KEY).alias("user_key"))
for mode in MODES:
    frame.explain(mode=mode)
print(frame.distinct().count(), "users")
spark.stop()
"""


@pytest.fixture
def connect_server(tmp_path: Path) -> Iterator[str]:
    """A Connect server with an event log and none of our settings."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "events").mkdir()
    settings = {
        "spark.connect.grpc.binding.port": port,
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": (tmp_path / "events").as_uri(),
        "spark.log.level": "WARN",
    }
    confs = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    home = Path(pyspark.__file__).parent
    with (tmp_path / "server.log").open("wb") as log, subprocess.Popen(
        [
            home / "bin/spark-submit", "--master", "local[1]", *confs, "--class",
            "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
        ],
        env=os.environ
        | {"JAVA_HOME": str(find_java(None, tmp_path / "java")), "SPARK_HOME": str(home)},
        cwd=tmp_path,
        stdout=log,
        stderr=log,
    ) as process:  # fmt: skip
        for _ in range(900):
            if process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"sc://127.0.0.1:{port}"
        process.terminate()
        process.wait(120)


def test_nor_in_those_of_a_connect_server_whose_event_log_is_refused(
    connect_server: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, connect_server, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(
        "Spark would write the user key down; set in its configuration:\n"
        "  spark.eventLog.enabled: expected false, for plans stand in it unredacted\n"
    )
    assert "3 users" in done.stdout
    assert "(redacted)" in done.stdout
    assert shown(done.stdout + done.stderr) == []
    assert shown((tmp_path / "server.log").read_text()) == []


def test_a_session_that_would_write_the_key_down_is_refused() -> None:
    right = {REDACTION: HEX_DIGITS, LOG_LEVEL: "warn"}
    check_secrecy(right.get)
    check_secrecy((right | {EVENT_LOG: "false"}).get)
    with pytest.raises(UsageError) as error:
        check_secrecy({EVENT_LOG: "true"}.get)
    assert str(error.value) == (
        "Spark would write the user key down; set in its configuration:\n"
        "  spark.sql.redaction.string.regex: expected (?i)[0-9a-f]{32,}, found nothing\n"
        "  spark.eventLog.enabled: expected false, for plans stand in it unredacted\n"
        "  spark.log.level: expected WARN or ERROR, found INFO"
    )


def test_a_refused_query_is_one_error_whoever_configures_logging(
    spark: SparkSession, monkeypatch, caplog
) -> None:
    """Prefect's and MLflow's configurations enable every logger that was disabled."""
    monkeypatch.setattr(logging.getLogger("SQLQueryContextLogger"), "disabled", False)
    with pytest.raises(AnalysisException, match="^.UNRESOLVED_COLUMN.WITH_SUGGESTION. .*`nowhere`"):
        spark.range(1).selectExpr("nowhere").collect()
    assert caplog.records == []


def test_the_jvm_collects_in_parallel_unless_a_person_chose_otherwise(spark: SparkSession) -> None:
    beans = spark._jvm.java.lang.management.ManagementFactory.getGarbageCollectorMXBeans()  # type: ignore[union-attr]
    if collector_options(os.environ):  # whoever runs the tests has chosen none
        assert [bean.getName() for bean in beans] == ["PS MarkSweep", "PS Scavenge"]
    assert collector_options({"JAVA_TOOL_OPTIONS": "-Xmx2g"}) == ("-XX:+UseParallelGC",)
    assert collector_options({"SPARK_SUBMIT_OPTS": "-Xmx2g -XX:+UseG1GC -Dx=y"}) == ()
    assert collector_options({"SPARK_HOME": "/opt/spark"}) == ()


def test_a_machine_without_sparks_engine_needs_the_address_of_a_server(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(session, "is_remote_only", lambda: True)
    with pytest.raises(UsageError) as raised:
        session.start_session(SparkConfig(), tmp_path)
    assert str(raised.value) == (
        "Spark's engine is not installed here, and spark.remote names no Connect server: set it, "
        "or install nightjar[spark] instead of nightjar[connect]"
    )
