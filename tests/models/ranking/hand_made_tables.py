"""Tables of one surface by hand, as Parquet files that are sorted by their grain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.recommendation_tables import FIXED_POINT, REC_HISTORIES, REC_ITEMS
from contracts.table import Table
from models.data.arrow_schema import arrow_schema

DAY = date(2025, 6, 1)
"""The midnight as of which they are."""
EPOCH_DAY = (DAY - date(1970, 1, 1)).days

ITEM = {
    "as_of": DAY,
    "surface": "products",
    "category_id": None,
    "author_key": None,
    "title": None,
    "price_minor": None,
    "available": True,
    "min_age": None,
    "first_day": EPOCH_DAY - 100,
    "last_day": EPOCH_DAY - 1,
}
ENTRY = {
    "signals": FIXED_POINT,
    "n_days": 1,
    "n_goals": 1,
    "first_days": EPOCH_DAY - 10,
    "last_days": EPOCH_DAY - 10,
    "gaps": -1,
    "owned": 1,
    "blocked": 0,
    "n_impressions": 0,
}


def item(item_id: str, **fields: Any) -> dict[str, Any]:
    """A row of `rec_items`, of which nothing is known but what is given."""
    zeros = {c.name: 0 for c in REC_ITEMS.columns if c.type == "bigint"}
    return {**zeros, **ITEM, "item_id": item_id, **fields}


def history(
    user_key: str, entries: Mapping[str, Mapping[str, Any]] | Sequence[str] = (), **fields: Any
) -> dict[str, Any]:
    """A row of `rec_histories`: items, or items with what differs from `ENTRY`."""
    given = entries if isinstance(entries, Mapping) else {name: {} for name in entries}
    items = sorted(given)
    arrays = {name: [given[i].get(name, value) for i in items] for name, value in ENTRY.items()}
    about = {"fold": 0, "country": None, "birth_year": None, "favourite_category": None}
    return {
        "as_of": DAY, "surface": "products", "user_key": user_key, **about, "item_ids": items,
        **arrays, **fields,
    }  # fmt: skip


def write(path: Path, table: Table, rows: Sequence[Mapping[str, Any]], group: int = 1000) -> str:
    """The rows as a file in row groups of `group`, by the grain."""
    grain = [name for name in table.grain if name != "as_of"]
    rows = sorted(rows, key=lambda row: [row[name] for name in grain])
    pq.write_table(
        pa.Table.from_pylist(list(rows), arrow_schema(table)), path, row_group_size=group
    )
    return str(path)


def write_items(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    return write(path, REC_ITEMS, rows)


def write_histories(path: Path, rows: Sequence[Mapping[str, Any]], group: int = 1000) -> str:
    return write(path, REC_HISTORIES, rows, group)
