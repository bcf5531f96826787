"""Which orders of a window were undone, as far as a day knows."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.recommendation_tables import INTERACTIONS
from jobs.spark.schema import arrow_schema
from models.ranking.undone_orders import undone_pairs
from tests.models.ranking.small_market import bought

FIRST = date(2025, 3, 1)


def line(item: str, days: int, units: int, event: str = "order", user: str = "ann") -> Any:
    return {**bought(user, item, FIRST + timedelta(days=days), event), "units": units}


def test_orders_of_a_window_are_undone_newest_first_and_not_by_what_only_happens_later(
    tmp_path: Path,
) -> None:
    """What is known is known a fortnight later; each half of the rows lies in a file of its own."""
    rows = [
        line("whole", 1, 2), line("whole", 9, 1, "undo"), line("whole", 11, 1, "undo"),
        line("part", 1, 2), line("part", 2, 1, "undo"),
        line("later", 1, 1), line("later", 14, 1, "undo"),
        line("earlier", 0, 3, "undo"), line("earlier", 3, 1),
        line("second", 1, 1), line("second", 8, 1), line("second", 9, 1, "undo"),
        line("both", 1, 1), line("both", 8, 1), line("both", 9, 2, "undo"),
        line("untouched", 1, 1), line("whole", 1, 1, user="bob"),
    ]  # fmt: skip
    paths = []
    for n in range(2):
        paths.append(str(tmp_path / f"{n}.parquet"))
        pq.write_table(pa.Table.from_pylist(rows[n::2], arrow_schema(INTERACTIONS)), paths[-1])
    week, fortnight = FIRST + timedelta(days=7), FIRST + timedelta(days=14)
    undone = undone_pairs(paths, "item", FIRST, week, fortnight)
    assert sorted(undone.to_pylist()) == ["ann both", "ann whole"]
    day_after = fortnight + timedelta(days=1)
    found = undone_pairs(paths, "item", FIRST, week, day_after)
    assert sorted(found.to_pylist()) == ["ann both", "ann later", "ann whole"]
    assert undone_pairs(paths, "ad", FIRST, week, day_after).to_pylist() == []
