"""Tables of earlier versions go, with their files and receipts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.tables import RETIRED, TABLES
from contracts.tile_tables import USER_DAYS, USER_ITEM_DAYS
from flows.engine.run import drop_retired
from flows.lake.lake import Lake
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import open_database
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.flows.lakes import day_file

DAY = date(2025, 1, 1)
NOW = datetime(2025, 2, 1, tzinfo=UTC)


def test_a_table_that_nothing_reads_any_more_goes_with_its_files_and_receipts(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path / "lake")
    rows = [dict.fromkeys(USER_DAYS.names, 0) | {"user_key": "ann", "day": DAY, "landed_on": DAY}]
    tiles = tmp_path / "lake" / "tiles.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_DAYS)), tiles)
    lake.commit(USER_DAYS, {DAY: WrittenDay(DAY, 1, "x", (str(tiles),))})
    lake.commit(USER_ITEM_DAYS, {DAY: day_file(tmp_path, DAY, 2)})
    engine = open_database(f"sqlite:///{tmp_path}/nightjar.db")
    receipts = Receipts(engine)
    receipts.write(
        Receipt(stage, DAY, Fingerprint("", "", ""), {}, 1, 1, 1.0, 1, None, "one", NOW)
        for stage in ("user_days", "user_item_days")
    )

    for _ in range(2):  # the second time there is nothing left to drop
        drop_retired(lake, receipts)
    assert not tiles.exists()
    assert [receipts.days(stage) for stage in ("user_days", "user_item_days")] == [(), (DAY,)]
    assert list(Receipts(engine).days("user_days")) == []
    assert [file.rows for file in lake.files(USER_ITEM_DAYS)] == [2]
    assert list(lake.named_files())
    engine.dispose()


def test_no_table_of_the_contracts_is_retired() -> None:
    assert {table.name for table in TABLES}.isdisjoint(RETIRED)
