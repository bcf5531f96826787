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
_TEXTS, _NUMBERS = ("user_key", "target_id"), ("day", "units")
_ROWS = pa.schema([("pair", pa.string()), ("day", pa.date32()), ("units", pa.int64())])
Filters = list[tuple[str, str, object]]


def pairs_of(rows: pa.Table) -> pa.ChunkedArray:
    """Of each row its user and target, as one text: keys of users are all equally long."""
    return pc.binary_join_element_wise(*(rows[name].cast(pa.string()) for name in _TEXTS), " ")


def undone_pairs(
    files: Sequence[str], target: str, first: date, end: date, before: date
) -> pa.StringArray:
    """Users and targets, as `pairs_of` says them, whose orders from `first` until `end` were all
    undone `before` a day.

    What was ordered before `first` does not matter: newest first, it is undone last. Orders of a
    day come before what undoes them. Only orders of pairs with something undone are in memory.

    Args:
        files: of `interactions`, whose rows landed before the day.
        target: the kind of targets.
        first: first day of the window.
        end: first day after the window.
        before: midnight up to which all is known.
    """
    since: Filters = [("target_kind", "==", target), ("day", ">=", first), ("day", "<", before)]
    undoing = _rows(files, [*since, ("event", "==", UNDO)])
    pairs = pc.unique(undoing["pair"])
    orders = _rows(files, [*since, ("event", "==", ORDER)], pairs) if len(pairs) else undoing
    steps = defaultdict(list)
    for sign, rows in ((1, orders), (-1, undoing)):
        columns = (rows[name].to_pylist() for name in _ROWS.names)
        for pair, day, units in zip(*columns, strict=True):
            steps[pair].append((day, -sign, sign * units))
    undone = [pair for pair, of_pair in steps.items() if not _is_left(sorted(of_pair), end)]
    return pa.array(undone, pa.string())


def _is_left(steps: Sequence[tuple[date, int, int]], end: date) -> bool:
    """Whether anything is left of what was ordered before a day; steps in order of time."""
    left = units_left(units for _, _, units in steps)
    return any(left_of for (day, _, _), left_of in zip(steps, left, strict=True) if day < end)


def _rows(files: Sequence[str], filters: Filters, among: pa.Array | None = None) -> pa.Table:
    """Pair, day and units of rows; of some pairs."""
    tables = [_ROWS.empty_table()]
    for path in files:
        read = pq.read_table(path, columns=[*_TEXTS, *_NUMBERS], filters=filters)
        rows = read.select(_NUMBERS).add_column(0, "pair", pairs_of(read)).cast(_ROWS)
        tables.append(rows if among is None else rows.filter(pc.is_in(rows["pair"], among)))
    return pa.concat_tables(tables)
