"""Histories of users, from what they had to do with items.

Letters of shapes: U users, E entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.recommendation_tables import REC_HISTORIES
from jobs.candidates.arrow_lists import flat, numbers, one_array, starts
from jobs.candidates.fixed_point import Integers, firsts, starts_of
from jobs.candidates.pair_facts import integers
from jobs.features.point_in_time import known_on
from jobs.spark.schema import arrow_schema

ARRAYS = ("signals", "n_days", "n_goals", "first_days", "last_days", "gaps", "owned", "blocked",
           "n_impressions")  # fmt: skip
HISTORIES = arrow_schema(REC_HISTORIES)


def repeated(world: tuple[date, str, int], n: int) -> list[pa.Array]:
    as_of, surface, fold = world
    return [
        pa.repeat(pa.scalar(as_of, pa.date32()), n),
        pa.repeat(pa.scalar(surface), n),
        pa.repeat(pa.scalar(fold, pa.int32()), n),
    ]


VERSION = {
    "known": "int", "at": "bigint", "landed": "int", "country": "string", "birth_year": "int",
}  # fmt: skip
"""Columns of versions of users, besides `user_key`."""


def user_versions(users: DataFrame) -> DataFrame:
    """What the clean table says of users, and from when."""
    return users.select(
        "user_key",
        F.unix_date(known_on(F.to_date("occurred_at"))).alias("known"),
        F.unix_micros("occurred_at").alias("at"),
        F.unix_date("landed_on").alias("landed"),
        "country",
        F.col("birth_year").cast("int").alias("birth_year"),
    )


@dataclass(frozen=True)
class Versions:
    """Versions of users, the newest of each last."""

    users: pa.StringArray
    """Distinct ones."""
    user: Integers
    known: Integers
    country: pa.StringArray
    birth_year: pa.Int32Array

    @classmethod
    def of(cls, rows: pa.Table) -> Versions:
        users = pc.unique(one_array(rows["user_key"]))
        user = numbers(one_array(rows["user_key"]), users)
        order = np.lexsort((integers(rows, "landed"), integers(rows, "at"), user))
        rows = rows.take(pa.array(order))
        return cls(
            users, user[order], integers(rows, "known"), one_array(rows["country"]),
            one_array(rows["birth_year"]),
        )  # fmt: skip

    def as_of(self, users: pa.StringArray, today: int) -> tuple[pa.Array, pa.Array]:
        """Country and year of birth of each of some users, null where not known."""
        some = np.flatnonzero(self.known < today)
        begin = starts_of(self.user[some])
        newest = some[np.append(begin[1:], len(some))[: len(begin)] - 1]
        row = np.full(len(self.users) + 1, -1)
        row[self.user[newest]] = newest
        at = row[numbers(users, self.users)]
        where = pa.array(at, mask=at < 0)
        return self.country.take(where), self.birth_year.take(where)


def histories_of(
    world: tuple[date, str, int],
    users: pa.StringArray,
    person: tuple[pa.Array, pa.Array],
    rows: pa.Table,
) -> pa.Table:
    """A row per known user, with the entries of all parts of the items, ascending by id."""
    of_row = numbers(one_array(rows["user_key"]), users)
    user = np.repeat(of_row, np.diff(starts(rows["item_ids"])))
    ids = flat(rows["item_ids"])
    place = np.empty(len(ids), np.int64)
    place[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    order = np.lexsort((place, user))
    order = order[user[order] >= 0]
    n_entries = np.bincount(user[order], minlength=len(users))
    offsets = pa.array(np.append(0, np.cumsum(n_entries)).astype(np.int32))
    at = pa.array(order)
    signals = flat(rows["signals"]).to_numpy(zero_copy_only=False)
    favourite = _favourite(
        user[order], signals[order], flat(rows["categories"]).take(at), len(users)
    )
    columns = {
        **dict(zip(("as_of", "surface", "fold"), repeated(world, len(users)), strict=True)),
        "user_key": users,
        "country": person[0],
        "birth_year": person[1],
        "favourite_category": favourite,
        "item_ids": pa.ListArray.from_arrays(offsets, ids.take(at)),
        **{
            name: pa.ListArray.from_arrays(
                offsets, flat(rows[name]).take(at).cast(HISTORIES.field(name).type.value_type)
            )
            for name in ARRAYS
        },
    }
    return pa.Table.from_arrays([columns[name] for name in HISTORIES.names], schema=HISTORIES)


def _favourite(user: Integers, signal: Integers, category: pa.Array, n_users: int) -> pa.Array:
    """Of each user the category of most signals, ties by id; null without any."""
    names = pc.unique(category).drop_null()
    names = names.take(pc.sort_indices(names))
    of = numbers(category, names)
    some = np.flatnonzero((of >= 0) & (signal > 0))
    pair, which = np.unique(user[some] * max(len(names), 1) + of[some], return_inverse=True)
    total = np.zeros(len(pair), np.int64)
    np.add.at(total, which, signal[some])
    liker, liked = np.divmod(pair, max(len(names), 1))
    first = firsts(liker, (-total, liked), 1)
    favourite = np.full(n_users, -1)
    favourite[liker[first]] = liked[first]
    return names.take(pa.array(favourite, mask=favourite < 0))
