"""A night on nine days of logs, from which nothing can be trained: published without scores."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.errors import ContractError, UsageError
from contracts.tables import NO_MODEL
from flows.engine import spark_provider, spark_stages
from flows.engine.run import Run
from flows.monitor.lineage import explain
from flows.nightly import nightly
from flows.release.duckdb_views import query
from flows.release.releases import Releases
from flows.settings import read_settings
from flows.state.receipts import Receipts
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.flows.conftest import ENVIRONMENT

START, DAYS = date(2025, 1, 1), 9
NIGHT = START + timedelta(days=DAYS)


WRONG = """
name = "chat"
[sources.log]
files = "{day}.csv"
format = "csv"
columns = ["id", "user", "at"]
[sources.log.tables.engagements]
engagement_id = "id"
user_id = "user"
verb = "'view'"
target_kind = "'post'"
target_id = "id / user"
where = "length(id)"
occurred_at = "at"
"""


def test_a_night_stops_at_wrong_expressions_before_a_file_is_landed(
    spark: SparkSession, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/2025-01-09.csv").write_text("id,user,at\na,ann,2025-01-09T10:00:00\n")
    (tmp_path / "m.toml").write_text(WRONG)
    own = {"HOME": tmp_path / "home", "RAW": tmp_path / "raw", "SOURCE": tmp_path / "m.toml"}
    for name, value in (ENVIRONMENT | {f"NIGHTJAR_{k}": str(v) for k, v in own.items()}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(spark_provider, "start_session", lambda config, scratch: spark)
    landed: list[str] = []
    monkeypatch.setattr(spark_stages, "land", lambda night, source, say: landed.append(source.name))
    with pytest.raises(UsageError) as stopped:
        nightly(NIGHT, no_train=True)
    assert str(stopped.value) == (
        "the mapping has expressions that are wrong:\n"
        '  sources.log.tables.engagements.target_id: id / user: Cannot resolve "(id / user)" due to '
        'data type mismatch: the binary operator requires the input type ("DOUBLE" or "DECIMAL"), '
        'not "STRING". Every raw column is text: convert it first, such as '
        "try_cast(id as decimal(18, 6))\n"
        "  sources.log.tables.engagements.where: length(id): expected a condition, which is true or "
        "false, found one that gives int"
    )
    assert landed == []


@pytest.mark.slow
def test_a_night_without_a_model_publishes_all_but_scores(
    spark: SparkSession, tmp_path: Path, monkeypatch
) -> None:
    simulate(Market(40, START, DAYS, 3), tmp_path / "raw", lambda done, total: None)
    own = {"NIGHTJAR_HOME": str(tmp_path / "home"), "NIGHTJAR_RAW": str(tmp_path / "raw")}
    for name, value in (ENVIRONMENT | own).items():
        monkeypatch.setenv(name, value)
    started: list[Path] = []

    def start(config: object, scratch: Path) -> SparkSession:
        started.append(scratch)
        return spark

    monkeypatch.setattr(spark_provider, "start_session", start)
    with pytest.raises(ContractError, match="no task can be trained as of 2025-01-10: the data"):
        nightly(NIGHT)
    assert started == []  # it is said in the first second
    assert [*Receipts(Run(read_settings(), NIGHT).engine).all()] == []

    done = nightly(NIGHT, no_train=True)
    night = Run(read_settings(), NIGHT)
    release = Releases(night.engine).current()
    assert release is not None
    assert (release.release_id, release.model_id) == (done["release_id"], NO_MODEL)
    database = tmp_path / "home" / "nightjar.duckdb"
    (known,) = query(database, "SELECT count(*) FROM user_features")[1][0]
    assert known > 0
    result = query(
        database,
        "SELECT count(*), count(DISTINCT user_key), count(score_purchase_7d), "
        "count(method_churn_28d), any_value(model_id) FROM newest_scores",
    )
    assert result[1] == [(known, known, 0, 0, NO_MODEL)]
    page = Path(done["report"]).read_text()
    assert f"<li>Nobody is scored: {known} users in the release without a score</li>" in page
    (who,) = query(database, "SELECT min(user_key) FROM user_scores")[1][0]
    assert explain(night, who, NIGHT, lambda line: None).mismatches == []

    again = nightly(NIGHT, no_train=True)
    assert (again["release_id"], again["recomputed"]) == (done["release_id"], 0)
