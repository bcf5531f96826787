"""The pages ask the database for what they show, however long the home has been in use."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from flows.release.releases import Release
from flows.server.pages import queries
from flows.server.pages.queries import DAYS, Pages
from flows.server.pages.queries import RELEASES as LISTED
from flows.settings import NightjarSettings
from flows.state.schema import CURRENT, RECEIPTS, RELEASES, open_database

FIRST, NIGHTS = date(2020, 1, 1), 400
STAGES = ("train", "score", "labels", "examples", "user_days_orders")


def test_a_page_reads_the_nights_that_it_shows_and_no_others(tmp_path: Path) -> None:
    settings = NightjarSettings(home=tmp_path)
    years_of_nights(settings)
    pages = Pages(settings)
    asked: list[tuple[str, Any]] = []

    @event.listens_for(pages._engine, "before_cursor_execute")
    def listen(connection, cursor, statement, parameters, *_: object) -> None:
        asked.append((statement, parameters))

    last = FIRST + timedelta(days=NIGHTS - 1)
    (quality,) = pages.quality()
    assert (quality["task"], quality["day"], quality["model"]) == ("churn_28d", last, 0.75)
    trained = pages.trained("churn_28d")
    assert [row["day"] for row in trained] == [
        last - timedelta(days=n) for n in reversed(range(DAYS))
    ]
    assert pages.trained("view_7d") == []
    releases = pages.releases()
    assert [row["release"].as_of for row in releases] == [
        last - timedelta(days=n) for n in range(LISTED)
    ]
    assert [row["current"] for row in releases] == [True] + [False] * (LISTED - 1)

    assert len(asked) == 5
    with pages._engine.connect() as connection:
        rows = [len(connection.exec_driver_sql(*one).fetchall()) for one in tuple(asked)]
    assert sorted(rows) == sorted([1, DAYS, DAYS, LISTED, 1])
    pages._engine.dispose()


def test_reasons_are_remembered_of_the_users_that_were_asked_for_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = NightjarSettings(home=tmp_path)
    years_of_nights(settings)
    pages, explained = Pages(settings), []

    def explain(release: Release, key: str) -> dict[str, str]:
        explained.append(key)
        return {"of": key}

    monkeypatch.setattr(queries, "EXPLAINED", 2)
    monkeypatch.setattr(pages, "_explain", explain)
    for key in ("ann", "bob", "ann", "cid", "ann", "bob"):
        assert pages.reasons(key) == {"of": key}
    assert explained == ["ann", "bob", "cid", "bob"]
    pages._engine.dispose()


def years_of_nights(settings: NightjarSettings) -> None:
    """Receipts of some stages, and a release, of each of so many nights."""
    engine = open_database(settings.receipts_url)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    days = [FIRST + timedelta(days=n) for n in range(NIGHTS)]
    metrics = {who: {"auc": value} for who, value in (("model", 0.75), ("twin", 0.5))}
    task_metrics = {"main": "auc", "test_rows": 9, **metrics, "constant": {"auc": 0.5}}
    with engine.begin() as connection:
        connection.execute(
            insert(RECEIPTS),
            [
                {
                    "stage": stage, "day": day, "code": "c", "configuration": "f", "inputs": "i",
                    "outputs": {"tasks": {"churn_28d": task_metrics}}, "rows_in": 1, "rows_out": 1,
                    "seconds": 1.0, "bytes": 1, "run_id": "run", "finished_at": at,
                }
                for stage in STAGES
                for day in days
            ],
        )  # fmt: skip
        connection.execute(
            insert(RELEASES),
            [
                {
                    "release_id": f"r-{day}", "as_of": day, "model_id": "m", "fingerprint": "f",
                    "snapshots": {"user_scores": 1}, "run_id": "run", "published_at": at,
                    "days": [str(day)],
                }
                for day in days
            ],
        )  # fmt: skip
        connection.execute(insert(CURRENT).values(id=1, release_id=f"r-{days[-1]}"))
    engine.dispose()
