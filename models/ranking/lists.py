"""Rows of `rec_lists`: one of each user of a block, with what the policy shows.

Letters: B users of the block, C candidates, N items that are shown to all of them.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.recommendation_tables import RANKER_EVENTS, REC_LISTS
from contracts.surfaces import FILTERS, Surface
from models.data.arrow_schema import arrow_schema
from models.ranking.block import SOURCE_NAMES, Block, Items
from models.ranking.policy import Shown, apply_policy, policy_id


def list_rows(
    surface: Surface, as_of: date, items: Items, block: Block, ranker_id: str, release_id: str
) -> pa.Table:
    """(B,): rows of `rec_lists`, in the order of the block's users; one of each, also of those
    without a candidate."""
    shown = apply_policy(surface, as_of, items, block)
    is_shown = shown.candidates >= 0
    starts = np.concatenate([[0], np.cumsum(is_shown.sum(axis=1))]).astype(np.int32)
    at = shown.candidates[is_shown]
    n = len(block)
    columns = {
        "as_of": pa.repeat(pa.scalar(as_of, pa.date32()), n),
        "surface": pa.repeat(surface.name, n),
        "user_key": block.user_keys,
        "item_ids": _lists(starts, items.ids.take(pa.array(block.items[at]))),
        "values": _lists(starts, pa.array(block.values[at], pa.float32())),
        **{f"p_{event}": _probabilities(block, event, starts, at) for event in RANKER_EVENTS},
        "sources": _lists(starts, source_names(block.sources[at])),
        "because": _lists(starts, block.because.take(pa.array(at)).cast(pa.string())),
        "propensities": _lists(starts, pa.array(shown.propensities[is_shown], pa.float32())),
        **_counts(shown),
        "ranker_id": pa.repeat(ranker_id, n),
        "policy_id": pa.repeat(policy_id(surface), n),
        "release_id": pa.repeat(release_id, n),
    }
    schema = arrow_schema(REC_LISTS)
    return pa.table({name: columns[name] for name in schema.names}, schema)


def source_names(sets: npt.NDArray[np.int64]) -> pa.StringArray:
    """(N,): of each set of sources, as bits, their names by commas."""
    different, codes = np.unique(sets, return_inverse=True)
    names = [
        ",".join(name for i, name in enumerate(SOURCE_NAMES) if bits >> i & 1)
        for bits in different.tolist()
    ]
    return pa.array(names, pa.string()).take(pa.array(codes))


def _counts(shown: Shown) -> dict[str, pa.Array]:
    return {
        "n_candidates": pa.array(shown.n_candidates, pa.int64()),
        **{f"n_{name}": pa.array(shown.n_filtered[name], pa.int64()) for name in FILTERS},
        "n_capped": pa.array(shown.n_capped, pa.int64()),
        "shortfall": pa.array(shown.shortfalls, pa.string()),
    }


def _probabilities(
    block: Block, event: str, starts: npt.NDArray[np.int32], at: npt.NDArray[np.int64]
) -> pa.ListArray:
    """Lists of each user's probabilities; empty ones where nothing was learnt of the event."""
    if event not in block.probabilities:
        return _lists(np.zeros_like(starts), pa.array([], pa.float32()))
    return _lists(starts, pa.array(block.probabilities[event][at], pa.float32()))


def _lists(starts: npt.NDArray[np.int32], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(starts), values)
