"""Rows of one schema in which the steps of counting candidates hand on what they found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jobs.candidates.fixed_point import Integers

OWN, TASTES, LISTS, HIDDEN = "own", "tastes", "lists", "hidden"
"""Kinds of rows for the last step: a user's best items and their scores; the reasons that a user
has and their weights; what a reason suggests, with scores; items that a user is not shown."""
PAIRS, LIKES, FOLLOWS = "pairs", "likes", "follows"
"""Kinds of rows of which lists are made: how often an item is together with others; what a user
likes of another surface, and whom a user follows, with signals."""

STEP_ROWS = pa.schema(
    [
        ("as_of", pa.date32()),
        ("surface", pa.string()),
        ("fold", pa.int32()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("part", pa.int32()),
        ("key", pa.string()),
        ("number", pa.int32()),
        ("ids", pa.list_(pa.string())),
        ("numbers", pa.list_(pa.int32())),
        ("amounts", pa.list_(pa.int64())),
    ]
)
"""`key` is a user or a reason, `ids` and `numbers` are items, by id or by their place in the
catalogue, where `number` is the row's own; `part` is the part of a world that the next step has to
see it with."""


class World(NamedTuple):
    """What candidates of one are never mixed with those of another."""

    as_of: date
    surface: str
    fold: int

    @property
    def day(self) -> int:
        """`as_of` in days since 1970."""
        return (self.as_of - date(1970, 1, 1)).days


def step_rows(
    world: World,
    kind: str,
    source: str,
    keys: pa.Array,
    begin: Integers,
    amounts: Integers,
    ids: pa.Array | None = None,
    numbers: Integers | None = None,
    number: Integers | None = None,
    part: Integers | int = 0,
) -> pa.Table:
    """One row per key: of letters of shapes, K keys and E elements of all their arrays.

    Args:
        world: whose they are.
        kind: one of those above.
        source: the source of candidates that they are for.
        keys: (K,)
        begin: (K + 1,) where the elements of each begin.
        amounts: (E,), or none of them.
        ids: (E,) items by id.
        numbers: (E,) items by number.
        number: (K,) what the keys are as numbers.
        part: (K,) or one for all.
    """
    n, offsets = len(keys), pa.array(begin.astype(np.int32))
    nothing = pa.array(np.zeros(n + 1, np.int32))
    columns = [
        pa.repeat(pa.scalar(world.as_of, pa.date32()), n),
        pa.repeat(pa.scalar(world.surface), n),
        pa.repeat(pa.scalar(world.fold, pa.int32()), n),
        pa.repeat(pa.scalar(kind), n),
        pa.repeat(pa.scalar(source), n),
        pa.array(np.broadcast_to(np.asarray(part, np.int32), n)),
        keys,
        pa.array(np.zeros(n, np.int32) if number is None else number.astype(np.int32)),
        pa.ListArray.from_arrays(nothing, pa.array([], pa.string()))
        if ids is None
        else pa.ListArray.from_arrays(offsets, ids),
        pa.ListArray.from_arrays(nothing, pa.array([], pa.int32()))
        if numbers is None
        else pa.ListArray.from_arrays(offsets, pa.array(numbers.astype(np.int32))),
        pa.ListArray.from_arrays(offsets, pa.array(amounts))
        if len(amounts)
        else pa.ListArray.from_arrays(nothing, pa.array([], pa.int64())),
    ]
    return pa.Table.from_arrays(columns, schema=STEP_ROWS)


def all_rows(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all of them."""
    return pa.concat_tables([STEP_ROWS.empty_table(), *tables])


def grouped(
    world: World,
    kind: str,
    source: str,
    names: pa.Array,
    key: Integers,
    ids: pa.Array,
    amounts: Integers,
    part: Integers | int = 0,
) -> pa.Table:
    """One row per key of some pairs: `key`, (E,), ascending numbers of `names`, with `ids` and
    `amounts`, (E,) each."""
    keys, begin = np.unique(key, return_index=True)
    return step_rows(
        world, kind, source, names.take(pa.array(keys)), np.append(begin, len(key)), amounts, ids,
        part=part,
    )  # fmt: skip
