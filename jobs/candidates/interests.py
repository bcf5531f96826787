"""Items of the categories that interest a user."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from jobs.candidates.entries import Catalogue, Entries
from jobs.candidates.fixed_point import Integers, firsts, fixed, places
from jobs.candidates.step_rows import LISTS, TASTES, World, grouped

SOURCE = "interests"


def interests(world: World, entries: Entries, catalogue: Catalogue, n: int) -> list[pa.Table]:
    """The `n` categories that interest each user most: each counts its share of the user's decayed
    signals with items of any category."""
    of_item = np.append(catalogue.category, -1)
    category = of_item[catalogue.numbers_of(entries.ids)]
    some = np.flatnonzero(entries.liked & (category >= 0))
    user, signal = entries.user[some], entries.signals[some]
    n_categories = max(len(catalogue.categories), 1)
    pair, which = np.unique(user * n_categories + category[some], return_inverse=True)
    of_pair = np.zeros(len(pair), np.int64)
    np.add.at(of_pair, which, signal)
    total = np.zeros(len(entries.users), np.int64)
    np.add.at(total, user, signal)
    user, of = np.divmod(pair, n_categories)
    most = firsts(user, (-of_pair, of), n)
    user, of, share = user[most], of[most], fixed(of_pair[most] / total[user[most]])
    ids = catalogue.categories.take(pa.array(of))
    return [grouped(world, TASTES, SOURCE, entries.users, user, ids, share)]


def of_categories(world: World, catalogue: Catalogue, n: int) -> list[pa.Table]:
    """The `n` best items of each category: the score is one over its place by popularity (half-life
    of 10 days) or by newness, whichever is the better place."""
    item = np.flatnonzero(catalogue.available & (catalogue.category >= 0))
    category = catalogue.category[item]
    place = 1 + np.minimum(
        _places(category, -catalogue.popularity_10d[item]),
        _places(category, -catalogue.first_day[item]),
    )
    score = fixed(1 / place)
    best = firsts(category, (-score, item), n)
    ids = catalogue.ids.take(pa.array(item[best]))
    return [grouped(world, LISTS, SOURCE, catalogue.categories, category[best], ids, score[best])]


def _places(group: Integers, by: Integers) -> Integers:
    """The place of each within its group, from 0, ascending by `by`; ties in their order."""
    order = np.lexsort((by, group))
    place = np.empty(len(order), np.int64)
    place[order] = places(group[order])
    return place
