"""Boosted trees that say which candidates an event happens with: one small model for each event.

LambdaRank gives one order, in which every event would be as probable as its place says. What an
outcome is worth could then change no order: for that, what is liked must be told from what is
bought.
"""

from __future__ import annotations

from collections.abc import Sequence

import lightgbm as lgb
import numpy as np

from models.ranking.lambdarank import PARAMETERS, Trees
from models.ranking.samples import Sample

ROUNDS = 15
MIN_EVENTS = 20
"""Times that an event must have happened with what is learned from."""
_PARAMETERS = {
    **{name: value for name, value in PARAMETERS.items() if not name.startswith("lambdarank")},
    "objective": "binary",
    "learning_rate": 0.2,
}


def fit_event_trees(
    sample: Sample, bins: lgb.Dataset, events: Sequence[str], wanted: Sequence[str], seed: int
) -> dict[str, Trees]:
    """Event to the trees of its logit, of those that happened often enough.

    Args:
        sample: what is learned from.
        bins: its features.
        events: the surface's, in the order of the sample's bits.
        wanted: those that trees are fitted for.
        seed: of what is left out by chance.
    """
    happened = {
        event: (sample.events >> i & 1).astype(np.int8)
        for i, event in enumerate(events)
        if event in wanted
    }
    happened = {event: labels for event, labels in happened.items() if labels.sum() >= MIN_EVENTS}
    parameters = {**_PARAMETERS, "seed": seed, "num_threads": 1}
    fitted = {}
    for event, labels in happened.items():
        bins.set_label(labels)
        bins.set_weight(sample.weights)
        fitted[event] = Trees(lgb.train(parameters, bins, ROUNDS).model_to_string())
    return fitted


def events_with_trees(events: Sequence[str], goals: Sequence[str]) -> tuple[str, ...]:
    """Events that trees of their own tell apart: none where there is one event, and not the goal
    where there is one: it is what LambdaRank orders by."""
    alone = goals if len(goals) == 1 else ()
    return tuple(event for event in events if event not in alone)
