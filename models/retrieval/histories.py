"""What a surface can recommend, and what users had to do with it, as arrays.

Letters: I items of the surface, U users, N entries of all their histories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS
from models.data.arrow_schema import arrow_schema
from models.data.label_layout import as_numpy
from models.retrieval.user_rows import UserRows, places_in

USER_COLUMNS = ("country", "birth_year", "favourite_category")
"""Columns of `rec_histories` that say something of the user."""
ENTRY_COLUMNS = tuple(
    c.name for c in REC_HISTORIES.columns if c.column_type.is_array and c.name != "item_ids"
)
"""Columns of `rec_histories` with a number of each item."""


def read_items(
    files: Sequence[str], surface: str, as_of: date, columns: Sequence[str] | None = None
) -> pa.Table:
    """(I,): rows of `rec_items` by ascending `item_id`; the place of a row is the item's index."""
    names = list(dict.fromkeys(["item_id", *(columns or REC_ITEMS.names)]))
    chosen = [("surface", "==", surface), ("as_of", "==", as_of)]
    tables = [pq.read_table(path, columns=names, filters=chosen) for path in files]
    schema = pa.schema([arrow_schema(REC_ITEMS).field(name) for name in names])
    rows = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])
    return rows.sort_by("item_id").combine_chunks()


@dataclass(frozen=True)
class Histories:
    """Users of a surface and their own items, by ascending `user_key`.

    The entries of user u are those at `starts[u]:starts[u + 1]`, by ascending item.
    """

    users: pa.Table
    """(U,): `user_key`, and what else was asked for of users."""
    starts: npt.NDArray[np.int64]
    """(U + 1,)."""
    items: npt.NDArray[np.int32]
    """(N,): each the index of an item."""
    entries: Mapping[str, npt.NDArray[np.int64]]
    """Columns of `ENTRY_COLUMNS`, each (N,)."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(N,): of each entry the place of its user."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


def read_histories(
    files: Sequence[str],
    surface: str,
    as_of: date,
    item_ids: pa.Array,
    fold: int = 0,
    columns: Sequence[str] = ENTRY_COLUMNS,
    user_columns: Sequence[str] = USER_COLUMNS,
    n: int = 16_384,
) -> Iterator[Histories]:
    """All users of the surface, about `n` at a time, by ascending `user_key`.

    `item_ids` (I,) are the surface's items in ascending order.
    """
    read = ["user_key", "fold", *user_columns, "item_ids", *columns]
    stream = UserRows(REC_HISTORIES, files, surface, as_of, read)
    while (rows := stream.next(n)).num_rows:
        yield to_histories(rows.filter(pc.equal(rows["fold"], fold)), item_ids)


def to_histories(rows: pa.Table, item_ids: pa.Array) -> Histories:
    """Rows of `rec_histories`, one per user, as arrays.

    An entry of an item that the surface does not have (a person who was erased since) is left out.
    """
    lists = _list(rows, "item_ids")
    at = places_in(lists.flatten(), item_ids)
    known = as_numpy(pc.is_valid(at))
    lengths = as_numpy(pc.list_value_length(lists)).astype(np.int64)
    users = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(np.bincount(users[known], minlength=len(lengths)), out=starts[1:])
    entries = {
        name: as_numpy(_list(rows, name).flatten())[known].astype(np.int64)
        for name in ENTRY_COLUMNS
        if name in rows.schema.names
    }
    of_users = [name for name in ("user_key", *USER_COLUMNS) if name in rows.schema.names]
    items = as_numpy(pc.fill_null(at, -1))[known].astype(np.int32)
    return Histories(rows.select(of_users), starts, items, entries)


def joined(parts: Sequence[Histories]) -> Histories:
    """Users of some histories after those of others, of one part at least."""
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    return Histories(
        pa.concat_tables([part.users for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.items for part in parts]),
        {name: np.concatenate([part.entries[name] for part in parts]) for name in parts[0].entries},
    )


def _list(rows: pa.Table, name: str) -> pa.ListArray:
    return rows[name].combine_chunks()
