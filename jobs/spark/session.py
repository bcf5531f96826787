"""The one place that builds a Spark session; the jobs cannot tell which kind they run on."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.util import is_remote_only

from contracts.errors import UsageError
from jobs.spark.config import SparkConfig
from jobs.spark.java import find_java
from jobs.spark.scratch import own_folder

TIME_ZONE = "spark.sql.session.timeZone"
REDACTION = "spark.sql.redaction.string.regex"
EVENT_LOG = "spark.eventLog.enabled"
LOG_LEVEL = "spark.log.level"
_QUIET_LEVELS = frozenset({"WARN", "ERROR", "FATAL", "OFF"})
HEX_DIGITS = "(?i)[0-9a-f]{32,}"
"""What is redacted in plans wherever Spark writes them: the pads of the user key stand in them,
128 digits each, which an abbreviated plan may cut."""


_QUICK_COMPILER = ("-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=240m")
"""Code that runs for seconds is not worth the time to optimise it. HotSpot then has a fifth of the
room for it, and interprets what does not fit."""
_PATIENT_COMPILER = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
"""Ten times the calls and loops before HotSpot optimises code: a night generates classes for each
of hundreds of plans, most of which end before that has paid; those that go on are optimised all
the same. A first night of 392,000 rows takes a fifth less of the processor's time."""
_JVM_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS")
"""Environment variables from which Java or Spark's launcher takes options too."""
_OWN_SPARK = ("SPARK_CONF_DIR", "SPARK_HOME")
"""Environment variables of who has an installation of Spark, whose `spark-defaults.conf` may give
options to every driver."""

NO_ENGINE = (
    "Spark's engine is not installed here, and spark.remote names no Connect server: set it, or "
    "install nightjar[spark] instead of nightjar[connect]"
)


def start_session(config: SparkConfig, scratch: Path, brief: bool = False) -> SparkSession:
    """A session in UTC with the settings that every job relies on.

    `scratch` holds shuffle files and, where the system has no Java, a launcher for the wheel's. A
    `brief` one is to read little and to end soon.

    Raises:
        UsageError: a server would write the user key down, or there is neither server nor engine.
    """
    if config.remote is None and is_remote_only():
        raise UsageError(NO_ENGINE)
    settings = {
        TIME_ZONE: "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.shuffle.partitions": str(config.shuffle_partitions or 2 * (os.cpu_count() or 1)),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # Lists that are null cost the square of a batch's rows (`mapInArrow`, 4.1).
        "spark.sql.execution.arrow.maxRecordsPerBatch": "4000",
        # Else each of thousands of column expressions asks the JVM half a dozen times where in our
        # code it stands, for the sake of error messages.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        # Listing files that we name one by one is quicker than a job that lists them.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "10000",
        REDACTION: HEX_DIGITS,
    }
    builder: SparkSession.Builder = SparkSession.builder.appName("nightjar")
    if config.remote is not None:
        builder = builder.remote(config.remote)
    else:
        # Workers otherwise pick a Python of their own, without pyarrow.
        os.environ["PYSPARK_PYTHON"] = sys.executable
        if "PYSPARK_GATEWAY_PORT" not in os.environ:  # spark-submit brings a JVM and a master
            builder = builder.master(config.master)
            settings |= _start_of_jvm(config, scratch)
        settings |= _of_driver(config, scratch, brief)
    # It writes each refused query as JSON, stack and all; who asked says what is wrong. By its
    # level, for whoever configures logging later on enables all that were disabled.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if config.remote is None:
        from jobs.spark.jvm_names import remember_names  # a Connect client has no py4j

        remember_names(session)
    check_secrecy(session.conf.get)
    return session


def _start_of_jvm(config: SparkConfig, scratch: Path) -> dict[str, str]:
    """Finds Java for a JVM of our own, and gives the settings that it starts with."""
    os.environ["JAVA_HOME"] = str(find_java(config.java_home, scratch / "java"))
    if not config.is_local:
        return {}
    # Tasks run in this process: nobody else has to reach it.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        # Elsewhere it may be that only tasks know us.
        "spark.python.daemon.module": "jobs.spark.python_daemon",
    }


def _of_driver(config: SparkConfig, scratch: Path, brief: bool) -> dict[str, str]:
    """Settings of the driver, where it is not a Connect server's."""
    java_options = [
        # HotSpot otherwise interprets the large methods that Spark generates.
        "-XX:-DontCompileHugeMethods",
        *(_QUICK_COMPILER if brief else _PATIENT_COMPILER),
        *collector_options(os.environ),
        f'"-Dderby.system.home={scratch / "derby"}"',
        f"-Dlog4j2.configurationFile={_log_settings(scratch).absolute().as_uri()}",
    ]
    return {
        "spark.driver.memory": config.memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(own_folder(scratch / "spark")),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.extraJavaOptions": " ".join(java_options),
        LOG_LEVEL: "ERROR",
    }


def collector_options(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The garbage collector for the most work per second, as nobody waits for an answer: a tenth
    less of the processor's time than with G1. A second one beside a person's choice would keep the
    JVM from starting, so there is none where there may be such a choice."""
    options = " ".join(environment.get(name, "") for name in _JVM_OPTIONS)
    is_chosen = re.search(r"-XX:\+Use\w*GC\b", options) is not None
    if is_chosen or any(name in environment for name in _OWN_SPARK):
        return ()
    return ("-XX:+UseParallelGC",)


def check_secrecy(setting: Callable[[str, str], str | None]) -> None:
    """Refuse a session that would write the user key down. A server leaves out what it does not
    take, in silence; and Spark writes plans as they are into its event log, and a Connect server
    those of executions that it ends by itself into its log.

    Raises:
        UsageError: naming the settings to change.
    """
    problems = []
    redaction = setting(REDACTION, "nothing")
    if redaction != HEX_DIGITS:
        problems.append(f"  {REDACTION}: expected {HEX_DIGITS}, found {redaction}")
    if setting(EVENT_LOG, "false") != "false":
        problems.append(f"  {EVENT_LOG}: expected false, for plans stand in it unredacted")
    level = setting(LOG_LEVEL, "INFO")
    if str(level).upper() not in _QUIET_LEVELS:
        problems.append(f"  {LOG_LEVEL}: expected WARN or ERROR, found {level}")
    if problems:
        raise UsageError(
            "\n".join(["Spark would write the user key down; set in its configuration:", *problems])
        )


def _log_settings(scratch: Path) -> Path:
    """Errors only, on standard error, without stacks and the values that messages quote: the error
    itself comes to us as an exception."""
    path = scratch / "log4j2.properties"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "rootLogger.level = error\n"
        "rootLogger.appenderRef.stderr.ref = console\n"
        "appender.console.type = Console\n"
        "appender.console.name = console\n"
        "appender.console.target = SYSTEM_ERR\n"
        "appender.console.layout.type = PatternLayout\n"
        "appender.console.layout.pattern = "
        "spark: %p %c{1}: %replace{%m}{'[^'\\\\n]*'|\"[^\"\\\\n]*\"}{'...'}%n%throwable{none}\n"
    )
    return path
