"""A few rows of a night's scores, without saying whose: what shows them is copied and kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from contracts.kinds import MultiClass, MultiLabel, ZeroInflatedLogNormal
from contracts.tables import USER_SCORES
from contracts.tasks import Task
from flows.release.duckdb_views import query

USERS, MOST_TASKS = 5, 8

Sample = tuple[list[str], list[tuple[Any, ...]]]
"""Names of columns, and rows."""


def sample(database: Path, as_of: date, tasks: Sequence[Task]) -> Sample:
    """The answer to each task, as a person would ask for it, for the first few users of the day."""
    asked = tasks[:MOST_TASKS]
    answers = "".join(f", {answer(task)} AS {task.name}" for task in asked)
    return query(
        database,
        f"""
        SELECT row_number() OVER (ORDER BY s.user_key) AS "user"{answers}
        FROM {USER_SCORES.name} s WHERE as_of = DATE '{as_of}' ORDER BY s.user_key LIMIT {USERS}""",
    )


def answer(task: Task) -> str:
    """SQL for what the scores say of one user, as one value: a number or a name."""
    columns = [column.name for column in task.score_columns()]
    match task.kind:
        case MultiLabel():
            return columns[2]
        case MultiClass(classes=classes):
            chances = ", ".join(columns[: len(classes)])
            names = ", ".join(f"'{name}'" for name in classes)
            return f"[{names}][list_position([{chances}], greatest({chances}))]"
        case ZeroInflatedLogNormal():
            return _rounded(columns[1])
        case _:
            return _rounded(columns[0])


def _rounded(column: str) -> str:
    return f"round({column}::DOUBLE, 3)"
