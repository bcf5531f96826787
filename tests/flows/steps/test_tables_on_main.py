"""A process writes days of a table on `main`: reused, stopped where nothing changed, never halves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS, REC_RETRIEVED
from contracts.table import Table
from flows.engine.accounting import Work
from flows.engine.run_context import RunContext
from flows.planning.stage_list import StageDays, fixed
from flows.state.receipts import Fingerprint
from flows.steps import tables_on_main
from flows.steps.tables_on_main import DaysToWrite, Notes, table_on_main
from flows.storage.home import Home
from jobs.spark.schema import arrow_schema
from tests.flows.steps.simulated_scores import (
    FIRST,
    SETS,
    SimulatedNight,
    nights_in,
    some_value,
    steps_without_servers,
)

DAYS = (FIRST - timedelta(days=30), FIRST)
CODE = ("models.ranking.metrics",)


@dataclass
class Process:
    """Stands in for the process: a row of each user, and what it was asked."""

    users: Sequence[str] = ("ann", "bob")
    setting: str = "a"
    asked: list[tuple[date, ...]] = field(default_factory=list)
    removed: list[Home] = field(default_factory=list)
    """Of each time that what is left of a killed one was removed, the home."""

    def write(self, context: RunContext, days: DaysToWrite) -> Notes:
        self.asked.append(tuple(days.days))
        for day in days.days:
            assert {name: len(files) for name, files in days.inputs[day].items()} == {
                "rec_items": 1,
                "rec_histories": 1,
            }
            rows = [{c.name: some_value(c) for c in REC_RETRIEVED.columns} for _ in self.users]
            of_day = [
                row | {"user_key": u, "as_of": day} for row, u in zip(rows, self.users, strict=True)
            ]
            pq.write_table(
                pa.Table.from_pylist(of_day, arrow_schema(REC_RETRIEVED)), days.path(day)
            )
        return {day: {"users": list(self.users)} for day in days.days}

    def run(self, night: SimulatedNight, **entry: Any) -> None:
        stage = table_on_main(
            "rec_retrieved", CODE, lambda context: self.setting, self.write, self.removed.append
        )
        stage.execute(night, StageDays("rec_retrieved", fixed(DAYS), **entry), {})


def commit(night: SimulatedNight, table: Table, day: date, digest: str) -> None:
    """A row of a table of Spark's, as its stage leaves it."""
    path = Path(night.lake.staging(night.run_id, table.name)) / f"{day}-{digest}.parquet"
    row = {c.name: some_value(c) for c in table.columns} | {"as_of": day}
    pq.write_table(pa.Table.from_pylist([row], arrow_schema(table)), path)
    written = tables_on_main.checked_day(table, day, str(path))
    snapshot = night.lake.commit(table, {day: written})
    outputs = {day: {table.name: {"digest": digest, "rows": 1, "snapshot": snapshot}}}
    fingerprint = Fingerprint("code", "config", digest)
    night.note(Work(table.name, {day: fingerprint}, 1, 1, 0.1, 1), outputs, print)
    night.fingerprints.invalidate(table.name)


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedNight:
    steps_without_servers(monkeypatch)
    monkeypatch.setattr(tables_on_main, "say", lambda line: None)
    monkeypatch.setattr(tables_on_main, "write_days", tables_on_main.write_days.fn)
    opened = nights_in(tmp_path, monkeypatch)(0, SETS[-1])
    for day in DAYS:
        for table in (REC_ITEMS, REC_HISTORIES):
            commit(opened, table, day, "one")
    return opened


def rows(night: SimulatedNight) -> list[tuple[date, str]]:
    files = [file.path for file in night.lake.files(REC_RETRIEVED)]
    read = [row for path in files for row in pq.read_table(path).to_pylist()]
    return sorted((row["as_of"], row["user_key"]) for row in read)


ALL = [(day, user) for day in DAYS for user in ("ann", "bob")]


def test_a_day_is_computed_once_and_again_only_where_what_it_reads_moved(
    night: SimulatedNight,
) -> None:
    process = Process()
    process.run(night)
    assert rows(night) == ALL
    process.run(night)
    assert process.asked == [DAYS]
    commit(night, REC_ITEMS, DAYS[0], "two")
    process.run(night)
    assert process.asked == [DAYS, DAYS[:1]]
    assert rows(night) == ALL
    assert [r.recomputed for r in night.reports if r.stage == "rec_retrieved"] == [2, 0, 1]
    receipt = night.receipts.get("rec_retrieved", DAYS[0])
    assert receipt is not None
    assert receipt.outputs["rec_retrieved"]["users"] == ["ann", "bob"]


def test_another_setting_computes_again_and_equal_rows_invalidate_nothing_after_it(
    night: SimulatedNight,
) -> None:
    process = Process()
    process.run(night)

    def read_by_others() -> str:
        return night.fingerprints.outputs("rec_retrieved", "rec_retrieved").hash(
            None, date.max, None
        )

    before = read_by_others()
    process.setting = "b"
    process.run(night)
    assert process.asked == [DAYS, DAYS]
    assert read_by_others() == before
    process.users, process.setting = ("ann", "eve"), "c"
    process.run(night)
    assert read_by_others() != before


def test_killed_between_commit_and_receipts_the_days_are_replaced_and_not_doubled(
    night: SimulatedNight, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    process = Process()
    with monkeypatch.context() as patch:
        patch.setattr(night.receipts, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            process.run(night)
    assert night.receipts.days("rec_retrieved") == ()
    process.run(night)
    assert process.asked == [DAYS, DAYS]
    assert rows(night) == ALL


def test_days_go_in_chunks_each_of_which_is_kept(
    night: SimulatedNight, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, write = Process(), Process.write

    def killed_at_the_second(self: Process, context: RunContext, days: DaysToWrite) -> Notes:
        notes = write(self, context, days)
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        return notes

    monkeypatch.setattr(Process, "write", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        process.run(night, chunk_days=1)
    assert len(process.removed) == 1
    process.run(night, chunk_days=1)
    assert len(process.removed) == 2, "what the killed one has done stays until its rows are there"
    assert process.asked == [DAYS[:1], DAYS[1:], DAYS[1:]]
    assert rows(night) == ALL


def test_rows_that_break_the_contract_are_never_committed(night: SimulatedNight) -> None:
    process = Process(users=("ann", "ann"))
    with pytest.raises(ContractError, match="1 row of the grain of the one before"):
        process.run(night)
    assert rows(night) == []
    assert night.receipts.days("rec_retrieved") == ()


def test_a_day_without_rows_is_known_to_have_none(night: SimulatedNight) -> None:
    process = Process(users=())
    process.run(night)
    process.run(night)
    assert process.asked == [DAYS]
    assert rows(night) == []
