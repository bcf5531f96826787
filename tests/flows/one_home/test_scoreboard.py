"""Published scores beside what then happened."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from contracts.tables import LABELS, SCOREBOARD
from flows.engine.fingerprints import decide
from flows.engine.run import Run
from flows.engine.spark_stages import compute
from flows.monitor import scoreboard
from flows.release.duckdb_views import query
from flows.settings import read_settings
from tests.flows.first_night import NIGHT


def due_of(run: Run) -> tuple[date, ...]:
    return scoreboard.due(run.context, run.state)


def test_a_week_later_the_weeks_scores_are_compared_once(home: Path, first) -> None:
    """The market's logs end two days after the night; that nothing more landed is known too."""
    lines: list[str] = []
    settings = read_settings()
    assert NIGHT not in due_of(Run(settings, NIGHT))
    too_early = Run(settings, NIGHT + timedelta(days=7))  # a day is left for late rows
    assert NIGHT not in due_of(too_early)

    night = Run(settings, NIGHT + timedelta(days=8))
    due = [day for day in due_of(night) if day == NIGHT]
    assert due == [NIGHT]
    compute(night, "labels", [NIGHT], lines.append)
    rows = scoreboard.compare(night, due, lines.append)

    tasks = {row["task"] for row in rows}
    assert "purchase_7d" in tasks
    assert "purchase_30d" not in tasks
    row = next(r for r in rows if r["task"] == "purchase_7d" and r["segment"] == "all")
    (score,) = query(
        home / "nightjar.duckdb",
        "SELECT avg(score_purchase_7d) FROM user_scores JOIN user_features USING (user_key, as_of) "
        f"WHERE as_of = DATE '{NIGHT}' AND n_orders_all > 0",
    )[1][0]
    assert row["mean_predicted"] == pytest.approx(score)
    labels = [
        label
        for file in night.lake.files(LABELS, NIGHT, NIGHT + timedelta(days=1))
        for label in pq.read_table(file.path)["label_purchase_7d"].to_pylist()
        if label is not None
    ]
    assert row["n_users"] == len(labels)
    assert row["mean_observed"] == pytest.approx(sum(labels) / len(labels))
    stored = night.lake.table(SCOREBOARD).scan().to_arrow()
    assert stored.num_rows == len(rows)

    again = Run(settings, NIGHT + timedelta(days=8))
    assert NIGHT not in due_of(again)
    a_month_later = Run(settings, NIGHT + timedelta(days=31))
    assert NIGHT in due_of(a_month_later)
    fingerprint = scoreboard.scoreboard_fingerprint(
        a_month_later.context, a_month_later.receipts, NIGHT
    )
    receipt = a_month_later.receipts.get("scoreboard", NIGHT)
    more = decide("scoreboard", NIGHT, fingerprint, receipt)
    assert more.reason == "configuration changed"  # windows of 28 and 30 days have closed as well


def test_a_drift_must_be_large_and_more_than_chance() -> None:
    def row(predicted: float, error: float, segment: str = "all") -> dict[str, object]:
        return {
            "task": "t",
            "as_of": NIGHT,
            "segment": segment,
            "mean_predicted": predicted,
            "mean_observed": 0.1,
            "standard_error": error,
        }

    assert scoreboard.drifted([row(0.2, 0.01)], 0.5)[0].predicted == 0.2
    assert not scoreboard.drifted([row(0.14, 0.001)], 0.5)  # not far enough
    assert not scoreboard.drifted([row(0.2, 0.05)], 0.5)  # few users: chance
    assert not scoreboard.drifted([row(0.2, 0.01, "new")], 0.5)
    assert not scoreboard.drifted([row(0.2, 0.01)], None)
