"""How released lists did against what then happened, beside what was popular and what users had.

All methods are judged on the same users: those with a relevant item in the window, of the items
that were known as of the day. How wide lists are, and what shown items were worth, is of all users
who were known, whatever they did. Letters: U users, I items of the surface, N pairs of a user and
an item, K places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.days import EPOCH
from contracts.recommendation_tables import OUTCOME_METHODS, REC_LISTS
from contracts.segments import ALL, NEW_DAYS
from contracts.specs import RecOutcomesDay, RecOutcomesSpec
from contracts.surfaces import Surface
from models.data.label_layout import as_numpy
from models.evaluation.segments import SEEN, SEGMENT_ROWS, segments_of
from models.ranking.baselines import hidden, own_lists, popular_lists, popularity_order
from models.ranking.happened import Happened, happened_since
from models.ranking.metrics import (
    NO_ITEM,
    Array,
    coverage,
    gini,
    hit_rate,
    hits,
    interval,
    is_pair,
    n_relevant,
    ndcg,
    novelty,
    numbered_among,
    recall,
    share_new,
)
from models.retrieval.histories import Histories, read_histories, read_items
from models.retrieval.user_rows import UserRows, places_in

PUBLISHED, POPULAR, OWN = METHODS = OUTCOME_METHODS
K, FIRST = 20, 10
"""Places that are looked at, and those of which nDCG and most else are."""


def compare_days(spec: RecOutcomesSpec) -> dict[str, Any]:
    """Rows of the table `rec_outcomes` for each day of the spec.

    A surface without lists, or without anything relevant, makes none. Users are read a batch at a
    time; what stays of each is the first places of its lists.
    """
    by_name = {surface.name: surface for surface in spec.surfaces}
    return {
        "days": [
            [row for name in day.surfaces for row in _surface_rows(day, by_name[name])]
            for day in spec.days
        ]
    }


@dataclass(frozen=True)
class _Judged:
    """Users who were known as of the day, in the order of their keys."""

    users: pa.Array
    lists: Mapping[str, Array]
    """(U, K) by method."""
    rows: Array
    """(N,) the user of each pair that was relevant."""
    items: Array
    """(N,) its item."""
    weights: Mapping[str, Array]
    """(U, 2) by method: the weights of what was shown, see `_weights`, and the same times the worth
    of what then happened."""


def _surface_rows(day: RecOutcomesDay, surface: Surface) -> list[dict[str, Any]]:
    columns = ["available", "first_day", "n_users", "popularity_10d"]
    items = read_items(day.items, surface.name, day.as_of, columns)
    named = _named(day, surface)
    if named is None or not items.num_rows:
        return []
    judged = _judged(day, surface, items)
    n_users = len(judged.users)
    has_any = n_relevant(judged.rows, n_users) > 0
    segments = {ALL: np.ones(n_users, dtype=bool), **segments_of(_seen(day, judged.users))}
    rows = []
    for segment, of_segment in segments.items():
        picked = of_segment & has_any
        if picked.sum() < (1 if segment == ALL else SEGMENT_ROWS):
            continue
        by_method = {m: _figures(judged, m, picked, items.num_rows) for m in METHODS}
        published = by_method[PUBLISHED][0]
        for method, (by_user, figures) in by_method.items():
            rows.append(
                {"as_of": day.as_of.isoformat(), "surface": surface.name, "segment": segment}
                | {"method": method, **named, "n_users": int(picked.sum()), **figures}
                | _gain(published, None if method == PUBLISHED else by_user)
                | _widths(judged.lists[method][of_segment], items, n_users, day.as_of)
                | {"ips_value10": _weighted_mean(judged.weights[method][of_segment])}
            )
    return rows


def _figures(
    judged: _Judged, method: str, picked: Array, n_items: int
) -> tuple[Array, dict[str, float]]:
    """nDCG of each of the picked users, a mask (U,), and means over them."""
    of_picked = picked[judged.rows]
    users = (np.cumsum(picked) - 1)[judged.rows[of_picked]]
    hit = hits(judged.lists[method][picked], users, judged.items[of_picked], n_items)
    relevant = n_relevant(users, len(hit))
    by_user = ndcg(hit, relevant, FIRST)
    low, high = interval(by_user)
    return by_user, {
        "ndcg10": float(by_user.mean()),
        "low": low,
        "high": high,
        "recall20": float(recall(hit, relevant, K).mean()),
        "hit10": float(hit_rate(hit, FIRST).mean()),
    }


def _widths(lists: Array, items: pa.Table, n_users: int, as_of: date) -> dict[str, float]:
    """How wide and how new lists (U, K) are, given how many users were known."""
    is_new = as_numpy(items["first_day"]) >= (as_of - EPOCH).days - NEW_DAYS
    available = as_numpy(items["available"])
    n_available = int(available.sum())
    of_available = numbered_among(lists, available)
    return {
        "coverage10": coverage(of_available, n_available, FIRST),
        "gini10": gini(of_available, n_available, FIRST),
        "novelty10": _mean(novelty(lists, as_numpy(items["n_users"]), n_users, FIRST)),
        "share_new10": _mean(share_new(lists, is_new, FIRST)),
    }


def _gain(published: Array, other: Array | None) -> dict[str, float | None]:
    """By how much the published lists are better than another method's, nDCG of the same users,
    with the paired interval."""
    if other is None:
        return {"gain": None, "gain_low": None, "gain_high": None}
    low, high = interval(published - other)
    return {"gain": float((published - other).mean()), "gain_low": low, "gain_high": high}


def _named(day: RecOutcomesDay, surface: Surface) -> dict[str, str] | None:
    """What ranked and released the lists of the surface; None where there are none."""
    names = ("ranker_id", "release_id")
    first = UserRows(REC_LISTS, day.lists, surface.name, day.as_of, names).next(1)
    return {name: first[name][0].as_py() for name in names} if first.num_rows else None


def _judged(day: RecOutcomesDay, surface: Surface, items: pa.Table) -> _Judged:
    item_ids = items["item_id"].combine_chunks()
    happened = happened_since(day.interactions, surface, day.as_of, item_ids)
    order, available = popularity_order(items), as_numpy(items["available"])
    names = ("owned", "blocked", "n_days", "signals")
    read = read_histories(
        day.histories, surface.name, day.as_of, item_ids, columns=names, user_columns=()
    )
    shown = UserRows(REC_LISTS, day.lists, surface.name, day.as_of, ["item_ids", "propensities"])
    batches, n = [], 0
    for histories in read:
        hide = hidden(histories, item_ids, surface.repeats)
        rows = shown.up_to(histories.users["user_key"][-1].as_py())
        users = histories.users["user_key"].combine_chunks()
        published, propensities = _first_places(rows, users, item_ids)
        lists = {
            PUBLISHED: published,
            POPULAR: popular_lists(order, len(users), hide, len(item_ids), K),
            OWN: own_lists(histories, available, hide, len(item_ids), K),
        }
        pairs = happened.of(users)
        first = published[:, :FIRST]
        worth = pairs.worth_at(first, len(item_ids))
        weights = {m: _weights(m, lists[m], first, propensities, worth) for m in METHODS}
        relevant = _relevant(histories, pairs, surface.repeats, len(item_ids))
        batches.append(
            _Judged(users, lists, pairs.rows[relevant] + n, pairs.items[relevant], weights)
        )
        n += len(users)
    return _joined(batches)


def _relevant(histories: Histories, pairs: Happened, repeats: bool, n_items: int) -> Array:
    """(N,) whether a goal was reached with the item; unless repeats are allowed, one that the user
    did not have."""
    if repeats:
        return pairs.is_goal
    owned = histories.entries["owned"] > 0
    had = is_pair(pairs.rows, pairs.items, histories.rows[owned], histories.items[owned], n_items)
    return pairs.is_goal & ~had


def _first_places(rows: pa.Table, users: pa.Array, item_ids: pa.Array) -> tuple[Array, Array]:
    """The first items of rows of `rec_lists` (U, K), and their propensities (U, FIRST), in the
    order of `users`; 0 where none was logged."""
    items = np.full((len(users), K), NO_ITEM, dtype=np.int64)
    propensities = np.zeros((len(users), FIRST))
    at = as_numpy(pc.index_in(rows["user_key"], value_set=users))
    for name, into in (("item_ids", items), ("propensities", propensities)):
        lists = rows[name].combine_chunks()
        lengths = as_numpy(pc.list_value_length(lists)).astype(np.int64)
        place = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
        fits, row = place < into.shape[1], np.repeat(at, lengths)
        values = lists.flatten().filter(pa.array(fits))
        if name == "item_ids":
            values = pc.fill_null(places_in(values, item_ids), NO_ITEM)
        into[row[fits], place[fits]] = as_numpy(values)
    return items, propensities


def _weights(
    method: str, lists: Array, published: Array, propensities: Array, worth: Array
) -> Array:
    """(U, 2): how much what stands at the published places counts for a method, and that times its
    `worth` (U, FIRST), summed over the first places.

    It counts by the probability with which the method shows the item at that place, over the logged
    one (Horvitz and Thompson, 1952; Strehl et al., NeurIPS 2010): by one of the published lists
    themselves, and else by the inverse propensity where the method has the same item at the same
    place. What was logged is the probability at a place, so that an item elsewhere in the method's
    list says nothing of it.
    """
    is_logged = (published != NO_ITEM) & (propensities > 0)
    inverse = np.divide(1.0, propensities, out=np.zeros_like(propensities), where=is_logged)
    is_same = lists[:, :FIRST] == published
    weight = np.where(is_logged, 1.0 if method == PUBLISHED else is_same * inverse, 0.0)
    return np.stack([weight.sum(axis=1), (weight * worth).sum(axis=1)], axis=1)


def _weighted_mean(weights: Array) -> float | None:
    total, worth = weights.sum(axis=0)
    return float(worth / total) if total > 0 else None


def _joined(batches: Sequence[_Judged]) -> _Judged:
    return _Judged(
        pa.concat_arrays([pa.array([], pa.string()), *(batch.users for batch in batches)]),
        {m: np.concatenate([_NOBODY, *(batch.lists[m] for batch in batches)]) for m in METHODS},
        np.concatenate([_NOBODY[:, 0], *(batch.rows for batch in batches)]),
        np.concatenate([_NOBODY[:, 0], *(batch.items for batch in batches)]),
        {
            m: np.concatenate([_NOBODY[:, :2], *(batch.weights[m] for batch in batches)])
            for m in METHODS
        },
    )


_NOBODY = np.zeros((0, K), dtype=np.int64)


def _seen(day: RecOutcomesDay, users: pa.Array) -> pa.Table:
    """(U,) what tells the segments apart; null of users of whom there are no features."""
    chosen = [("as_of", "==", day.as_of)]
    tables = [pq.read_table(p, columns=["user_key", *SEEN], filters=chosen)
              for p in day.user_features]  # fmt: skip
    features = pa.concat_tables(tables)
    at = pc.index_in(users, value_set=features["user_key"].combine_chunks())
    return features.select(list(SEEN)).take(at)


def _mean(values: Array) -> float:
    """Over users whose lists have items; 0 where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
