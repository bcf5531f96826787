"""Why rows were dropped, tonight beside the days before."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb

from flows.monitor.drop_reasons import DropReason, drop_reasons

AS_OF = date(2025, 3, 20)
TONIGHT = AS_OF - timedelta(days=1)


def release(tmp_path: Path, dropped: dict[int, int]) -> Path:
    """A release with ten rows in on each of the last twenty days; so many dropped so many nights
    ago."""
    database = tmp_path / "release.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE release_files (path VARCHAR)")
        connection.execute(
            f"CREATE TABLE reconciliation AS SELECT 'orders' AS table_name, 'shop' AS source, "
            f"DATE '{TONIGHT}' - i::INT AS landed_on, 10 AS n_in FROM range(20) t(i)"
        )
        connection.execute(
            "CREATE TABLE quarantine "
            "(table_name VARCHAR, source VARCHAR, landed_on DATE, reason VARCHAR)"
        )
        for nights_ago, n in dropped.items():
            connection.execute(
                f"INSERT INTO quarantine SELECT 'orders', 'shop', DATE '{TONIGHT}' - {nights_ago}, "
                f"'price: no number' FROM range({n})"
            )
    return database


def test_a_reason_has_its_rows_of_tonight_of_the_week_before_and_of_all_time(
    tmp_path: Path,
) -> None:
    database = release(tmp_path, {0: 8, 1: 2, 3: 1, 8: 5, 19: 4})
    (reason,) = drop_reasons(database, TONIGHT, AS_OF)
    assert reason == DropReason(
        "shop", "orders", "price: no number", 8, 10,
        (0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.2),  # of a week
        20, "     ▅    ▁ ▂█", TONIGHT,
    )  # fmt: skip
    assert (reason.usual, reason.is_beyond_usual) == (0, True)


def test_what_came_only_before_is_listed_with_none_tonight(tmp_path: Path) -> None:
    (reason,) = drop_reasons(release(tmp_path, {2: 3}), TONIGHT, AS_OF)
    assert (reason.tonight, reason.ever, reason.newest) == (0, 3, TONIGHT - timedelta(days=2))


def test_a_first_night_is_all_there_is_and_has_no_usual(tmp_path: Path) -> None:
    (reason,) = drop_reasons(release(tmp_path, {0: 1, 9: 2}), None, AS_OF)
    assert (reason.tonight, reason.rows_in, reason.ever) == (3, 200, 3)
    assert (reason.shares_before, reason.usual, reason.is_beyond_usual) == ((), None, False)
