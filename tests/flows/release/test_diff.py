"""What two releases say of the same users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.tasks import task_named
from flows.release.diff import moved_scores

CHURN, VIEWS = (task_named(name) for name in ("churn_28d", "view_7d"))


def written(path: Path, users: Sequence[str], *tasks: str) -> list[str]:
    """A file of scores of some tasks, higher from user to user."""
    n = len(users)
    columns = {"user_key": pa.array(users)}
    for name in tasks:
        task = task_named(name)
        columns[task.score_columns()[0].name] = pa.array([i / n for i in range(n)], pa.float32())
        columns[task.percentile] = pa.array([i / n for i in range(n)], pa.float32())
    pq.write_table(pa.table(columns), path)
    return [str(path)]


def test_a_task_that_was_declared_since_is_not_compared(tmp_path: Path) -> None:
    before = written(tmp_path / "a.parquet", [f"u{n}" for n in range(10)], CHURN.name)
    after = written(tmp_path / "b.parquet", [f"u{n}" for n in range(1, 11)], CHURN.name, VIEWS.name)
    only_before, only_after, rows = moved_scores(before, after)
    assert (only_before, only_after) == (1, 1)
    (row,) = rows
    # Of nine users in both, each is a decile lower in the later file; none falls by two.
    assert row[:5] == (CHURN.name, 9, "100.0%", "0.0%", "0.0%")
