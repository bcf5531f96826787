"""What a release's branch has of a table, and what is still to be written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq

from contracts.tables import USER_SCORES, released_named
from flows.lake.lake import Lake
from flows.release.releases import branch_of
from flows.state.receipts import Fingerprint
from flows.steps.candidate import TableUpdate, commit, days_to_write
from flows.steps.writers import WriteResult, WrittenFiles
from jobs.spark.schema import arrow_schema
from tests.flows.lakes import scores_file

D1, D2 = date(2025, 1, 1), date(2025, 1, 2)
SCORES = released_named("user_scores")


class Receipts:
    """Those of the days that were written, of code that has not changed since."""

    def __init__(self, outputs: Mapping[date, Mapping[str, Any]]):
        self.outputs = outputs

    def get(self, stage: str, day: date) -> Any:
        if day not in self.outputs:
            return None
        return SimpleNamespace(fingerprint=FINGERPRINT, outputs=self.outputs[day])


FINGERPRINT = Fingerprint("code", "config", "inputs")


def update(published: int | None, *days: date) -> TableUpdate:
    return TableUpdate(SCORES, dict.fromkeys(days, FINGERPRINT), (), "m", "r1", published)


def empty_file(folder: Path, day: date) -> str:
    path = folder / f"{day}.parquet"
    pq.write_table(arrow_schema(USER_SCORES).empty_table(), path)
    return str(path)


def test_a_day_without_rows_is_committed_and_known_to_be_written(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    full = scores_file(tmp_path, D1, ["ann", "bob"], "r1")
    days = {
        D1: WrittenFiles(2, full.files),
        D2: WrittenFiles(0, (empty_file(tmp_path, D2),)),
    }
    outputs = commit(lake, update(None, D1, D2), WriteResult(2, days))
    snapshot = outputs[D2]["snapshot"]
    (file,) = lake.files(USER_SCORES, snapshot=snapshot)
    assert (file.path, file.rows) == (full.files[0], 2)
    assert {day: kept["rows"] for day, kept in outputs.items()} == {D1: 2, D2: 0}
    receipts = Receipts(outputs)
    # The branch waits to be published; once it is, both days are there, and after it too.
    assert days_to_write(lake, receipts, update(None, D1, D2)) == ([], snapshot)
    assert days_to_write(lake, receipts, update(snapshot, D1, D2)) == ([], snapshot)
    lake.point_main(USER_SCORES, snapshot)
    later = scores_file(tmp_path, date(2025, 1, 3), ["ann"], "r1")
    lake.branch(USER_SCORES, branch_of("r2"))
    newest = lake.commit(USER_SCORES, {later.day: later}, branch=branch_of("r2"))
    assert days_to_write(lake, receipts, update(newest, D1, D2)) == ([], newest)


def test_a_day_without_rows_is_written_again_where_its_release_was_never_published(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path / "lake")
    first = scores_file(tmp_path, D1, ["ann"], "r1")
    published = lake.commit(USER_SCORES, {D1: first})
    days = {D2: WrittenFiles(0, (empty_file(tmp_path, D2),))}
    outputs = commit(lake, update(published, D2), WriteResult(0, days))
    other = scores_file(tmp_path, D1, ["bob"], "r2")
    lake.branch(USER_SCORES, branch_of("r2"))
    newest = lake.commit(USER_SCORES, {D1: other}, branch=branch_of("r2"))
    outputs[D2]["snapshot"] = 7  # of a release that was given up, and whose branch is gone
    assert days_to_write(lake, Receipts(outputs), update(newest, D2)) == ([D2], None)
