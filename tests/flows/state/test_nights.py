"""Nights as the database remembers them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, insert

from flows.report.cost import (
    CLEANING,
    FEATURES,
    TRAINING,
    Cost,
    cost_tonight,
    costs_before,
    usual_seconds,
)
from flows.state.nights import DATA, NIGHT, Night, name_of, nights
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import RELEASES, RUNS, open_database

D1, D2, D3 = (date(2025, 3, n) for n in (1, 2, 3))
T = datetime(2025, 3, 2, 1, tzinfo=UTC)


def write(
    engine: Engine, runs: list[tuple[str, str, datetime]], published: dict[str, datetime]
) -> None:
    """Runs by id, what they are and when they began; and when some of them published."""
    with engine.begin() as connection:
        for run_id, what, at in runs:
            connection.execute(insert(RUNS).values(run_id=run_id, what=what, started_at=at))
        for run_id, at in published.items():
            connection.execute(
                insert(RELEASES).values(
                    release_id=run_id,
                    as_of=D1,
                    model_id="m",
                    fingerprint="f",
                    snapshots={},
                    run_id=run_id,
                    published_at=at,
                )
            )


def test_a_night_took_from_its_first_run_to_its_publication(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    runs = [
        ("old", name_of(NIGHT, D1), T - timedelta(days=9)),  # another try, long before
        ("data", name_of(DATA, D1), T),  # a part, by another worker
        ("one", name_of(NIGHT, D1), T + timedelta(minutes=2)),
        ("stopped", name_of(NIGHT, D2), T),  # published nothing
        ("past", "the backfill of 2025-01-01 to 2025-01-31", T),  # is no night
    ]
    write(engine, runs, {"one": T + timedelta(minutes=5), "past": T + timedelta(minutes=5)})
    assert nights(engine) == (Night(D1, frozenset({"old", "data", "one"}), 300.0),)


def test_a_night_may_take_more_than_a_day_and_a_clock_may_be_set_back(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    runs = [
        ("years", name_of(NIGHT, D1), T),  # the first import of years of logs
        ("before", name_of(NIGHT, D1), T - timedelta(hours=1)),  # another try
        ("set back", name_of(NIGHT, D2), T),
    ]
    write(engine, runs, {"years": T + timedelta(hours=30), "set back": T - timedelta(minutes=1)})
    assert nights(engine) == (
        Night(D1, frozenset({"years", "before"}), 30 * 3600.0),
        Night(D2, frozenset({"set back"}), 0.0),
    )


def test_steps_of_nights_before_come_from_receipts_and_the_usual_is_their_median(
    tmp_path: Path,
) -> None:
    receipts = Receipts(open_database(f"sqlite:///{tmp_path}/n.db"))
    fingerprint = Fingerprint("code", "configuration", "inputs")

    def done(stage: str, day: date, seconds: float, run_id: str) -> Receipt:
        return Receipt(stage, day, fingerprint, {}, 1, 1, seconds, 1, None, run_id, T)

    receipts.write(
        [
            done("clean_orders", D1, 2.0, "one"),
            done("clean_users", D1, 3.0, "one"),
            done("user_days_orders", D1, 4.0, "one, again"),
            done("train", D2, 60.0, "two"),
            done("train", D3, 99.0, "tonight"),  # is not before tonight
        ]
    )
    known = [
        Night(D1, frozenset({"one", "one, again"}), 30.0),
        Night(D2, frozenset({"two"}), 80.0),
        Night(D3, frozenset({"tonight"}), 99.0),
    ]
    before = costs_before(receipts, known, D3)
    assert before == (
        Cost(D1, 30.0, {CLEANING: 5.0, FEATURES: 4.0}),
        Cost(D2, 80.0, {TRAINING: 60.0}),
    )
    alone = Cost(D1, 7.0, {FEATURES: 4.0})  # of the run that resumed the night
    assert cost_tonight(receipts, known, alone) == before[0]
    assert cost_tonight(receipts, known[1:], alone) == alone  # has published nothing
    assert usual_seconds(before) == 55.0
    assert usual_seconds(before, TRAINING) == 30.0
    assert usual_seconds(()) is None
