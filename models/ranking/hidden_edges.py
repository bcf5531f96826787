"""What is left out of one fold of histories, to learn from it where nothing says when things
happened.

Letters: N pairs of a user and an item.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.recommendation_tables import REC_HISTORIES
from contracts.specs import RankInputs
from contracts.surfaces import Surface
from models.ranking.happened import HappenedToAll
from models.ranking.metrics import is_pair
from models.retrieval.histories import Histories, to_histories
from models.retrieval.user_rows import UserRows

_ROWS = 16_384
_COLUMNS = ("user_key", "fold", "item_ids", "owned")


def hidden_edges(inputs: RankInputs, surface: Surface, item_ids: pa.Array) -> HappenedToAll:
    """What users have that fold 1 of their histories leaves out, as if it had happened since."""
    stream = UserRows(REC_HISTORIES, inputs.histories, surface.name, inputs.as_of, _COLUMNS)
    users, items = [pa.array([], pa.string())], [np.zeros(0, np.int64)]
    while (rows := stream.next(_ROWS)).num_rows:
        shown = rows.filter(pc.equal(rows["fold"], 1)).combine_chunks()
        both = pc.is_in(rows["user_key"], value_set=shown["user_key"].combine_chunks())
        of_all = pc.and_(pc.equal(rows["fold"], 0), both)
        known = to_histories(rows.filter(of_all).combine_chunks(), item_ids)
        left = to_histories(shown, item_ids)
        at, of = _owned(known), _owned(left)
        is_hidden = ~is_pair(at[0], at[1], of[0], of[1], max(len(item_ids), 1))
        users.append(known.users["user_key"].combine_chunks().take(pa.array(at[0][is_hidden])))
        items.append(at[1][is_hidden])
    # Of what has no time, one event is known: that the user has it.
    event = next(
        (
            i
            for i, name in enumerate(surface.events)
            if name in surface.owned_by and _goal(surface, i)
        ),
        0,
    )
    n = sum(map(len, items))
    return HappenedToAll(
        pa.concat_arrays(users),
        np.concatenate(items),
        np.ones(n, bool),
        np.full(n, surface.outcomes[event].worth),
        np.full(n, 1 << event, np.int64),
    )


def _goal(surface: Surface, i: int) -> bool:
    return surface.outcomes[i].is_goal


def _owned(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """(N,) each: users, as their places, and items that they have."""
    owned = histories.entries["owned"] > 0
    return histories.rows[owned], histories.items[owned].astype(np.int64)
