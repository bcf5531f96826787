"""Shared fixtures: one Spark session for the whole run, and tables written as text."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from pyspark.sql import DataFrame, SparkSession
from xdist.scheduler import LoadScopeScheduling

from contracts.table import Table
from jobs.spark.config import SparkConfig
from jobs.spark.schema import spark_schema
from jobs.spark.session import start_session

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"


T = TypeVar("T")


# Prefect reads its settings when it is first imported, before any fixture.
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"

# Every Java that the tests start is to end soon, as a brief session's.
os.environ["SPARK_SUBMIT_OPTS"] = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"


class ByFile(LoadScopeScheduling):
    """The tests of a file stay with one worker, in order, for they share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::")[0]


SLOW_FIXTURES = frozenset({"server", "page", "connect_server"})
"""PostgreSQL, a browser, a Connect server: what a test waits for long before it can begin."""


LONGEST = (
    "flows/one_home/test_backfill_and_rollback.py",
    "flows/server/test_schedule.py",
    "models/one_model/test_train.py",
    "models/training/test_lightning_fit.py",
    "flows/one_home/test_database_server.py",
    "flows/one_home/test_erasure.py",
    "flows/one_home/test_investigations.py",
    "flows/one_home/test_night.py",
    "flows/retention/test_erasing_elements.py",
)
"""Files that begin before all others, so that no worker is left alone with one of them at the end.
The first runs the first night, which others need only once it is there."""


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start such a server are slow, whoever forgets to say so; the longest come first."""
    for item in items:
        if SLOW_FIXTURES & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)
    order = {REPOSITORY / "tests" / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(LONGEST)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prefect, MLflow and Nightjar keep their files in a folder of the test run, and what the
    tests start answers the same under `make test` as by hand."""
    home = tmp_path_factory.mktemp("home")
    outside = ("NIGHTJAR_", "PREFECT_", "MAKE", "MFLAGS")
    for name in [n for n in os.environ if n.startswith(outside)]:
        del os.environ[name]
    os.environ["NIGHTJAR_HOME"] = str(home)
    from flows.settings import configure_libraries
    from flows.storage.home import Home
    from flows.storage.permissions import close_home

    close_home(Home.of(home))
    configure_libraries(Home.of(home))


class Once(Protocol):
    """Makes something once in a test run, in whichever worker needs it first."""

    def __call__(self, name: str, make: Callable[[Path], T]) -> T: ...


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """What `make` returned for a name, given a folder that all workers of the run share."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent

    def build(name: str, make: Callable[[Path], T]) -> T:
        folder, kept, failed = (shared / f"{name}{end}" for end in ("", ".pickle", ".failed"))
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if failed.exists():
                pytest.fail(f"{name}: another worker tried in vain: {failed.read_text()}")
            if not kept.exists():
                folder.mkdir()
                try:
                    kept.write_bytes(pickle.dumps(make(folder)))
                except BaseException as error:
                    failed.write_text(repr(error))
                    raise
        thing: T = pickle.loads(kept.read_bytes())  # noqa: S301
        return thing

    return build


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session; two shuffle partitions, because inputs are tiny."""
    config = SparkConfig(master="local[2]", memory="1500m", shuffle_partitions=2)
    session = start_session(config, tmp_path_factory.mktemp("spark"))
    # Compiling and re-planning a query for a dozen rows takes longer than running it.
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.codegen.wholeStage", "false")
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    yield session
    session.stop()


MakeTable = Callable[..., DataFrame]


@pytest.fixture
def table(spark: SparkSession) -> MakeTable:
    """Rows of a table from text: a line of column names, then a line per row, `|` between cells.

    `-` is null. Columns that are left out are filled: numbers with 0, texts with their own name.
    """

    def make(text: str, contract: Table, **filled: Any) -> DataFrame:
        lines = [line for line in text.strip().splitlines() if line.strip()]
        names = [cell.strip() for cell in lines[0].split("|")]
        rows = []
        for line in lines[1:]:
            cells = dict(zip(names, (c.strip() for c in line.split("|")), strict=True))
            rows.append(
                tuple(
                    parse(cells[c.name], c.type)
                    if c.name in cells
                    else filled.get(c.name, _fill(c.name, c.type, c.nullable))
                    for c in contract.columns
                )
            )
        return spark.createDataFrame(rows, spark_schema(contract))

    return make


def parse(cell: str, type_: str) -> Any:
    """A cell's value; `-` is null, arrays are separated by spaces."""
    if cell == "-":
        return None
    if type_.startswith("array<"):
        return [parse(part, type_[6:-1]) for part in cell.split()]
    if type_ == "date":
        return date.fromisoformat(cell)
    if type_ == "timestamp":
        return datetime.fromisoformat(cell).replace(tzinfo=UTC)
    if type_ in ("int", "bigint"):
        return int(cell)
    if type_ in ("float", "double"):
        return float(cell)
    if type_ == "boolean":
        return cell == "true"
    return cell


def _fill(name: str, type_: str, nullable: bool) -> Any:
    if nullable:
        return None
    if type_.startswith("array<"):
        return []
    return 0 if type_ in ("int", "bigint", "float", "double") else name


def rows_of(frame: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows as sorted tuples, for comparison."""
    return sorted((tuple(r) for r in frame.select(*columns).collect()), key=str)


def real_data(name: str) -> Path:
    """A folder of real data; the test is skipped, saying so, where it is not there."""
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def fault_data(name: str) -> Path:
    """A mapping and raw files that came out wrong once; the test is skipped, saying so, where they
    are not there."""
    folder = REAL_DATA.parent / "faults" / name
    if not folder.is_dir():
        pytest.skip(f"no such inputs at {folder}")
    return folder
