"""Files and releases for the tests of the lake."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.tables import USER_SCORES
from contracts.tasks import BY_MODEL, TASKS
from contracts.tile_tables import USER_ITEM_DAYS
from flows.lake.lake import Lake
from flows.release.releases import Release, branch_of, now
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))


def day_file(folder: Path, day: date, n: int, name: str = "f") -> WrittenDay:
    path = folder / f"{name}-{day}.parquet"
    row = {"kind": "item", "thing_id": "i", "day": day, "landed_on": day}
    rows = [row | {"user_key": f"u{i}"} for i in range(n)]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_ITEM_DAYS)), path)
    return WrittenDay(day, n, "x", (str(path),))


def rows_per_day(lake: Lake) -> dict[str, int]:
    return {Path(f.path).stem: f.rows for f in lake.files(USER_ITEM_DAYS)}


def scores_file(folder: Path, as_of: date, users: list[str], release: str, **changed) -> WrittenDay:
    row = {c.name: 0.25 for c in USER_SCORES.columns if c.type in ("float", "double")}
    row |= {c.name: 1.0 for c in USER_SCORES.columns if c.name == "score_next_rating_90d_expected"}
    row |= {c.name: [0.25, 0.5] for c in USER_SCORES.columns if c.type == "array<float>"}
    row |= {c.name: ["a", "b"] for c in USER_SCORES.columns if c.type == "array<string>"}
    row |= {c.name: "b" for c in USER_SCORES.columns if c.name.endswith("_top")}
    row |= {task.method: BY_MODEL for task in TASKS}
    rows = [
        row
        | {
            "user_key": u,
            "as_of": as_of,
            "model_id": "m",
            "release_id": release,
            "retrospective": False,
        }
        | changed
        for u in users
    ]
    path = folder / f"scores-{release}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(USER_SCORES)), path)
    return WrittenDay(as_of, len(rows), "", (str(path),))


class FakeRegistry:
    """The outside world: which model is champion."""

    champion = ""
    marked: Mapping[str, int] = {}

    def point_champion(self, model_id: str) -> bool:
        moved, self.champion = self.champion != model_id, model_id
        return moved

    def mark_erased(self, people: Mapping[str, int]) -> list[str]:
        newly_marked = [model for model, n in people.items() if self.marked.get(model) != n]
        self.marked = dict(people)
        return newly_marked


def release_of(lake: Lake, tmp_path: Path, as_of: date, release_id: str) -> Release:
    lake.branch(USER_SCORES, branch_of(release_id))
    snapshot = lake.commit(
        USER_SCORES,
        {as_of: scores_file(tmp_path, as_of, ["a", "b"], release_id)},
        branch=branch_of(release_id),
    )
    return Release(
        release_id, as_of, f"model-{release_id}", "f", {USER_SCORES.name: snapshot}, "run", now()
    )
