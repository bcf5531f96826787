"""Blocks of candidates that tests are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models.ranking.block import Block, Items, source_bit


def items_of(rows: Sequence[Mapping[str, Any]]) -> Items:
    """Items by ascending id, each available and for everybody unless said otherwise."""
    columns = {
        "item_id": pa.string(),
        "category_id": pa.string(),
        "author_key": pa.string(),
        "available": pa.bool_(),
        "min_age": pa.int32(),
        "n_users_30d": pa.int64(),
    }
    table = pa.table(
        {
            name: pa.array(
                [{"available": True, "n_users_30d": 0, **row}.get(name) for row in rows], kind
            )
            for name, kind in columns.items()
        }
    )
    return Items.of(table)


def block_of(items: Items, users: Mapping[str, Sequence[Mapping[str, Any]]], **more: Any) -> Block:
    """User to candidates, each a mapping with `item`, `value` and what is not as usual of it."""
    index = {item: i for i, item in enumerate(items.ids.to_pylist())}
    rows = [row for candidates in users.values() for row in candidates]

    def column(name: str, usual: Any, kind: Any) -> Any:
        return np.array([row.get(name, usual) for row in rows], kind)

    return Block(
        user_keys=pa.array(list(users), pa.string()),
        birth_years=more.pop("birth_years", np.full(len(users), -1, np.int32)),
        starts=np.cumsum([0, *map(len, users.values())]),
        items=np.array([index[row["item"]] for row in rows], np.int32),
        values=column("value", 0, np.float32),
        sources=column("sources", source_bit("popular_1d"), np.int64),
        because=pa.array([row.get("because", "") for row in rows], pa.string()),
        owned=column("owned", False, bool),
        blocked=column("blocked", False, bool),
        n_impressions=column("n_impressions", 0, np.int64),
        **more,
    )
