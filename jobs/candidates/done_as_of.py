"""What users did and were shown as of a day: facts, less what is known by then to undo them or to
say the same.

Letters of shapes: R facts, S steps of a pair, G pairs and days.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from contracts.source_table import AD_VIEW
from contracts.surfaces import INTERACTION_EVENTS, UNDO
from contracts.units_left import units_left
from jobs.candidates.fixed_point import Integers, reduced, starts_of
from jobs.candidates.pair_facts import IMPRESSION, Done

_AD_VIEW, _IMPRESSION, _ORDER, _UNDO = (
    INTERACTION_EVENTS.index(event) for event in (AD_VIEW, IMPRESSION, "order", UNDO)
)


def done_as_of(did: Done, today: int) -> Done:
    """What counts as of a day.

    An ad that the logs of two tables say was seen on a day was shown as often as the one says that
    says it more often, whenever either landed. Orders of which nothing is left are none.

    Args:
        did: what users did with one kind of target, by pair.
        today: days since 1970.
    """
    known = did.take(np.flatnonzero(did.known < today))
    return _with_standing_orders(_with_ads_shown(known))


def _with_ads_shown(did: Done) -> Done:
    """Views of ads as impressions, of which a pair has one row per day."""
    if not np.any(did.event == _AD_VIEW):
        return did
    is_shown = (did.event == _AD_VIEW) | (did.event == _IMPRESSION)
    shown = did.take(np.flatnonzero(is_shown))
    begin = starts_of(shown.pair * (1 + int(shown.day.max())) + shown.day)  # (G,)
    by_log = [
        reduced(np.add, np.where(shown.event == event, shown.n, 0), begin)
        for event in (_AD_VIEW, _IMPRESSION)
    ]
    rows = np.append(np.flatnonzero(~is_shown), np.flatnonzero(is_shown)[begin])
    n = np.append(did.n[~is_shown], np.maximum(*by_log))
    of = did.take(rows)
    event = np.where(of.event == _AD_VIEW, _IMPRESSION, of.event)
    once = Done(of.kind, of.pair, event, of.day, of.known, n, of.amounts)
    return once.take(np.lexsort((once.day, once.pair)))


def _with_standing_orders(did: Done) -> Done:
    """What was done without orders of which nothing is left, and without what undid them.

    Orders of a day come before what undoes them, whichever was stamped first.
    """
    undoes = did.event == _UNDO
    if not undoes.any():
        return did
    of_orders = undoes | (did.event == _ORDER)
    steps = np.flatnonzero(of_orders & np.isin(did.pair, did.pair[undoes]))
    units = np.where(undoes, -1, 1) * did.amounts["units"]
    by = (*did.amounts.values(), did.n, did.known, undoes, did.day, did.pair)
    steps = steps[np.lexsort([values[steps] for values in by])]
    begin = starts_of(did.pair[steps])
    left: list[int] = []
    for first, last in pairwise([*begin.tolist(), len(steps)]):
        left += units_left(units[steps[first:last]].tolist())
    stands: Integers = np.ones(len(did.pair), np.int64)
    stands[steps] = left
    return did.take(np.flatnonzero((stands > 0) & ~undoes))
