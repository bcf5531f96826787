"""What items are and how they fare, from facts about pairs of users and items, as of a day.

Letters of shapes: R facts, V versions, N items.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.recommendation_tables import (
    FIXED_POINT,
    NEW_USER_DAYS,
    NO_SUCH_DAY,
    REC_ITEMS,
)
from contracts.surfaces import HALF_LIVES, INTERACTION_EVENTS, Surface
from jobs.candidates.arrow_lists import numbers, one_array
from jobs.candidates.decay import decay
from jobs.candidates.fixed_point import Integers, reduced, starts_of
from jobs.candidates.pair_facts import (
    FOLLOW,
    IMPRESSION,
    Done,
    Pairs,
    Rules,
    day_number,
    integers,
    kinds,
)
from jobs.spark.schema import arrow_schema

ITEMS = arrow_schema(REC_ITEMS)
_FOLLOW, _IMPRESSION, _ORDER, _REVIEW = (
    INTERACTION_EVENTS.index(event) for event in (FOLLOW, IMPRESSION, "order", "review")
)
_NEEDS_VERSION = ("post", "user")
"""Kinds of which nothing is shown that is only known from what users did with it."""
_NEVER = 2**31 - 1
_MONTH, _QUARTER = 30, 90


@dataclass(frozen=True)
class Versions:
    """What says what targets are, the one that holds last; (V,) each."""

    rows: pa.Table
    kind: Integers
    target: Integers
    known: Integers
    day: Integers

    @classmethod
    def of(cls, rows: pa.Table, pairs: Pairs) -> Versions:
        target = numbers(one_array(rows["target_id"]), pairs.targets)
        order = np.lexsort((integers(rows, "landed"), integers(rows, "order"), target))
        rows = rows.take(pa.array(order))
        known, day = integers(rows, "known"), integers(rows, "day")
        return cls(rows, kinds(rows), target[order], known, day)

    def as_of(self, kind: int, as_of: date) -> Versions:
        """Those of a kind of target that are known as of a day."""
        only = one_array(self.rows["only"])
        is_seen = pc.fill_null(pc.equal(only, pa.scalar(as_of, pa.date32())), True)
        is_seen = is_seen.to_numpy(zero_copy_only=False)
        some = np.flatnonzero(is_seen & (self.kind == kind) & (self.known < day_number(as_of)))
        columns = (self.kind, self.target, self.known, self.day)
        return Versions(self.rows.take(pa.array(some)), *(values[some] for values in columns))


def items_of(
    surface: Surface, as_of: date, did: Done, edges: Integers, versions: Versions, pairs: Pairs
) -> pa.Table:
    """The items of a surface as of a day.

    Args:
        surface: the surface.
        as_of: a midnight.
        did: what users did with its kind of target, as far as it is known, by pair.
        edges: pairs of whom follows whom since nobody knows when, ascending.
        versions: of its kind of target, as far as they are known.
        pairs: users and targets.
    """
    rules, today = Rules.of(surface), day_number(as_of)
    target = did.pair // pairs.n_users
    items = np.unique(np.concatenate([target, versions.target]))
    counts = _counts(did, rules, today, items, target)
    counts |= _users(did, rules, today, items, edges, pairs.n_users)
    begin = starts_of(versions.target)
    newest = np.append(begin[1:], len(versions.target))[: len(begin)] - 1
    version = np.full(len(items), -1)
    version[np.searchsorted(items, versions.target[newest])] = newest
    first = counts.pop("first_day")
    # What holds since 1970 has no day on which it began.
    of_versions = np.where(versions.day > 0, versions.day, _NEVER)
    np.minimum.at(first, np.searchsorted(items, versions.target), of_versions)
    counts["first_day"] = np.where(first == _NEVER, 0, first)
    is_young = _is_young(surface, today, counts["first_day"])
    some = _known(surface, version >= 0, is_young, counts["n_met"])
    rows = _table(surface, as_of, items[some], version[some], counts, some, versions, pairs)
    available = pc.and_(rows["available"], pa.array(is_young[some]))
    at = ITEMS.get_field_index("available")
    return rows.set_column(at, ITEMS.field(at), available)


def _counts(
    did: Done, rules: Rules, today: int, items: Integers, target: Integers
) -> dict[str, Integers]:
    """Sums and extrema over what users did with each item, (N,) each."""
    age, is_goal = today - did.day, rules.is_goal[did.event]
    goals, liked = np.where(is_goal, did.n, 0), rules.strength[did.event] > 0
    oldest = int(age.max()) if len(age) else 0
    begin = starts_of(target)
    where = np.searchsorted(items, target[begin])

    def spread(of: np.ufunc, values: Integers, nothing: int) -> Integers:
        out = np.full(len(items), nothing, np.int64)
        out[where] = reduced(of, values, begin)
        return out

    def within(days: int, event: int, values: Integers) -> Integers:
        return np.where((did.event == event) & (age <= days), values, 0)

    sums = {
        "n_impressions_30d": within(_MONTH, _IMPRESSION, did.n),
        "n_goals_30d": np.where(age <= _MONTH, goals, 0),
        "sum_stars_90d": within(_QUARTER, _REVIEW, did.amounts["sum_stars"]),
        "n_reviews_90d": within(_QUARTER, _REVIEW, did.n),
        "units_90d": within(_QUARTER, _ORDER, did.amounts["units"]),
        "amount_90d": within(_QUARTER, _ORDER, did.amounts["amount_minor"]),
        "n_met": (did.event != _IMPRESSION).astype(np.int64),
        **{f"popularity_{days}d": goals * decay(days, oldest)[age] for days in HALF_LIVES},
    }
    return {
        **{name: spread(np.add, values, 0) for name, values in sums.items()},
        "first_day": spread(np.minimum, np.where(did.day > 0, did.day, _NEVER), _NEVER),
        "last_day": spread(np.maximum, np.where(liked, did.day, NO_SUCH_DAY), NO_SUCH_DAY),
    }


def _users(
    did: Done, rules: Rules, today: int, items: Integers, edges: Integers, n_users: int
) -> dict[str, Integers]:
    """How many users like each item, (N,) each; an edge without a time is a goal and a signal as
    far as following is."""
    liked = rules.strength[did.event] > 0
    recent = liked & (today - did.day <= _MONTH)
    begin = starts_of(did.pair[liked])  # by pair and day: the first of a pair is the earliest
    pair, first_day = did.pair[liked][begin], did.day[liked][begin]
    nobody = edges[:0]
    by_edge = edges if rules.strength[_FOLLOW] > 0 else nobody
    first_day = np.where(np.isin(pair, by_edge), 0, first_day)  # since nobody knows when
    n_edges = edges if rules.is_goal[_FOLLOW] else nobody

    def users(pair: Integers) -> Integers:
        target = np.unique(pair) // n_users
        target = target[np.isin(target, items)]
        return np.bincount(np.searchsorted(items, target), minlength=len(items))

    return {
        "n_users": users(np.concatenate([did.pair[liked], by_edge])),
        "n_users_30d": users(did.pair[recent]),
        **{
            f"n_new_users_{days}d": users(pair[first_day >= today - days]) for days in NEW_USER_DAYS
        },
        "n_edges": users(n_edges),
    }


def _is_young(surface: Surface, today: int, first_day: Integers) -> NDArray[np.bool_]:
    """Whether each item is no older than the surface shows."""
    if surface.max_age_days is None:
        return np.ones(len(first_day), bool)
    return first_day >= today - surface.max_age_days


def _known(
    surface: Surface,
    has_version: NDArray[np.bool_],
    is_young: NDArray[np.bool_],
    n_met: Integers,
) -> Integers:
    """Which of the items have a row: of those that are too old to be shown only what somebody did
    something with, for it says what its users like."""
    known = is_young | (n_met > 0)
    if surface.target in _NEEDS_VERSION:
        known &= has_version
    return np.flatnonzero(known)


def _table(
    surface: Surface,
    as_of: date,
    items: Integers,
    version: Integers,
    counts: dict[str, Integers],
    some: Integers,
    versions: Versions,
    pairs: Pairs,
) -> pa.Table:
    """Rows of `rec_items`. An edge without a time counts as of today."""
    at = pa.array(version, mask=version < 0)
    columns = {
        name: one_array(versions.rows[name]).take(at)
        for name in ("category_id", "author_key", "title", "price_minor", "available", "min_age")
    }
    of_items = {name: values[some] for name, values in counts.items()}
    units, amount = of_items["units_90d"], of_items["amount_90d"]
    # The mean price of a unit, rounded half up, where none is listed.
    mean = (2 * amount + units) // np.maximum(2 * units, 1)
    columns["price_minor"] = pc.coalesce(columns["price_minor"], pa.array(mean, mask=units == 0))
    columns["available"] = pc.fill_null(columns["available"], True)
    for days in HALF_LIVES:
        of_items[f"popularity_{days}d"] = (
            of_items[f"popularity_{days}d"] + of_items["n_edges"] * FIXED_POINT
        )
    columns |= {
        "as_of": pa.repeat(pa.scalar(as_of, pa.date32()), len(items)),
        "surface": pa.repeat(pa.scalar(surface.name), len(items)),
        "item_id": pairs.targets.take(pa.array(items)),
        **{name: pa.array(values) for name, values in of_items.items() if name in ITEMS.names},
    }
    return pa.Table.from_arrays([columns[name] for name in ITEMS.names], schema=ITEMS)
