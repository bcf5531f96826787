"""What users had to do with items, from facts about pairs of both, as of a day.

Letters of shapes: R facts, P pairs of a user and an item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from contracts.recommendation_tables import FIXED_POINT, NO_SUCH_DAY
from contracts.surfaces import INTERACTION_EVENTS
from jobs.candidates.arrow_lists import numbers, one_array
from jobs.candidates.decay import decay
from jobs.candidates.fixed_point import Integers, reduced, starts_of
from jobs.candidates.pair_facts import FOLLOW, IMPRESSION, Done, Pairs, Rules, States
from jobs.candidates.user_histories import ARRAYS, repeated

HALF_LIFE = 30
"""Of signals, in days."""
SHOWN_DAYS = 30
"""Days before in which impressions count."""
_FOLLOW, _IMPRESSION = (INTERACTION_EVENTS.index(event) for event in (FOLLOW, IMPRESSION))
_NEVER = 2**31 - 1
ENTRIES = pa.schema(
    [
        ("as_of", pa.date32()),
        ("surface", pa.string()),
        ("fold", pa.int32()),
        ("user_key", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        *((name, pa.list_(pa.int64())) for name in ARRAYS),
        ("categories", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Entries:
    """What users had to do with items, (P,) each: `pair`, ascending, and the arrays of
    `rec_histories`."""

    pair: Integers
    values: Mapping[str, Integers]


def met_of(did: Done, rules: Rules, today: int) -> Entries:
    """What users did with items or were shown: of `signals` and `owned` also those of follows,
    which count while the user follows."""
    age, strength, is_goal = today - did.day, rules.strength[did.event], rules.is_goal[did.event]
    is_follow, is_shown = did.event == _FOLLOW, did.event == _IMPRESSION
    oldest = int(age.max()) if len(age) else 0
    signal = did.n * strength * decay(HALF_LIFE, oldest)[age]
    begin, liked = starts_of(did.pair), strength > 0
    lengths = np.diff(np.append(begin, len(did.pair)))
    acted = reduced(np.maximum, np.where(is_shown, NO_SUCH_DAY, did.day), begin)
    since = is_shown & (age <= SHOWN_DAYS) & (did.day > np.repeat(acted, lengths))
    first = reduced(np.minimum, np.where(liked, did.day, _NEVER), begin)
    n_days, gaps = _goal_days(did.pair[begin], did.pair[is_goal], did.day[is_goal])
    sums = {
        "signals": np.where(is_follow, 0, signal),
        "signals_of_follows": np.where(is_follow, signal, 0),
        "n_goals": np.where(is_goal, did.n, 0),
        "n_impressions": np.where(since, did.n, 0),
        "owned": (rules.owns[did.event] & ~is_follow).astype(np.int64),
    }
    return Entries(
        did.pair[begin],
        {
            **{name: reduced(np.add, values, begin) for name, values in sums.items()},
            "first_days": np.where(first == _NEVER, NO_SUCH_DAY, first),
            "last_days": reduced(np.maximum, np.where(liked, did.day, NO_SUCH_DAY), begin),
            "n_days": n_days,
            "gaps": gaps,
        },
    )


def _goal_days(pairs: Integers, pair: Integers, day: Integers) -> tuple[Integers, Integers]:
    """Of each of `pairs`, ascending: the days with a goal, and the median of the days between
    them, rounded down; -1 of fewer than 2. `pair` and `day` ascend, with repeats."""
    is_new = np.append(True, (pair[1:] != pair[:-1]) | (day[1:] != day[:-1]))[: len(pair)]
    pair, day = pair[is_new], day[is_new]
    n_days, gaps = np.zeros(len(pairs), np.int64), np.full(len(pairs), NO_SUCH_DAY)
    begin = starts_of(pair)
    n_days[np.searchsorted(pairs, pair[begin])] = np.diff(np.append(begin, len(pair)))
    again = np.flatnonzero(pair[1:] == pair[:-1])
    pair, gap = pair[again], day[again + 1] - day[again]
    gap = gap[np.lexsort((gap, pair))]
    begin = starts_of(pair)
    n = np.diff(np.append(begin, len(pair)))
    gaps[np.searchsorted(pairs, pair[begin])] = (
        gap[begin + (n - 1) // 2] + gap[begin + n // 2]
    ) // 2
    return n_days, gaps


def standing(facts: States, rules: Rules, today: int) -> Integers:
    """Where facts stand that hold as of a day."""
    newest = facts.newest(rules.kind, today)
    return newest[facts.stands[newest]]


def entries_of(
    met: Entries,
    followed: Integers,
    is_timeless: NDArray[np.bool_],
    blocked: Integers,
    rules: Rules,
) -> Entries:
    """What counts of pairs that met, of whom the user follows, and of what is blocked, which is no
    taste of the user's: it has no signals."""
    pair = np.unique(np.concatenate([met.pair, followed, blocked]))
    values = {name: np.zeros(len(pair), np.int64) for name in (*met.values, "blocked")}
    for name in ("first_days", "last_days", "gaps"):
        values[name][:] = NO_SUCH_DAY
    where = np.searchsorted(pair, met.pair)
    for name, of_met in met.values.items():
        values[name][where] = of_met
    follows, timeless = np.zeros(len(pair), bool), np.zeros(len(pair), bool)
    where = np.searchsorted(pair, followed)
    follows[where], timeless[where] = True, is_timeless
    since_ever = timeless * rules.strength[_FOLLOW] * FIXED_POINT
    values["signals"] += follows * values.pop("signals_of_follows") + since_ever
    values["n_goals"] += timeless & rules.is_goal[_FOLLOW]
    values["owned"] = ((values["owned"] > 0) | (follows & rules.owns[_FOLLOW])).astype(np.int64)
    values["blocked"][np.searchsorted(pair, blocked)] = 1
    values["signals"][values["blocked"] > 0] = 0
    counts = ("signals", "n_goals", "n_impressions", "owned", "blocked")
    some = np.flatnonzero(np.any([values[name] > 0 for name in counts], axis=0))
    return Entries(pair[some], {name: of_all[some] for name, of_all in values.items()})


def listed(
    world: tuple[date, str, int], entries: Entries, pairs: Pairs, items: pa.Table
) -> pa.Table:
    """A row per user with entries of items that `rec_items` has."""
    target, user = np.divmod(entries.pair, pairs.n_users)
    item = numbers(pairs.targets, one_array(items["target_id"]))[target]
    order = np.argsort(user, kind="stable")
    order = order[item[order] >= 0]
    users = user[order]
    begin = starts_of(users)
    offsets = pa.array(np.append(begin, len(order)).astype(np.int32))

    def lists(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    columns = [
        *repeated(world, len(begin)),
        pairs.users.take(pa.array(users[begin])),
        lists(pairs.targets.take(pa.array(target[order]))),
        *(lists(pa.array(entries.values[name][order])) for name in ARRAYS),
        lists(one_array(items["category_id"]).take(pa.array(item[order]))),
    ]
    return pa.Table.from_arrays(columns, schema=ENTRIES)
