"""People to follow who like the same items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.recommendation_tables import FIXED_POINT
from jobs.candidates.arrow_lists import flat, numbers, one_array, starts
from jobs.candidates.entries import Catalogue, Entries
from jobs.candidates.fixed_point import firsts, fixed
from jobs.candidates.step_rows import LIKES, LISTS, TASTES, World, grouped

SOURCE = "same_tastes"


def same_tastes(
    worlds: Sequence[World], entries: Entries, catalogue: Catalogue, n_parts: int, n: int
) -> list[pa.Table]:
    """The `n` items that users like most, for worlds of people: as their tastes, and for the users
    whom an item suggests, in parts of the items.

    `entries` are of users and items, `catalogue` has the items.
    """
    met = entries.strongest(entries.liked, n)
    user, ids, signal = entries.user[met], entries.ids.take(pa.array(met)), entries.signals[met]
    once = np.full(len(met), FIXED_POINT, np.int64)
    part = catalogue.numbers_of(ids) % n_parts
    tables = []
    for world in worlds:
        tables.append(grouped(world, TASTES, SOURCE, entries.users, user, ids, once))
        for number in range(n_parts):
            some = np.flatnonzero(part == number)
            tables.append(
                grouped(
                    world, LIKES, SOURCE, entries.users, user[some], ids.take(pa.array(some)),
                    signal[some], number,
                )
            )  # fmt: skip
    return tables


def fans(world: World, likes: pa.Table, unavailable: pa.StringArray, n: int) -> list[pa.Table]:
    """The `n` users who like each item of a part most, but those who may not be shown. It counts by
    one over the root of how many users like it: what everybody likes says little."""
    users = one_array(likes["key"])
    users = users.take(pc.sort_indices(users))
    row = np.repeat(np.arange(len(likes)), np.diff(starts(likes["ids"])))
    user = numbers(one_array(likes["key"]), users)[row]
    signal = flat(likes["amounts"]).to_numpy(zero_copy_only=False)
    names = pc.unique(flat(likes["ids"]))
    names = names.take(pc.sort_indices(names))
    item = numbers(flat(likes["ids"]), names)
    n_fans = np.bincount(item, minlength=len(names))
    some = np.flatnonzero((numbers(users, unavailable) < 0)[user])
    most = some[firsts(item[some], (-signal[some], user[some]), n)]
    ids = users.take(pa.array(user[most]))
    score = fixed(1 / np.sqrt(n_fans[item[most]]))
    return [grouped(world, LISTS, SOURCE, names, item[most], ids, score)]
