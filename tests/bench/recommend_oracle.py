"""What the users of a simulated market would choose, which only the simulator knows.

Letters: E judged users, K places.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from flows.cli.main import DEMO_KEY
from jobs.market.preferences import preferences_of
from jobs.market.traits import Market, blocks
from jobs.values.user_key import UserKey
from models.ranking.metrics import Array
from tests.bench.recommend_protocol import Question

_KINDS = {"posts": "post\x1f"}
"""What the ids of a surface's targets are hashed with, where they are hashed as facts."""


def oracle_lists(market: Market, surface: str, cut: date, question: Question) -> Array:
    """(E, K) what each would choose as of a cut, by the number of goals to expect."""
    key, day = UserKey(DEMO_KEY.encode()), (cut - market.start).days
    users: list[str] = []
    lists: list[Array] = []
    for traits in blocks(market):
        for numbers, chosen in preferences_of(market, traits, day, surface):
            names = ids_of(surface, chosen.names.to_pylist(), key)
            starts = np.searchsorted(chosen.user, numbers)
            ends = np.searchsorted(chosen.user, numbers, side="right")
            users += [key.of(f"u{traits.first + number}") for number in numbers]
            lists += [names[chosen.thing[a:b]] for a, b in zip(starts, ends, strict=True)]
    return question.masked_first(question.lists_of(users, lists))


def ids_of(surface: str, names: list[str], key: UserKey) -> Array:
    """How the tables name what the raw logs name so."""
    if surface == "people":
        return np.array([key.of(name) for name in names], dtype=str)
    if surface in _KINDS:
        return np.array([key.of(f"{_KINDS[surface]}{name}") for name in names], dtype=str)
    return np.array(names, dtype=str)
