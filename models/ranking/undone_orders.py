"""Pairs of users and items of which nothing is left that was ordered in a window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.surfaces import UNDO
from contracts.units_left import units_left

ORDER = "order"
_COLUMNS = ("user_key", "target_id", "event", "day", "units")


def undone_pairs(
    files: Sequence[str], target: str, first: date, end: date, before: date
) -> set[tuple[str, str]]:
    """Users and targets whose orders from `first` until `end` were all undone `before` a day.

    What was ordered before `first` does not matter: newest first, it is undone last. Orders of a
    day come before what undoes them.

    Args:
        files: of `interactions`, whose rows landed before the day.
        target: the kind of targets.
        first: first day of the window.
        end: first day after the window.
        before: midnight up to which all is known.
    """
    since = [("target_kind", "==", target), ("day", ">=", first), ("day", "<", before)]
    undoing = _rows(files, [*since, ("event", "==", UNDO)])
    if not undoing.num_rows:
        return set()
    users = pc.unique(undoing["user_key"])
    orders = _rows(files, [*since, ("event", "==", ORDER), ("user_key", "in", users.to_pylist())])
    steps = defaultdict(list)
    for row in pa.concat_tables([undoing, orders]).to_pylist():
        undoes = row["event"] == UNDO
        step = (row["day"], undoes, -row["units"] if undoes else row["units"])
        steps[row["user_key"], row["target_id"]].append(step)
    return {pair for pair, of_pair in steps.items() if not _is_left(sorted(of_pair), end)}


def _is_left(steps: Sequence[tuple[date, bool, int]], end: date) -> bool:
    """Whether anything is left of what was ordered before a day; steps in order of time."""
    left = units_left(units for _, _, units in steps)
    return any(left_of for (day, _, _), left_of in zip(steps, left, strict=True) if day < end)


def _rows(files: Sequence[str], filters: list[tuple[str, str, object]]) -> pa.Table:
    tables = [pq.read_table(path, columns=list(_COLUMNS), filters=filters) for path in files]
    schema = pa.schema(
        [
            *((name, pa.string()) for name in _COLUMNS[:3]),
            ("day", pa.date32()),
            ("units", pa.int64()),
        ]
    )
    return pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])
