"""Lists that anybody could make, to compare others with: what is popular, and what users had.

Letters: U users, I items of the surface, N pairs of a user and an item, K places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.data.label_layout import as_numpy
from models.ranking.metrics import NO_ITEM, Array, is_pair
from models.retrieval.histories import Histories

LOOKED_AT = 128
"""Most popular items that are looked at for each user first; of those whom that leaves short of
items that they may be shown, eight times as many, and so on."""


@dataclass(frozen=True)
class Hidden:
    """Pairs (N,) of users and items that are not to be shown to them."""

    rows: Array
    items: Array


def hidden(histories: Histories, item_ids: pa.Array, repeats: bool) -> Hidden:
    """What each user blocked, is, and, unless repeats are allowed, has."""
    entries = histories.entries
    kept_back = entries["blocked"] > 0
    if not repeats:
        kept_back |= entries["owned"] > 0
    own_key = pc.index_in(histories.users["user_key"].combine_chunks(), value_set=item_ids)
    is_item = as_numpy(pc.is_valid(own_key))
    self_item = as_numpy(pc.fill_null(own_key, NO_ITEM)).astype(np.int64)[is_item]
    return Hidden(
        np.concatenate([histories.rows[kept_back], np.flatnonzero(is_item)]),
        np.concatenate([histories.items[kept_back].astype(np.int64), self_item]),
    )


def popularity_order(items: pa.Table) -> Array:
    """(I,) indices of the items that may be shown, the most popular first (half-life of 10 days);
    ties by id."""
    counts = as_numpy(items["popularity_10d"])
    available = np.flatnonzero(as_numpy(items["available"]))
    order: Array = available[np.argsort(-counts[available], kind="stable")]
    return order


def popular_lists(order: Array, n_users: int, hide: Hidden, n_items: int, k: int) -> Array:
    """(U, K) the most popular items, without those that a user is not to be shown."""
    lists = np.full((n_users, k), NO_ITEM, dtype=np.int64)
    short = np.arange(n_users)
    n = LOOKED_AT
    while len(short):
        first = order[None, :n]
        shown = ~is_pair(short[:, None], first, hide.rows, hide.items, n_items)
        lists[short] = _first_shown(np.broadcast_to(first, shown.shape), shown, k)
        if n >= len(order):
            break
        short, n = short[shown.sum(axis=1) < k], n * 8
    return lists


def own_lists(histories: Histories, available: Array, hide: Hidden, n_items: int, k: int) -> Array:
    """(U, K) what users had to do with most often: the days with a goal, then the strength of all
    signals; ties by id. Without what a user is not to be shown, and what may not be shown (I,)."""
    rows, items = histories.rows, histories.items.astype(np.int64)
    n_days, signals = histories.entries["n_days"], histories.entries["signals"]
    shown = available[items] & ((n_days > 0) | (signals > 0))
    shown &= ~is_pair(rows, items, hide.rows, hide.items, n_items)
    rows, items, n_days, signals = (a[shown] for a in (rows, items, n_days, signals))
    order = np.lexsort((items, -signals, -n_days, rows))
    rows, items = rows[order], items[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    lists = np.full((len(histories), k), NO_ITEM, dtype=np.int64)
    fits = place < k
    lists[rows[fits], place[fits]] = items[fits]
    return lists


def _first_shown(items: Array, shown: Array, k: int) -> Array:
    """(U, K) the first items (U, n) of each row that are shown (U, n)."""
    at = np.argsort(~shown, axis=1, kind="stable")[:, :k]
    first = np.where(
        np.take_along_axis(shown, at, axis=1), np.take_along_axis(items, at, axis=1), NO_ITEM
    )
    padding = np.full((len(first), k - first.shape[1]), NO_ITEM)
    return np.concatenate([first, padding], axis=1)
