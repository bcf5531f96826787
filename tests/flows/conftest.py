"""One home with one released night on a tiny market, which the tests of flows share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from flows import context
from flows.nightly import nightly
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.conftest import REPOSITORY

START, DAYS = date(2025, 1, 1), 132
NIGHT = START + timedelta(days=DAYS)
ENVIRONMENT = {
    "NIGHTJAR_KEY": "a key for the tests alone",
    "NIGHTJAR_EXAMPLE_SPACING_DAYS": "8",
    "NIGHTJAR_MIN_HISTORY_DAYS": "10",
    "NIGHTJAR_TRAIN__MAX_EPOCHS": "2",
    "NIGHTJAR_TRAIN__TOWER_EPOCHS": "1",
    "NIGHTJAR_TRAIN__WIDTH": "16",
    "NIGHTJAR_TRAIN__N_BINS": "4",
    "NIGHTJAR_TRAIN__NUMERIC_WIDTH": "2",
    "NIGHTJAR_TRAIN__MIN_ROWS": "20",
    "NIGHTJAR_TRAIN__BOOTSTRAP_SAMPLES": "20",
    "NIGHTJAR_SETTLE_DAYS": "1",
    "NIGHTJAR_MAX_SCORE_SHIFT": "none",  # models of two epochs lie where they happen to
    "NIGHTJAR_SOURCE": str(REPOSITORY / "infra/sources/market.toml"),
}
QUIET = [
    # Prefect's temporary server and its clients
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="session")
def market_home(spark: SparkSession, tmp_path_factory) -> Path:
    """A folder with two days of raw logs more than the first night sees."""
    root = tmp_path_factory.mktemp("night")
    simulate(Market(150, START, DAYS + 2, 3), root / "raw", lambda done, total: None)
    return root / "home"


@pytest.fixture(scope="module")
def home(spark: SparkSession, market_home: Path) -> Iterator[Path]:
    """The home, with its settings in the environment for the whole module."""
    patch = pytest.MonkeyPatch()
    own = {"NIGHTJAR_HOME": str(market_home), "NIGHTJAR_RAW": str(market_home.parent / "raw")}
    for name, value in (ENVIRONMENT | own).items():
        patch.setenv(name, value)
    patch.setattr(context, "start_session", lambda config, scratch: spark)
    yield market_home
    patch.undo()


_DONE: dict[Path, dict[str, Any]] = {}


@pytest.fixture(scope="module")
def first(home: Path) -> dict[str, Any]:
    """What the first night said; it runs once for all modules."""
    if home not in _DONE:
        _DONE[home] = nightly(NIGHT)
    return _DONE[home]
