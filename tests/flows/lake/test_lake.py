"""Real pyiceberg over SQLite: whole days or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFileContent
from pyiceberg.table import ManifestGroupPlanner

from contracts.errors import ContractError
from contracts.tables import QUARANTINE, RECONCILIATION
from contracts.tile_tables import USER_ITEM_DAYS
from flows.lake.lake import Lake
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.flows.lakes import day_file, rows_per_day

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_commit_replaces_whole_days_and_leaves_the_others(lake: Lake, tmp_path: Path) -> None:
    lake.commit(USER_ITEM_DAYS, {d: day_file(tmp_path, d, 2) for d in (D1, D2, D3)})
    first = lake.snapshot(USER_ITEM_DAYS)
    lake.commit(
        USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 5, "again"), D3: WrittenDay(D3, 0, "", ())}
    )
    assert rows_per_day(lake) == {"f-2025-01-01": 2, "again-2025-01-02": 5}
    assert [f.rows for f in lake.files(USER_ITEM_DAYS, D2, D3)] == [5]
    assert len(lake.files(USER_ITEM_DAYS, snapshot=first)) == 3  # the old snapshot is whole


def test_a_file_is_looked_into_before_it_is_committed(lake: Lake, tmp_path: Path) -> None:
    wrong_day = replace(day_file(tmp_path, D1, 2), day=D2)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"user_key": ["a"]}), other)
    with pytest.raises(ContractError) as error:
        lake.commit(
            USER_ITEM_DAYS,
            {
                D2: wrong_day,
                D1: WrittenDay(D1, 1, "", (str(other),)),
                D3: replace(day_file(tmp_path, D3, 2), rows=3),
            },
        )
    assert str(error.value) == "\n".join(
        [
            "user_item_days breaks its contract:",
            f"  {wrong_day.files[0]}: expected landed_on of only 2025-01-02, found 2025-01-01 to 2025-01-01",
            f"  {other}: its columns are not the contract's",
            "  6 rows counted, 5 in the files",
        ]
    )
    assert lake.files(USER_ITEM_DAYS) == ()


def test_history_shares_month_files_and_a_day_of_it_can_be_replaced(
    lake: Lake, tmp_path: Path
) -> None:
    days = [D1 + timedelta(days=n) for n in range(40)]
    for month in (1, 2):
        mine = [d for d in days if d.month == month]
        rows = [
            {"user_key": "u", "kind": "item", "thing_id": "i", "day": d, "landed_on": d}
            for d in mine
        ]
        path = tmp_path / f"month-{month}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), path)
    history = {
        d: WrittenDay(d, 1, "x", (str(tmp_path / f"month-{d.month}.parquet"),)) for d in days
    }
    lake.commit(USER_ITEM_DAYS, history)
    assert rows_per_day(lake) == {"month-1": 31, "month-2": 9}
    assert [f.rows for f in lake.files(USER_ITEM_DAYS, D1, D2)] == [31]

    lake.commit(USER_ITEM_DAYS, {D2: day_file(tmp_path, D2, 5)})  # a night's file, within history
    left = lake.files(USER_ITEM_DAYS, D1, D1 + timedelta(days=31))
    landing_days = (
        pa.concat_tables([pq.read_table(f.path) for f in left]).column("landed_on").to_pylist()
    )
    assert len(landing_days) == 30 + 5
    assert landing_days.count(D2) == 5
    assert rows_per_day(lake)["month-2"] == 9  # untouched

    lake.commit(USER_ITEM_DAYS, history)  # all of it again
    assert sorted(f.rows for f in lake.files(USER_ITEM_DAYS)) == [9, 31]

    missing = {d: written for d, written in history.items() if d != D1}
    with pytest.raises(
        ContractError, match="expected landed_on of 2025-01-02 to 2025-01-31, found"
    ):
        lake.commit(USER_ITEM_DAYS, missing)


def test_a_snapshot_that_is_gone_or_has_delete_files_is_said_in_a_sentence(
    lake: Lake, tmp_path: Path, monkeypatch
) -> None:
    lake.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 3)})
    with pytest.raises(ContractError) as error:
        lake.point_main(USER_ITEM_DAYS, 7)
    assert str(error.value) == (
        "user_item_days: `main` is to be snapshot 7, which the lake's catalogue does not have: it "
        "was expired, or the catalogue is of another time than the database. Put back a catalogue "
        "that has it, or go to the release before: `nightjar rollback`"
    )

    deleting = SimpleNamespace(
        data_file=SimpleNamespace(
            content=DataFileContent.POSITION_DELETES, file_path="file:///deleted.parquet"
        )
    )
    monkeypatch.setattr(
        ManifestGroupPlanner, "plan_manifest_entries", lambda *_: iter([[], [deleting]])
    )
    with pytest.raises(ContractError) as error:
        lake.files(USER_ITEM_DAYS)
    assert str(error.value) == (
        "user_item_days: expected data files alone, found the delete file /deleted.parquet: another "
        "program has deleted rows, which Spark, DuckDB and torch would still read. Rewrite the "
        "table without delete files, or go back to a snapshot from before"
    )


def test_night_after_night_the_manifests_stay_few(lake: Lake, tmp_path: Path) -> None:
    for n in range(28):
        day = D1 + timedelta(days=n)
        lake.commit(USER_ITEM_DAYS, {day: day_file(tmp_path, day, 3, f"night{n}")})
        if n % 5 == 4:
            lake.commit(USER_ITEM_DAYS, {D1: day_file(tmp_path, D1, 4, f"again{n}")})
    iceberg_table = lake.table(USER_ITEM_DAYS)
    snapshot = iceberg_table.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(iceberg_table.io)) <= 20
    assert sum(f.rows for f in lake.files(USER_ITEM_DAYS)) == 27 * 3 + 4
    assert lake.files(USER_ITEM_DAYS, D1, D2)[0].rows == 4


def test_what_is_replaced_within_a_day_can_be_narrowed(lake: Lake, tmp_path: Path) -> None:
    def quarantined(table: str, n: int) -> dict[date, WrittenDay]:
        path = tmp_path / f"{table}{n}.parquet"
        rows = [
            {
                "landed_on": D1,
                "table_name": table,
                "source": "s",
                "reason": "r",
                "file": "f",
                "line": i + 1,
                "row_hash": "h",
            }
            for i in range(n)
        ]
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(QUARANTINE)), path)
        return {D1: WrittenDay(D1, n, "", (str(path),))}

    for table, n in (("orders", 2), ("posts", 3), ("orders", 4)):
        lake.commit(QUARANTINE, quarantined(table, n), {"table_name": table})
    assert sorted(f.rows for f in lake.files(QUARANTINE)) == [3, 4]


def test_small_tables_are_replaced_by_rows(lake: Lake) -> None:
    row = {
        "landed_on": D1,
        "table_name": "orders",
        "source": "s",
        "n_in": 1,
        "n_clean": 1,
        "n_duplicate": 0,
        "n_quarantined": 0,
        "n_erased": 0,
    }
    for n in (1, 2):
        lake.replace_rows(
            RECONCILIATION,
            [row | {"n_in": n}, row | {"landed_on": D2}],
            [D1, D2],
            {"table_name": "orders"},
        )
        lake.replace_rows(
            RECONCILIATION, [row | {"table_name": "posts"}], [D1], {"table_name": "posts"}
        )
    assert sum(f.rows for f in lake.files(RECONCILIATION)) == 3


# Releases
