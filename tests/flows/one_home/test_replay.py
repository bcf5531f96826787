"""Quarantined rows are cleaned again once a mapping is corrected, and only what depends on them."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from contracts.errors import UsageError
from flows.release.duckdb_views import query
from flows.replay import replay
from tests.flows.first_night import NIGHT

REASON = "currency: no rate for it"


def dropped(home: Path) -> dict[date, int]:
    rows = query(
        home / "nightjar.duckdb",
        f"SELECT landed_on, count(*) FROM quarantine WHERE table_name = 'orders' "
        f"AND reason = '{REASON}' GROUP BY 1",
    )[1]
    return dict(rows)


def orders(home: Path, day: date) -> int:
    return query(
        home / "nightjar.duckdb",
        f"SELECT sum(n_clean)::INT FROM reconciliation WHERE table_name = 'orders' "
        f"AND landed_on = DATE '{day}'",
    )[1][0][0]


@pytest.mark.slow
def test_a_corrected_mapping_brings_a_days_rows_back_and_leaves_the_other_days(
    home: Path, first, tmp_path: Path, monkeypatch
) -> None:
    before = dropped(home)
    assert len(before) > 1
    day = min(before)
    kept = orders(home, day)
    mapping = tmp_path / "market.toml"
    text = Path(os.environ["NIGHTJAR_SOURCE"]).read_text()
    assert 'GBP = "1.17"' in text
    mapping.write_text(text.replace('GBP = "1.17"', 'GBP = "1.17", XTS = "1"'))
    monkeypatch.setenv("NIGHTJAR_SOURCE", str(mapping))

    done = replay(day, reason=REASON)

    changes = {(table, why): (was, now) for table, why, was, now in done["rows"]}
    assert changes["orders", REASON] == (str(before[day]), "0")
    after = dropped(home)
    assert after == {d: n for d, n in before.items() if d != day}
    assert orders(home, day) == kept + before[day]
    newest = query(home / "nightjar.duckdb", "SELECT release_id FROM release")[1][0][0]
    assert newest == done["release_id"] != first["release_id"]


def test_what_is_not_there_is_said(home: Path, first) -> None:
    with pytest.raises(UsageError) as error:
        replay("2025-01-20", reason="the moon")
    assert str(error.value) == (
        "nothing that landed from 2025-01-20 to 2025-01-20 is in quarantine for a reason that "
        "holds 'the moon'; `nightjar quarantine` lists what is"
    )
    with pytest.raises(UsageError, match="day: expected a day such as 2025-01-31, found 'soon'"):
        replay("soon")
    with pytest.raises(UsageError, match="must not lie before day"):
        replay(NIGHT, until=NIGHT - timedelta(days=1))
