"""What users did, from a day on, with what a surface recommends.

Letters: N pairs of a user and an item, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.surfaces import Surface
from models.data.label_layout import as_numpy
from models.ranking.metrics import NO_ITEM, Array
from models.ranking.undone_orders import ORDER, pairs_of, undone_pairs

_PAIR = ("user_key", "target_id")
_COLUMNS = (*_PAIR, "event")


@dataclass(frozen=True)
class Happened:
    """Pairs of users (indices among some) and items (indices of the surface's)."""

    rows: Array
    items: Array
    is_goal: Array
    """(N,) whether it makes the item relevant to the user."""
    worth: Array
    """(N,) of all outcomes, each once, together."""
    events: Array
    """(N,) which events of the surface they were, as bits: the first of its outcomes is 1, the
    second 2, the third 4."""

    def worth_at(self, lists: Array, n_items: int) -> Array:
        """(U, K) worth of what happened with the items of lists (U, K) of those users."""
        order = np.argsort(pairs := self.rows * n_items + self.items)
        asked = np.where(lists == NO_ITEM, -1, np.arange(len(lists))[:, None] * n_items + lists)
        if not len(pairs):
            return np.zeros(lists.shape)
        at = np.minimum(np.searchsorted(pairs[order], asked), len(pairs) - 1)
        worth: Array = np.where(pairs[order][at] == asked, self.worth[order][at], 0.0)
        return worth


@dataclass(frozen=True)
class HappenedToAll:
    """Pairs of whoever did something."""

    users: pa.Array
    items: Array
    is_goal: Array
    worth: Array
    events: Array

    def of(self, users: pa.Array) -> Happened:
        """The pairs of some users, who become the places that they have among `users`."""
        at = pc.index_in(self.users, value_set=users)
        known = as_numpy(pc.is_valid(at))
        rows = as_numpy(pc.fill_null(at, NO_ITEM)).astype(np.int64)[known]
        return Happened(
            rows,
            self.items[known],
            self.is_goal[known],
            self.worth[known],
            self.events[known],
        )


def happened_since(
    files: Sequence[str],
    surface: Surface,
    as_of: date,
    item_ids: pa.Array,
    before: date = date.max,
) -> HappenedToAll:
    """Outcomes in the surface's horizon from `as_of` on, as far as they happened `before` a
    midnight, of files of `interactions`, with items of `item_ids`: those that were known as of the
    day. Orders of which nothing is left are none."""
    end = as_of + timedelta(days=surface.horizon_days)
    chosen = [
        ("target_kind", "==", surface.target),
        ("event", "in", surface.events),
        ("day", ">=", as_of),
        ("day", "<", min(end, before)),
    ]
    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    tables = [pq.read_table(path, columns=list(_COLUMNS), filters=chosen) for path in files]
    rows = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])
    rows = rows.group_by(list(_COLUMNS)).aggregate([])  # an event of several days is one
    if ORDER in surface.events:
        undone = undone_pairs(files, surface.target, as_of, end, before)
        is_undone = pc.is_in(pairs_of(rows), value_set=undone)
        rows = rows.filter(pc.invert(pc.and_(pc.equal(rows["event"], ORDER), is_undone)))
    of_event = as_numpy(pc.index_in(rows["event"], value_set=pa.array(surface.events)))
    is_goal = np.array([outcome.is_goal for outcome in surface.outcomes], dtype=np.int8)
    worth = np.array([outcome.worth for outcome in surface.outcomes], dtype=np.float64)
    pairs = (
        rows.append_column("is_goal", pa.array(is_goal[of_event]))
        .append_column("worth", pa.array(worth[of_event]))
        .append_column("bit", pa.array(1 << of_event.astype(np.int64)))
        .group_by(list(_PAIR))
        .aggregate([("is_goal", "max"), ("worth", "sum"), ("bit", "sum")])
    )
    at = pc.index_in(pairs["target_id"], value_set=item_ids)
    pairs = pairs.append_column("item", at).filter(pc.is_valid(at))
    return HappenedToAll(
        pairs["user_key"].combine_chunks(),
        as_numpy(pairs["item"]).astype(np.int64),
        as_numpy(pairs["is_goal_max"]) > 0,
        as_numpy(pairs["worth_sum"]),
        as_numpy(pairs["bit_sum"]).astype(np.int64),
    )
